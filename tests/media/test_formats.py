"""Which format an output is written in."""

from pathlib import Path

import pytest

from aed_nerfstudio.errors import InputError
from aed_nerfstudio.media.formats import choose_format


@pytest.mark.parametrize(
    "path, name, transparent, expected",
    [
        ("a.mp4", None, False, "mp4"),
        ("A.MKV", None, False, "mkv"),
        ("a.mov", None, False, "mov"),
        ("a.mov", None, True, "prores"),
        ("a.mov", "prores", False, "prores"),
        ("a.webm", None, True, "webm"),
        ("frames", None, True, "png"),
        ("frames.v2", "png", False, "png"),
    ],
)
def test_by_suffix_or_name(path, name, transparent, expected):
    assert choose_format(Path(path), name, transparent) == expected


@pytest.mark.parametrize(
    "path, name, transparent, fault",
    [
        ("a.avi", None, False, "a.avi: cannot write this kind"),
        ("a.mp4", None, True, "a.mp4: mp4 cannot be transparent; write .webm"),
        ("a.mov", "mov", True, "mov cannot be transparent"),
        ("a.mp4", "webm", False, "a.mp4: a file of format webm must end in .webm"),
        ("a.mp4", "gif", False, "gif: no such format"),
    ],
)
def test_refusals(path, name, transparent, fault):
    with pytest.raises(InputError, match=fault):
        choose_format(Path(path), name, transparent)

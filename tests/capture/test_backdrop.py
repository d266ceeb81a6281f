"""Another background behind a take: told from the dataset's, and replaced behind hair and shadows too."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from aed_nerfstudio.capture.backdrop import differs, over_another, unite_backgrounds
from aed_nerfstudio.capture.background import Background, merge_backgrounds
from aed_nerfstudio.capture.context import Capture, TakeState
from aed_nerfstudio.capture.sources import ProcessOptions, Source
from aed_nerfstudio.capture.stages import Stages
from aed_nerfstudio.capture.takes import Take
from aed_nerfstudio.dataset.schema import BACKGROUND, HEAD, read_image, write_image
from aed_nerfstudio.synthetic.scene import make_background

SIZE = 64


def _background(seed: int, seen: np.ndarray) -> Background:
    noise = np.ones((SIZE, SIZE), np.float16)
    return Background(make_background(SIZE, seed), seen, noise, np.zeros((2, SIZE, SIZE), np.uint8), (32.0, 40.0), 0.0)


@pytest.fixture
def seen() -> np.ndarray:
    out = np.ones((SIZE, SIZE), bool)
    out[20:, 20:44] = False
    return out


def test_the_room_of_most_takes_is_the_datasets(seen):
    more = seen.copy()
    more[20:, 20:30] = True
    takes = [_background(1, more), _background(0, seen), _background(0, seen)]
    common, _ = merge_backgrounds(takes)
    assert np.array_equal(common[seen], takes[1].picture[seen])
    assert [differs(take, common) for take in takes] == [True, False, False]


def test_background_is_exchanged_behind_what_is_half_transparent(seen):
    there, here = _background(1, seen), make_background(SIZE, 0)
    alpha = np.zeros((SIZE, SIZE), np.float32)
    alpha[20:, 20:44], alpha[20:, 18:20] = 1, 0.4
    person = np.full((SIZE, SIZE, 3), (40, 25, 20), np.float32)
    shadow = np.ones((SIZE, SIZE, 1))
    shadow[:, 50:] = 0.9

    def shown(behind: np.ndarray) -> np.ndarray:
        return alpha[..., None] * person + (1 - alpha[..., None]) * behind

    filmed = np.round(shown(shadow * there.picture)).astype(np.uint8)
    found = over_another(filmed, alpha, there, here)
    assert np.abs(found[:, :50].astype(float) - shown(here)[:, :50]).max() <= 1
    darker = here[:, 50:].astype(float) - found[:, 50:]
    assert np.abs(darker - 0.1 * there.picture[:, 50:]).max() <= 1  # the shadow stays


def test_nothing_is_made_of_a_background_that_was_never_seen(seen):
    """Where only the person was seen, what is not person is the new background."""
    there, here = _background(1, seen), make_background(SIZE, 0)
    filmed = np.full((SIZE, SIZE, 3), 90, np.uint8)
    found = over_another(filmed, np.zeros((SIZE, SIZE), np.float32), there, here)
    assert np.array_equal(found[~seen], here[~seen])


def _take(run: Capture, name: str, background: Background) -> TakeState:
    """A take of two frames, whose pictures, parsing and background are made; the second frame is unusable."""
    source = Source(Path(f"{name}.mp4"), name, "neutral", "medium", None, None)
    take = TakeState(Take(name, 0, 0, 2), source, f"key of {name}", np.zeros((2, 478, 3)), np.array([True, False]),
                     np.ones(2), [[], []], None, 0)  # fmt: skip
    labels = np.where(background.seen, BACKGROUND, HEAD).astype(np.uint8)
    picture = np.where(background.seen[..., None], background.picture, np.uint8(60))
    background.write(run.work_file("background", name), run.root)
    for k in range(2):
        write_image(run.picture_file(take, k), picture, root=run.root)
        write_image(run.root / "parsing" / name / f"{k:05d}.png", labels, root=run.root)
    return take


def test_other_takes_are_as_filmed_and_what_was_filmed_is_kept_for_a_second_run(tmp_path, seen):
    stages = Stages(tmp_path)
    stages.begin()
    run = Capture([], tmp_path, stages, ProcessOptions(SIZE), progress=False)
    takes = [_take(run, "a", _background(0, seen)), _take(run, "b", _background(1, seen))]
    write_image(tmp_path / "background.png", make_background(SIZE, 0), root=tmp_path)
    filmed = [run.picture(take, 0) for take in takes]
    files = [run.picture_file(take, k) for take in takes for k in range(2)]
    before = [file.read_bytes() for file in files]

    assert unite_backgrounds(run, takes) == ["b"]
    after = [file.read_bytes() for file in files]
    assert [one == other for one, other in zip(before, after, strict=True)] == [True, True, False, True]
    shown = read_image(run.picture_file(takes[1], 0)).astype(float)
    assert np.median(np.abs(shown - make_background(SIZE, 0))[seen]) < 3
    assert all(np.array_equal(run.picture(take, 0), one) for take, one in zip(takes, filmed, strict=True))
    assert run.warnings == ["b: filmed before another background than the others; it is laid over theirs"]

    stages.done.clear()  # as if it had been stopped at its very end
    assert unite_backgrounds(run, takes) == ["b"]
    assert [file.read_bytes() for file in files] == after

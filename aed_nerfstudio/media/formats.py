"""The kinds of video that can be written: containers, codecs, and which of them can be transparent."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from aed_nerfstudio.errors import InputError


@dataclass(frozen=True)
class VideoFormat:
    """A kind of output; a folder of PNG files has no codec."""

    suffixes: tuple[str, ...]
    """The ends of file names that mean it."""
    container: str = ""
    """FFmpeg's name."""
    codec: str = ""
    pixels: str = ""
    """FFmpeg's name of the pixel format."""
    transparent_pixels: str | None = None
    """The same with an alpha channel; None: cannot be transparent."""
    options: dict[str, str] = field(default_factory=dict)
    """Options of the encoder."""
    sound: str = "aac"
    segment: str = ".mp4"
    """The suffix of the files in which the pictures of an unfinished video wait."""


_H264 = {"codec": "libx264", "pixels": "yuv420p", "options": {"crf": "18"}}
FORMATS = {
    "mp4": VideoFormat((".mp4", ".m4v"), "mp4", **_H264),
    "mov": VideoFormat((".mov",), "mov", **_H264),
    "mkv": VideoFormat((".mkv",), "matroska", **_H264),
    "webm": VideoFormat(
        (".webm",),
        "webm",
        "libvpx-vp9",
        "yuv420p",
        "yuva420p",
        # One pass at constant quality; alpha cannot be coded with frames out of order.
        {"crf": "20", "b": "0", "auto-alt-ref": "0", "deadline": "good", "cpu-used": "4", "row-mt": "1"},
        sound="libopus",
        segment=".webm",
    ),
    "prores": VideoFormat(
        (".mov",), "mov", "prores_ks", "yuv422p10le", "yuva444p10le", {"vendor": "apl0"}, "pcm_s16le", ".mov"
    ),
    "png": VideoFormat(("",), pixels="rgb24", transparent_pixels="rgba"),
}
"""The formats by the name that `--format` takes."""


def choose_format(path: Path, name: str | None = None, transparent: bool = False) -> str:
    """Chooses the format of an output, a key of `FORMATS`.

    Args:
        path: where it is to be written; a name without a suffix is a folder of PNG files.
        name: of the format; by the path's suffix when None.
        transparent: whether it must have an alpha channel. A `.mov` is then ProRes.

    Raises:
        InputError: no format has that suffix, or the format cannot be transparent.
    """
    suffix = path.suffix.lower()
    fits = [key for key, kind in FORMATS.items() if suffix in kind.suffixes]
    if name is None and not fits:
        known = ", ".join(s for kind in FORMATS.values() for s in kind.suffixes if s)
        raise InputError(f"{path}: cannot write this kind of file; end its name in one of {known}, or in nothing for a "
                         "folder of PNG files")  # fmt: skip
    if name is not None:
        if name not in FORMATS:
            raise InputError(f"{name}: no such format; choose one of {', '.join(FORMATS)}")
        if name not in fits and name != "png":
            raise InputError(f"{path}: a file of format {name} must end in {' or '.join(FORMATS[name].suffixes)}")
        fits = [name]
    able = [key for key in fits if not transparent or FORMATS[key].transparent_pixels]
    if not able:
        raise InputError(f"{path}: {fits[0]} cannot be transparent; write .webm, .mov (ProRes) or PNG files")
    return able[0]

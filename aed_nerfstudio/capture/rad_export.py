"""A dataset folder written as RAD-NeRF and ER-NeRF lay theirs out, for comparisons on the same frames and cameras."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

from aed_nerfstudio.audio.features import SAMPLE_RATE, cut_windows
from aed_nerfstudio.dataset.rad_folder import COLOURS, HEAD_CENTRE
from aed_nerfstudio.dataset.schema import (
    BACKGROUND,
    FPS,
    METRES_PER_UNIT,
    Dataset,
    Frame,
    check_pictures,
    write_array,
    write_image,
    write_json,
)
from aed_nerfstudio.errors import InputError
from aed_nerfstudio.face.face_68 import to_68
from aed_nerfstudio.files import disown, keep_apart, make_own, move, remove_own, write
from aed_nerfstudio.jobs.folder_lock import folder_lock
from aed_nerfstudio.media.audio_io import read_if_there, write_wav

UNFINISHED = "folder for an unfinished export"
CENTRE = (0.0, 0.0, -0.05)
"""Where the head's centre lies in their world, metres. Their box ends 0.125 m before and behind the origin, where our
faces, whose origin is between the ears, would lose the tip of the nose."""
ROUNDING = 1.0
"""Pixels that the principal point may be off the middle: they take the picture for twice its coordinates."""


def export_rad(
    dataset: Dataset, output: Path, clips: Sequence[str] = (), features: bool = False, progress: bool = True
) -> int:
    """Writes transforms_train.json, transforms_val.json, ori_imgs (with .lms), gt_imgs, parsing, torso_imgs, bc.jpg and
    aud.wav; not track_params.pt, which only their own process.py reads.

    Their cameras are ours times `METRES_PER_UNIT`, shifted by `CENTRE`, which stands in both files as `head_centre`.
    Several clips follow each other, the sound too; both lists have each clip's own part. Frames that are not usable
    leave a gap in the numbers.

    Args:
        dataset: what to write.
        output: the folder; new or empty. It appears when it is whole.
        clips: names of the clips, in their order; all when empty.
        features: also write aud.npy, the dataset's own features as windows [frames, 16, dim].
        progress: whether to show a progress bar on stderr.

    Returns:
        The number of frames.

    Raises:
        InputError: the folder holds something or cannot be written, a clip is unknown, or their format cannot hold the
            dataset's camera.
    """
    output = Path(output)
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise InputError(f"{output}: already exists; choose a new folder")
    chosen = _chosen(dataset, clips)
    _check_camera(dataset)
    check_pictures(dataset)
    keep_apart([output], dataset.sources)
    part = output.with_name(f".{output.name}.export")
    with folder_lock(output):
        remove_own(part, UNFINISHED)  # of a run that was killed
        try:
            count = _write(dataset, make_own(part, UNFINISHED), chosen, features, progress)
            move(part, output)
        except BaseException:
            remove_own(part, UNFINISHED)
            raise
        disown(output)
    return count


def _chosen(dataset: Dataset, clips: Sequence[str]) -> list[str]:
    known = [clip.name for clip in dataset.clips]
    unknown = [name for name in clips if name not in known]
    if unknown:
        raise InputError(f"{dataset.root}: has no clip {unknown[0]}; it has {', '.join(known)}")
    return [name for name in known if not clips or name in clips]


def _check_camera(dataset: Dataset) -> None:
    c = dataset.camera
    if abs(c.fl_x / c.fl_y - 1) > 1e-3:
        raise InputError(f"{dataset.root}: has focal lengths {c.fl_x:g} and {c.fl_y:g}; their format holds one only")
    if max(abs(2 * c.cx - c.w), abs(2 * c.cy - c.h)) > 2 * ROUNDING or c.w % 2 or c.h % 2:
        raise InputError(f"{dataset.root}: its pictures, {c.w}x{c.h}, are not twice the principal point ({c.cx:g}, "
                         f"{c.cy:g}), as their format has it; process the video with an even --size")  # fmt: skip


def _write(dataset: Dataset, root: Path, clips: list[str], features: bool, progress: bool) -> int:
    numbered = {i: n for n, i in enumerate(i for i, f in enumerate(dataset.frames) if f.clip in clips)}
    parts = {name: [i for i in dataset.split(name) if i in numbered] for name in ("train", "val")}
    for name, indices in parts.items():
        if not indices:
            raise InputError(f"{dataset.root}: has no usable frame in its {name} part; choose other --clips")
        write_json(root / f"transforms_{name}.json", _transforms(dataset, indices, numbered))
    background = dataset.static_background()
    write_image(root / "bc.jpg", background, 100)
    marks = {name: to_68(dataset.landmarks(name)) for name in clips}
    shown = sorted(parts["train"] + parts["val"])
    for i in tqdm(shown, desc="exporting", disable=not progress):
        frame = dataset.frames[i]
        _write_frame(dataset, frame, root, numbered[i], background, marks[frame.clip][frame.index])
    _write_sound(dataset, root, clips, features)
    return len(shown)


def _transforms(dataset: Dataset, indices: list[int], numbered: dict[int, int]) -> dict:
    frames = []
    for i in indices:
        matrix = np.array(dataset.frames[i].camera_to_world, np.float64)
        matrix[:3, 3] = matrix[:3, 3] * METRES_PER_UNIT + CENTRE
        frames.append({"img_id": numbered[i], "aud_id": numbered[i], "transform_matrix": matrix.tolist()})
    c = dataset.camera
    return {"focal_len": c.fl_x, "cx": c.cx, "cy": c.cy, HEAD_CENTRE: list(CENTRE), "frames": frames}


def _write_frame(
    dataset: Dataset, frame: Frame, root: Path, number: int, background: np.ndarray, points: np.ndarray
) -> None:
    """Writes one frame's files; points [68, 2] pixels."""
    labels = dataset.parsing(frame)
    write(root / "ori_imgs" / f"{number}.jpg", dataset.path("images", frame).read_bytes())
    write(root / "ori_imgs" / f"{number}.lms", "".join(f"{x:.4f} {y:.4f}\n" for x, y in points))
    still = np.where((labels == BACKGROUND)[..., None], background, dataset.image(frame))
    write_image(root / "gt_imgs" / f"{number}.jpg", still)
    palette = np.zeros((256, 3), np.uint8)
    for label, colour in COLOURS.items():
        palette[label] = colour
    write_image(root / "parsing" / f"{number}.png", palette[labels])
    write_image(root / "torso_imgs" / f"{number}.png", dataset.torso(frame))


def _write_sound(dataset: Dataset, root: Path, clips: list[str], features: bool) -> None:
    """Writes aud.wav, each clip's sound as long as its frames, and aud.npy."""
    sound = []
    for name in clips:
        path, length = dataset.sound(name), dataset.clip(name).count * SAMPLE_RATE // FPS
        samples = read_if_there(path)[:length]
        sound.append(np.pad(samples, (0, length - len(samples))))
    write_wav(root / "aud.wav", np.concatenate(sound), SAMPLE_RATE)
    if features:
        write_array(root / "aud.npy", cut_windows(np.concatenate([dataset.features(name) for name in clips])))

"""The pictures of all takes, and what shows in them: sharpness, what covers mouth or eyes, other faces."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from functools import partial

import numpy as np

from aed_nerfstudio.capture.context import Capture, TakeState, load
from aed_nerfstudio.capture.landmarks import cut, in_picture, smooth_landmarks, to_crop
from aed_nerfstudio.capture.parallel import ahead, in_threads
from aed_nerfstudio.capture.quality import (
    BLURRED,
    DETAILED,
    PATCH,
    ClipView,
    clip_view,
    eyes_covered,
    face_detail,
    measure_frame,
    mouth_covered,
    relative_sharpness,
    seen_open,
)
from aed_nerfstudio.capture.sources import Source
from aed_nerfstudio.capture.takes import Take
from aed_nerfstudio.capture.tracking import VideoTrack, decoded
from aed_nerfstudio.dataset.schema import FLAGS, write_array, write_image
from aed_nerfstudio.errors import InputError
from aed_nerfstudio.files import digest

NUMBERS = ("sharpness", "detail", "inside", "opening", "whites")
"""Of a `FrameMeasure`: those that are single numbers."""
FLAG_TEXTS = {
    "mouth_covered": "something covers the mouth in {} of {} frames; they are left out",
    "eyes_covered": "something covers the eyes in {} of {} frames",
    "blurred": "{} of {} frames are blurred; light the face better or hold the camera still",
    "other_face": "several faces in {} of {} frames; the largest one that stays was followed",
}
MOUTH_TEXTS = {
    "unseen": "the mouth is never seen to open, nor are lips; something covers it all the time, and the avatar cannot "
              "learn to speak from it",
    "closed": "the mouth is never seen to open; nobody speaks, or something covers it",
}  # fmt: skip


def make_pictures(run: Capture, keys: list[str], tracks: list[VideoTrack], takes: list[Take]) -> list[TakeState]:
    """Makes the stages `frames:`: writes the pictures and landmarks of all takes, and returns what is known of these.

    Args:
        run: whose folder it is.
        keys: of the videos' tracks.
        tracks: of the videos.
        takes: of all videos, in their order.
    """
    states = []
    for number, (source, track) in enumerate(zip(run.sources, tracks, strict=True)):
        mine = [take for take in takes if take.video == number]
        key = digest(keys[number], [take.as_dict() for take in mine], run.size)
        found = run.stage(f"frames:{source.name}", key, partial(_frames, run, source, mine, track))
        states += [_state(run, source, take, key, found["views"][take.name], track.stream) for take in mine]
    return states


def _state(run: Capture, source: Source, take: Take, key: str, view: dict | None, stream: int) -> TakeState:
    """Reads what is known of a take whose pictures are made; key: of its video's pictures."""
    stored = load(run.work_file("frames", take.name))
    flags = [[flag for flag, on in zip(FLAGS, row, strict=True) if on] for row in stored["flags"]]
    landmarks = np.load(run.root / "landmarks" / f"{take.name}.npy")
    return TakeState(take, source, digest(key, take.name), landmarks, stored["usable"], stored["sharpness"], flags,
                     view, stream)  # fmt: skip


class _Measured:
    """What the frames of a take show, filled in while they are written.

    landmarks: float32 [F, 478, 3] pixels of the crop. inside: bool [F], whether the face is in the picture. numbers:
    [F, ...] by the names of `FrameMeasure`.
    """

    def __init__(self, take: Take, track: VideoTrack, size: int) -> None:
        frames = slice(take.first, take.first + take.count)
        self.landmarks = to_crop(track.landmarks[frames], take.crop, size)
        self.inside = in_picture(self.landmarks, size)
        self.others = track.others[frames]
        self.numbers: dict[str, np.ndarray] = {
            "lips": np.zeros((take.count, 2)),
            "patch": np.zeros((take.count, PATCH, PATCH), np.uint8),
            **{name: np.zeros(take.count) for name in NUMBERS},
        }

    def add(self, index: int, picture: np.ndarray, detail: float) -> None:
        """Measures a frame by its picture; detail: of the face as the video shows it."""
        seen = vars(measure_frame(picture, self.landmarks[index]))
        # A small picture is sharp whatever the video is, an enlarged one never.
        seen["detail"] = min(seen["detail"], detail)
        for name, value in seen.items():
            self.numbers[name][index] = value


def _frames(run: Capture, source: Source, takes: list[Take], track: VideoTrack, _going_on: bool) -> dict:
    """Makes the pictures of all takes of a video, and says what shows in them."""
    warnings: list[str] = []
    measured = {take.name: _Measured(take, track, run.size) for take in takes}

    def write(item: tuple[Take, int, np.ndarray]) -> None:
        take, index, image = item
        picture = cut(image, take.crop, run.size)
        write_image(run.picture_file(take, index), picture, root=run.root)
        if measured[take.name].inside[index]:
            measured[take.name].add(index, picture, face_detail(image, track.landmarks[take.first + index]))

    total = sum(take.count for take in takes)
    wanted = _frames_of_takes(source, takes, track, warnings)
    for _ in run.bar(in_threads(write, ahead(wanted)), total, f"frames {source.name}"):
        pass
    views = {take.name: _judge(run, take, measured[take.name], warnings) for take in takes}
    return {"views": views, "warnings": warnings}


def _frames_of_takes(
    source: Source, takes: list[Take], track: VideoTrack, warnings: list[str]
) -> Iterator[tuple[Take, int, np.ndarray]]:
    """Decodes a video: every frame of a take, with its number in it, uint8 [H, W, 3] RGB."""
    last = takes[-1].first + takes[-1].count
    for k, image in enumerate(decoded(source.video, warnings, track.stream)):
        if k >= last:
            return
        if image.shape[1::-1] != track.size:
            raise InputError(f"{source.video}: has changed since its face was tracked; process it again into a "
                             "new folder")  # fmt: skip
        for take in takes:
            if take.first <= k < take.first + take.count:
                yield take, k - take.first, image


def _judge(run: Capture, take: Take, measured: _Measured, warnings: list[str]) -> dict | None:
    """Writes a take's landmarks and which frames are usable; returns what it shows at all, a `ClipView`."""
    seen, inside = measured.numbers, measured.inside
    shares = relative_sharpness(seen["sharpness"], inside)
    opened = seen_open(seen["inside"], seen["opening"], inside)
    flags = {
        "blurred": shares < BLURRED,
        "mouth_covered": mouth_covered(seen["lips"], inside, opened),
        "eyes_covered": eyes_covered(seen["patch"], inside),
        "other_face": measured.others,
    }
    view = clip_view(seen, inside)
    _warn_of_frames(take, inside, flags, warnings)
    if view is not None:
        _warn_of_view(take, view, warnings)
    table = np.stack([flags.get(flag, np.zeros(take.count, bool)) for flag in FLAGS], axis=1)
    measured.landmarks[~inside] = np.nan
    write_array(run.root / "landmarks" / f"{take.name}.npy", smooth_landmarks(measured.landmarks), run.root)
    usable = inside & ~flags["mouth_covered"]
    run.save(run.work_file("frames", take.name), usable=usable, sharpness=shares, flags=table)
    return None if view is None else asdict(view)


def _warn_of_frames(take: Take, inside: np.ndarray, flags: dict[str, np.ndarray], warnings: list[str]) -> None:
    """Says in how many frames of a take there is something to say."""
    lost = int((~inside).sum())
    if lost:
        warnings.append(f"{take.name}: face lost or out of the picture in {lost} of {take.count} frames; they are left "
                        "out")  # fmt: skip
    for flag, text in FLAG_TEXTS.items():
        if flags[flag].any():
            warnings.append(f"{take.name}: {text.format(int(flags[flag].sum()), take.count)}")


def _warn_of_view(take: Take, view: ClipView, warnings: list[str]) -> None:
    """Says what a take never shows."""
    if view.mouth in MOUTH_TEXTS:
        warnings.append(f"{take.name}: {MOUTH_TEXTS[view.mouth]}")
    if not view.eyes:
        warnings.append(f"{take.name}: the eyes are never seen; something such as dark glasses covers them")
    if view.detail < DETAILED[0]:
        warnings.append(f"{take.name}: all of it is blurred: a face of {view.detail:.0%} of the height would show as "
                        "much; film it sharp and close, or export it less compressed")  # fmt: skip

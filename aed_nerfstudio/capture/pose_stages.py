"""Head poses of all frames: tracks of the skin, then one bundle adjustment for all takes."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np

from aed_nerfstudio.capture.context import Capture, TakeState, load
from aed_nerfstudio.capture.face_shape import mean_face
from aed_nerfstudio.capture.parallel import ahead
from aed_nerfstudio.capture.pose_estimation import HeadPoses, PoseReport, estimate_poses
from aed_nerfstudio.capture.rigid_tracks import HeadTracker, RigidTracks
from aed_nerfstudio.errors import InputError
from aed_nerfstudio.files import digest

IMPRECISE = 0.02  # of the picture: mean distance of landmarks from where the pose puts them
UNSURE_FOCAL = 0.2  # standard deviation over value
LARGEST_ZOOM = 1.6  # between cameras, if it may be distance: more, and lips and nose lie visibly off in other poses
UNSURE_ZOOM = 0.1  # standard deviation of the logarithm of the focal lengths' ratio


def find_poses(run: Capture, takes: list[TakeState]) -> HeadPoses:
    """Makes the stages `flow:` and `pose`: returns the poses of all frames; frames without a trustworthy one become
    unusable.

    Raises:
        InputError: no frame is usable.
    """
    key = digest([take.key for take in takes])
    landmarks = np.concatenate([take.landmarks for take in takes])
    usable = np.concatenate([take.usable for take in takes])
    if not usable.any():
        raise InputError(f"{run.sources[0].video}: no frame shows the whole face with nothing before it; film it "
                         "unobstructed")  # fmt: skip
    _track_skin(run, takes, key, mean_face(landmarks, usable))
    starts = np.cumsum([0, *[len(take.landmarks) for take in takes]]).tolist()[:-1]
    path = run.stages.work / "pose.npz"

    def make(_: bool) -> dict:
        run.say("pose: bundle adjustment")
        tracks = [RigidTracks(**load(_flow_file(run, take))) for take in takes]
        camera = np.repeat([take.take.camera for take in takes], [take.take.count for take in takes])
        poses = estimate_poses(landmarks, usable, run.size, starts, tracks, camera)
        check_cameras(takes, poses.cameras)
        run.save(path, rotations=poses.rotations, translations=poses.translations, shape=poses.shape)
        return {
            "focal": poses.focal,
            "error": poses.error,
            "report": poses.report.as_dict(),
            "cameras": poses.cameras,
            "warnings": _warnings(poses, run.size),
        }

    found = run.stage("pose", key, make)
    for take, first in zip(takes, starts, strict=True):
        _leave_out(take, [k - first for k in found["report"]["outliers"]])
    report = PoseReport(**found["report"])
    cameras = [(ratio, spread) for ratio, spread in found.get("cameras", [])]
    return HeadPoses(**load(path), focal=found["focal"], error=found["error"], report=report, cameras=cameras)


def _warnings(poses: HeadPoses, size: int) -> list[str]:
    warnings = []
    if poses.error > IMPRECISE * size:
        warnings.append(f"head poses are imprecise: landmarks lie {poses.error:.1f} px from where the pose puts them")
    if poses.report.focal_deviation > UNSURE_FOCAL * poses.focal:
        spread = poses.report.focal_deviation
        warnings.append(f"the focal length of {poses.focal:.0f} px is unsure by {spread:.0f} px: the head turns too "
                        "little; views from aside will be flat or deep")  # fmt: skip
    return warnings


def check_cameras(takes: list[TakeState], cameras: list[tuple[float, float]]) -> None:
    """Refuses heads that are much larger or smaller than in the first take and may be, or are, nearer or farther.

    takes: of all cameras. cameras: see `HeadPoses`.

    Raises:
        InputError: there is one.
    """
    for number, (ratio, spread) in enumerate(cameras):
        take = next(take for take in takes if take.take.camera == number)
        zoom, first = take.take.zoom, takes[0]
        if max(zoom, 1 / zoom) <= LARGEST_ZOOM:
            continue
        larger = f"{take.source.video}: shows the head {zoom:.2f} times as large as {first.source.video.name}"
        if spread > UNSURE_ZOOM:
            raise InputError(f"{larger}, and zoom cannot be told from distance; let the head turn and nod by 10 "
                             "degrees in both videos, or film it as large")  # fmt: skip
        if max(ratio, 1 / ratio) > LARGEST_ZOOM:
            raise InputError(f"{larger}, at {ratio:.2f} of the distance: its perspective is another; film all "
                             "videos from one distance")  # fmt: skip


def _leave_out(take: TakeState, outliers: list[int]) -> None:
    """Makes frames whose pose is an outlier unusable; outliers: numbers in the take, others are of other takes."""
    for k in outliers:
        if 0 <= k < len(take.usable) and take.usable[k]:
            take.usable[k] = False
            take.flags[k].append("pose_outlier")


def _flow_file(run: Capture, take: TakeState) -> Path:
    return run.work_file("flow", take.name)


def _track_skin(run: Capture, takes: list[TakeState], key: str, face: np.ndarray) -> None:
    """Tracks points of the skin through all takes, each with the keyframes of those before it."""
    tracker = HeadTracker(face, run.size)
    earlier: list[TakeState] = []  # done in another run, their keyframes not made again yet

    def landmarks(take: TakeState) -> np.ndarray:
        return np.where(take.usable[:, None, None], take.landmarks, np.float32(np.nan))

    for take in takes:
        made = False

        def make(_: bool, take: TakeState = take) -> dict:
            nonlocal made
            made = True
            for other in earlier:
                keyframes = load(_flow_file(run, other))["keyframes"]
                tracker.remember(partial(run.picture, other), landmarks(other), keyframes)
            earlier.clear()
            pictures = ahead(run.picture(take, k) for k in range(take.take.count))
            pictures = run.bar(pictures, take.take.count, f"flow {take.name}")
            run.save(_flow_file(run, take), **vars(tracker.track(pictures, landmarks(take))))
            return {}

        run.stage(f"flow:{take.name}", digest(key, take.name), make)
        if not made:
            earlier.append(take)

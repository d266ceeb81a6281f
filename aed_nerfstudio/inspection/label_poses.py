"""How the head is held with every label, and whether labels share their poses.

Poses are those of the rigid head (`Frame.camera_to_world`), which brows and lips do not move. What counts is the
direction from which the camera sees the head: by it a radiance field learns a surface. Roll turns the picture only.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from aed_nerfstudio.dataset.schema import Dataset

RIGHT_DEGREES, BROKEN_DEGREES = 5.0, 10.0
"""Measured on an actor of MEAD: asked for a label this near to a pose of its own the face is right; from the second on
eyes and brows double where no depths are learned (`lambda_depth`), and where they are, the emotion is weaker."""
BETWEEN = 400
"""Frames of a label that are compared, evenly spread."""
SHARED = 0.25
"""Least share of another label's poses that a label must have been seen near."""
STEADY = 5.0
"""Distance of two labels' means over their spread from which it is posture that parts them, and not where moving heads
happened to be in short takes: by chance at most 4.1, over ten recordings of the synthetic actor (5 or 15 labels, 2 s
each); 16 with an actor of MEAD."""
MUTUAL = 0.5
"""Share of the poses of either label that are broken for the other one, from which it is posture as well: by chance at
most 0.3 in the same recordings."""
FEW = 0.02
"""Share of a label's frames that must be near a pose: a single odd one teaches nothing."""


@dataclass(frozen=True)
class LabelPoses:
    """Poses of L labels, over usable frames.

    names: of the labels. mean, spread: [L, 3] of yaw, pitch and roll, degrees. near, far: [L, L], the share of the
    frames of the second label whose direction lies within `RIGHT_DEGREES` of frames of the first, or `BROKEN_DEGREES`
    and more away from them. angle: [L, L] degrees, the median of that distance. posture: bool [L, L], whether labels
    that share no poses do so by more than chance.
    """

    names: list[str]
    mean: np.ndarray
    spread: np.ndarray
    near: np.ndarray
    far: np.ndarray
    angle: np.ndarray
    posture: np.ndarray

    def apart(self) -> list[tuple[float, str, str]]:
        """Returns pairs of labels that do not share poses, the widest first, as degrees and two names.

        The first label lacks most of the poses of the second; the other way round may hold as well. None where that may
        be chance with all of them.
        """
        found, sure = [], False
        for j in range(len(self.names)):
            for i in range(j):
                pair = max((i, j), (j, i), key=lambda pair: (self.near[pair] < SHARED, self.angle[pair]))
                if self.near[pair] < SHARED:
                    found.append((float(self.angle[pair]), self.names[pair[0]], self.names[pair[1]]))
                    sure = sure or bool(self.posture[pair])
        return sorted(found, key=lambda pair: -pair[0]) if sure else []


def label_poses(dataset: Dataset, yaw: np.ndarray, pitch: np.ndarray, usable: np.ndarray) -> LabelPoses:
    """Measures the poses of every label that has usable frames; yaw, pitch: [N] degrees, usable: bool [N]."""
    labels = np.array(dataset.labels)
    names = list(dict.fromkeys(labels[usable].tolist()))
    cameras = np.array([frame.camera_to_world for frame in dataset.frames], np.float64).reshape(-1, 4, 4)
    roll = np.degrees(np.arctan2(cameras[:, 1, 0], cameras[:, 1, 1]))
    directions = cameras[:, :3, 3] / np.linalg.norm(cameras[:, :3, 3], axis=1, keepdims=True)
    rows = [np.flatnonzero(usable & (labels == name)) for name in names]
    angles = np.stack([yaw, pitch, roll], axis=1)
    seen = [directions[row[np.unique(np.linspace(0, len(row) - 1, BETWEEN).astype(int))]] for row in rows]
    near, far, angle = np.zeros((3, len(names), len(names)))
    for i, own in enumerate(seen):
        for j, asked in enumerate(seen):
            away = _distance(own, asked)
            near[i, j], far[i, j] = (away <= RIGHT_DEGREES).mean(), (away >= BROKEN_DEGREES).mean()
            angle[i, j] = np.median(away)
    mean = np.array([angles[row].mean(axis=0) for row in rows]).reshape(-1, 3)
    spread = np.array([angles[row].std(axis=0) for row in rows]).reshape(-1, 3)
    return LabelPoses(names, mean, spread, near, far, angle, _posture(mean, spread, far))


def _posture(mean: np.ndarray, spread: np.ndarray, far: np.ndarray) -> np.ndarray:
    """Returns `LabelPoses.posture` from mean and spread [L, 3] and far [L, L]."""
    apart = np.linalg.norm(mean[:, None, :2] - mean[None, :, :2], axis=-1)
    variance = (spread[:, :2] ** 2).sum(axis=1)
    within = np.sqrt((variance[:, None] + variance[None]) / 2)
    return (apart >= STEADY * within) | (np.minimum(far, far.T) >= MUTUAL)


def _distance(own: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """Returns degrees from directions [m, 3] to the nearest of [n, 3], single odd ones apart -> [m]."""
    odd = round(FEW * len(own))
    cosines = np.partition(asked @ own.T, len(own) - 1 - odd, axis=1)[:, len(own) - 1 - odd]
    return np.degrees(np.arccos(np.clip(cosines, -1, 1)))

"""What measures frames, as far as this machine has it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from aed_nerfstudio.evaluation.image_metrics import Perceptual
from aed_nerfstudio.evaluation.landmark_distance import FanLips, NotMeasurable

if TYPE_CHECKING:
    import torch

    from aed_nerfstudio.evaluation.syncnet import SyncNet

SLOW_FRAMES = 50
"""Frames that ST-LPIPS looks at, at most: on a CPU it takes longer than rendering does."""


class Instruments:
    """What measures frames: loaded once, for all rows.

    Args:
        device: for the networks.
        syncnet: from `SyncNet.load`; no Sync-C and Sync-D when None.
    """

    def __init__(self, device: torch.device | str, syncnet: SyncNet | None = None) -> None:
        self.perceptual = Perceptual(device)
        self.syncnet = None if syncnet is None else syncnet.to(device)
        try:
            self.fan, self.no_fan = FanLips(str(device)), None
        except NotMeasurable as reason:
            self.fan, self.no_fan = None, str(reason)

    def perceptual_frames(self, count: int) -> list[int]:
        """Returns the positions, of `count` frames, at which the perceptual distance is taken."""
        most = SLOW_FRAMES if self.perceptual.name == "st_lpips" else count
        return np.unique(np.linspace(0, count - 1, min(count, most)).astype(int)).tolist()

    @property
    def reasons(self) -> dict[str, str]:
        """Says, by figure, why this machine cannot take it."""
        other, why = {
            "lpips": ("st_lpips", "LPIPS was taken"),
            "st_lpips": ("lpips", "LPIPS's AlexNet is not in torch's cache, and nothing is downloaded; see st_lpips"),
        }[self.perceptual.name]
        found = {other: why}
        if self.no_fan:
            found["lmd_fan_px"] = self.no_fan
        if self.syncnet is None:
            found |= dict.fromkeys(("sync_c", "sync_d", "sync_shift"), "no SyncNet weights given (--syncnet)")
        return found

"""Counts what the host does for a picture on a GPU: operations of PyTorch and kernels of our own. Needs no GPU.

    TRITON_INTERPRET=1 python benchmarks/picture_operations.py --avatar outputs/.../config.yml

Kernels are counted and not run. Operations inside are recorded as a CUDA graph; the first row is without the kernel
that takes samples through all networks.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import tyro
from triton.runtime import interpreter

from aed_nerfstudio.avatar.avatar import Avatar
from aed_nerfstudio.avatar.renderers.recorded import RecordedRenderer
from aed_nerfstudio.evaluation.dispatched import Dispatched
from aed_nerfstudio.fields import mlp
from aed_nerfstudio.fields.head_field import HeadField


class _Counted(Exception):
    """Leaves a picture whose operations have been counted: what its kernels would have written is not there."""


@dataclass
class PictureOperations:
    """Count the operations of a picture."""

    avatar: Path
    """An avatar file, or the config.yml of a training run."""

    def main(self) -> None:
        avatar = Avatar.load(self.avatar, device="cpu")
        avatar.network.head.bfloat16 = True
        avatar.network.use_backend("triton")
        features = np.zeros((50, avatar.portrait.feature_dim), np.float32)
        track = avatar.track(np.zeros(16_000, np.float32), avatar.vocabulary.encode(), features=features)
        mlp._can_fuse = lambda device: False  # a GPU has no oneDNN
        rule = HeadField._in_one_kernel
        print("| | inside | outside | kernels |\n|---|---|---|---|")
        for name, fits in (("one product after the other", lambda *_: False), ("in one kernel", rule)):
            HeadField._in_one_kernel = fits
            for frame in (2, 3, 4):  # where a torso can be is worked out when a second picture is asked for
                inside, outside, kernels = self._counted(avatar, track[frame])
            print(f"| {name} | {inside.total()} | {outside.total()} | {kernels.total()} |")
            print("   ", ", ".join(f"{number} {kind}" for kind, number in (kernels + inside).most_common(12)))

    @staticmethod
    def _counted(avatar: Avatar, condition) -> tuple[Counter, Counter, Counter]:
        """Returns the operations of a picture inside and outside of its graph, and its kernels, by name."""
        kernels, found, usual = Counter(), Dispatched(), RecordedRenderer._picture

        def picture(*arguments):
            outside = found.operations.copy()
            usual(*arguments)
            raise _Counted(found.operations - outside, outside)

        executor = interpreter.GridExecutor.__call__
        interpreter.GridExecutor.__call__ = lambda self, *_, **__: kernels.update([self.fn.__name__])
        RecordedRenderer._picture = picture
        try:
            with torch.no_grad(), found:
                avatar.images(condition)
        except _Counted as counted:
            return *counted.args, kernels
        finally:
            interpreter.GridExecutor.__call__, RecordedRenderer._picture = executor, usual
        raise SystemExit("this picture is not made for a GPU")


if __name__ == "__main__":
    tyro.cli(PictureOperations, description=__doc__).main()

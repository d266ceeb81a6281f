"""Shift-tolerant LPIPS with AlexNet (Ghildyal and Liu, ECCV 2022), from the weights that `stlpips_pytorch` carries.

Only its file is read: importing the package imports IPython and more, which a training does not need.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from aed_nerfstudio.errors import InputError

WEIGHTS = Path("weights", "vST0.0", "alex_shift_tolerant.pth")
"""In the package's folder."""


class Blurred(nn.Module):
    """Halves pictures [B, C, H, W] after a binomial blur over 3 pixels, with 2 reflected ones at every border."""

    filt: Float[Tensor, "c 1 3 3"]

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("filt", torch.empty(channels, 1, 3, 3))

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c _ _"]:
        return functional.conv2d(functional.pad(x, (2, 2, 2, 2), "reflect"), self.filt, stride=2, groups=x.shape[1])


class ShiftTolerantLPIPS(nn.Module):
    """Compares pictures [B, 3, H, W] in [-1, 1]: distances [B, 1, 1, 1].

    Raises:
        InputError: `stlpips_pytorch` is not installed, or its file is damaged.
    """

    def __init__(self) -> None:
        super().__init__()
        self.shift: Tensor
        self.scale: Tensor
        stages = [
            nn.Sequential(nn.Conv2d(3, 64, 11, padding=2), Blurred(64), nn.ReLU()),
            nn.Sequential(nn.MaxPool2d(3, 1), Blurred(64), nn.Conv2d(64, 192, 5, padding=2), nn.ReLU()),
            nn.Sequential(nn.MaxPool2d(3, 1), Blurred(192), nn.Conv2d(192, 384, 3, padding=1), nn.ReLU()),
            nn.Sequential(nn.Conv2d(384, 256, 3, padding=1), nn.ReLU()),
            nn.Sequential(nn.Conv2d(256, 256, 3, padding=1), nn.ReLU()),
        ]
        self.stages = nn.ModuleList(stages)
        self.register_buffer("shift", torch.empty(1, 3, 1, 1))
        self.register_buffer("scale", torch.empty(1, 3, 1, 1))
        for number, channels in enumerate((64, 192, 384, 256, 256)):
            self.register_buffer(f"weight{number}", torch.empty(1, channels, 1, 1))
        self._load(_weights())

    def _load(self, path: Path) -> None:
        """Takes the weights over, which are named by where a layer is among those of all stages."""
        try:
            found = torch.load(path, map_location="cpu", weights_only=True)
            state = {name: found.pop(f"scaling_layer.{name}") for name in ("shift", "scale")}
            for number in range(len(self.stages)):
                state[f"weight{number}"] = found.pop(f"lin{number}.model.1.weight")
            first = 0
            for number, stage in enumerate(self.stages):
                for name in [*stage.state_dict()]:
                    layer, _, kind = name.partition(".")
                    state[f"stages.{number}.{name}"] = found[f"net.slice{number + 1}.{first + int(layer)}.{kind}"]
                first += len([*stage.children()])
            self.load_state_dict(state)
        except Exception as error:
            raise InputError(f"{path}: cannot be read ({type(error).__name__}: {error}); "
                             "install stlpips_pytorch==0.0.2 again") from error  # fmt: skip

    def forward(self, one: Float[Tensor, "b 3 h w"], other: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 1 1 1"]:
        total = one.new_zeros(len(one), 1, 1, 1)
        one, other = (one - self.shift) / self.scale, (other - self.shift) / self.scale
        for number, stage in enumerate(self.stages):
            one, other = stage(one), stage(other)
            difference = (_normed(one) - _normed(other)).square()
            weight = self.get_buffer(f"weight{number}")
            total = total + functional.conv2d(difference, weight).mean((2, 3), keepdim=True)
        return total


def _normed(features: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
    """Returns features with vectors of length 1 at every pixel."""
    return features / (features.square().sum(1, keepdim=True).sqrt() + 1e-10)


def _weights() -> Path:
    package = importlib.util.find_spec("stlpips_pytorch")
    if package is None or not package.submodule_search_locations:
        raise InputError("stlpips_pytorch is not installed, whose weights the perceptual loss needs; "
                         "pip install stlpips_pytorch==0.0.2")  # fmt: skip
    return Path(package.submodule_search_locations[0]) / WEIGHTS

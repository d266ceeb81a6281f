"""Face parsing by BiSeNet (Yu et al. 2018) with a ResNet-18, the network that AD-NeRF's and RAD-NeRF's tools use.

Parameters have the names of the weights that go around as `79999_iter.pth`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from aed_nerfstudio.capture.face_classes import evidence_of, network_input
from aed_nerfstudio.errors import InputError
from aed_nerfstudio.outside import regular_file

CLASSES = ("background", "skin", "l_brow", "r_brow", "l_eye", "r_eye", "eye_g", "l_ear", "r_ear", "ear_r", "nose",
           "mouth", "u_lip", "l_lip", "neck", "neck_l", "cloth", "hair", "hat")  # fmt: skip


class ConvBNReLU(nn.Module):
    """Convolution without bias, batch norm, ReLU: [N, inputs, H, W] -> [N, outputs, H', W']."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 3) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=False)
        self.bn = nn.BatchNorm2d(outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.bn(self.conv(x)).relu()


class BasicBlock(nn.Module):
    """A residual block of ResNet-18."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.downsample = None
        if stride > 1 or inputs != outputs:
            self.downsample = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        return (shortcut + self.bn2(self.conv2(self.bn1(self.conv1(x)).relu()))).relu()


class ResNet18(nn.Module):
    """Features at 1/8, 1/16 and 1/32 of the size, with 128, 256 and 512 channels."""

    layer1: nn.Sequential
    layer2: nn.Sequential
    layer3: nn.Sequential
    layer4: nn.Sequential

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        widths = (64, 64, 128, 256, 512)
        for k in range(1, 5):
            first = BasicBlock(widths[k - 1], widths[k], 1 if k == 1 else 2)
            self.add_module(f"layer{k}", nn.Sequential(first, BasicBlock(widths[k], widths[k], 1)))

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        x = functional.max_pool2d(self.bn1(self.conv1(x)).relu(), 3, 2, 1)
        eighth = self.layer2(self.layer1(x))
        sixteenth = self.layer3(eighth)
        return eighth, sixteenth, self.layer4(sixteenth)


class AttentionRefinement(nn.Module):
    """Channels weighted by their mean over the picture."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv = ConvBNReLU(inputs, outputs)
        self.conv_atten = nn.Conv2d(outputs, outputs, 1, bias=False)
        self.bn_atten = nn.BatchNorm2d(outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.conv(x)
        return x * self.bn_atten(self.conv_atten(x.mean(dim=(2, 3), keepdim=True))).sigmoid()


class ContextPath(nn.Module):
    """The backbone and what is refined from its deep features: 128 channels each at 1/8 (backbone), 1/8, 1/16."""

    def __init__(self) -> None:
        super().__init__()
        self.resnet = ResNet18()
        self.arm16 = AttentionRefinement(256, 128)
        self.arm32 = AttentionRefinement(512, 128)
        self.conv_head32 = ConvBNReLU(128, 128)
        self.conv_head16 = ConvBNReLU(128, 128)
        self.conv_avg = ConvBNReLU(512, 128, 1)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        eighth, sixteenth, deepest = self.resnet(x)
        whole = self.conv_avg(deepest.mean(dim=(2, 3), keepdim=True))
        deep = functional.interpolate(self.arm32(deepest) + whole, sixteenth.shape[2:], mode="nearest")
        deep = self.conv_head32(deep)
        middle = functional.interpolate(self.arm16(sixteenth) + deep, eighth.shape[2:], mode="nearest")
        return eighth, self.conv_head16(middle), deep


class FeatureFusion(nn.Module):
    """Joins the features of both paths, the more telling channels weighted up."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.convblk = ConvBNReLU(inputs, outputs, 1)
        self.conv1 = nn.Conv2d(outputs, outputs // 4, 1, bias=False)
        self.conv2 = nn.Conv2d(outputs // 4, outputs, 1, bias=False)

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        joined = self.convblk(torch.cat([x, y], dim=1))
        weight = self.conv2(self.conv1(joined.mean(dim=(2, 3), keepdim=True)).relu()).sigmoid()
        return joined * weight + joined


class Output(nn.Module):
    """Features to logits of the classes."""

    def __init__(self, inputs: int, middle: int, classes: int) -> None:
        super().__init__()
        self.conv = ConvBNReLU(inputs, middle)
        self.conv_out = nn.Conv2d(middle, classes, 1, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv_out(self.conv(x))


class BiSeNet(nn.Module):
    """Pictures [N, 3, H, W] -> logits [N, classes, H/8, W/8]; H and W multiples of 32."""

    def __init__(self, classes: int = len(CLASSES)) -> None:
        super().__init__()
        self.cp = ContextPath()
        self.ffm = FeatureFusion(256, 256)
        self.conv_out = Output(256, 256, classes)
        # Only training uses these two, but the published weights have them.
        self.conv_out16 = Output(128, 64, classes)
        self.conv_out32 = Output(128, 64, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        eighth, context, _ = self.cp(x)
        return self.conv_out(self.ffm(eighth, context))


class BisenetParser:
    """BiSeNet with weights given by path; see `parsers.Parser`."""

    def __init__(self, weights: Path | None = None) -> None:
        if weights is None:
            raise InputError("the parser bisenet needs its weights: give --parser-weights the file 79999_iter.pth that "
                             "AD-NeRF's and RAD-NeRF's instructions name, or choose --parser mediapipe")  # fmt: skip
        self.weights = weights
        self._model: Any = None

    def __enter__(self) -> BisenetParser:
        regular_file(self.weights, "give --parser-weights the file 79999_iter.pth")
        try:
            state = torch.load(self.weights, map_location="cpu", weights_only=True)
        except Exception as error:  # of a dozen kinds
            text = f"{self.weights}: cannot be read as PyTorch weights; download 79999_iter.pth again"
            raise InputError(text) from error
        model = BiSeNet()
        wrong = _difference(model.state_dict(), state)
        if wrong:
            raise InputError(f"{self.weights}: not the weights of a face parsing BiSeNet ({wrong}); give the file "
                             "79999_iter.pth")  # fmt: skip
        try:
            model.load_state_dict(state, strict=False)
        except Exception as error:  # of tensors that hold no plain numbers
            text = f"{self.weights}: cannot be read as PyTorch weights; download 79999_iter.pth again"
            raise InputError(text) from error
        self._model = model.eval().to("cuda" if torch.cuda.is_available() else "cpu")
        return self

    def __exit__(self, *_: object) -> None:
        self._model = None

    def evidence(self, image: np.ndarray, points: np.ndarray) -> np.ndarray:
        """Returns the evidence of one frame, uint8 [256, 256, 4]; see `Parser.evidence`."""
        device = next(self._model.parameters()).device
        with torch.inference_mode():
            return evidence_of(self._model(network_input(image).to(device)), CLASSES)


def _difference(wanted: dict[str, torch.Tensor], found: Any) -> str:
    """Returns what is wrong with stored weights, in a few words; empty if nothing is."""
    if not isinstance(found, dict) or not all(isinstance(value, torch.Tensor) for value in found.values()):
        return "it holds no plain weights"
    for name, value in wanted.items():
        if name not in found:
            if not name.endswith("num_batches_tracked"):  # files of old PyTorch lack these counters
                return f"{name} is missing"
        elif found[name].shape != value.shape:
            return f"{name} has shape {tuple(found[name].shape)}, expected {tuple(value.shape)}"
    return ""

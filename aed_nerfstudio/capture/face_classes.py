"""The 19 classes of CelebAMask-HQ, which face parsing networks tell apart, as evidence for the schema's four labels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import cv2
import numpy as np

from aed_nerfstudio.dataset.schema import BACKGROUND, HEAD, NECK, TORSO

if TYPE_CHECKING:
    import torch

HEAD_CLASSES = ("skin", "nose", "eye_g", "l_eye", "r_eye", "l_brow", "r_brow", "l_ear", "r_ear", "mouth", "u_lip",
                "l_lip", "hair", "hat", "ear_r")  # fmt: skip
LABELS = {"background": BACKGROUND, "cloth": TORSO, "neck": NECK, "neck_l": NECK, **dict.fromkeys(HEAD_CLASSES, HEAD)}
"""The schema's label of every class by its name; eye_g: glasses, ear_r: ear ring, neck_l: necklace."""
INPUT_SIZE = 512  # pixels: what these networks are trained at
EVIDENCE_SIZE = 256
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # ImageNet's


def network_input(image: np.ndarray) -> torch.Tensor:
    """Returns a picture, uint8 [S, S, 3] RGB, as these networks take it: float32 [1, 3, 512, 512]."""
    import torch

    method = cv2.INTER_AREA if image.shape[0] > INPUT_SIZE else cv2.INTER_LINEAR
    scaled = cv2.resize(image, (INPUT_SIZE, INPUT_SIZE), interpolation=method).astype(np.float32) / 255
    mean, deviation = np.array(MEAN, np.float32), np.array(DEVIATION, np.float32)
    return torch.from_numpy((scaled - mean) / deviation).permute(2, 0, 1)[None]


def evidence_of(logits: torch.Tensor, names: Sequence[str]) -> np.ndarray:
    """Returns evidence for the four labels, uint8 [256, 256, 4].

    logits: [1, classes, h, w]. names: of the classes in their order, all of them keys of LABELS.
    """
    import torch

    size = (EVIDENCE_SIZE, EVIDENCE_SIZE)
    if logits.shape[-1] > EVIDENCE_SIZE:
        shares = torch.nn.functional.adaptive_avg_pool2d(logits.float().softmax(dim=1), size)[0]
    else:
        shares = torch.nn.functional.interpolate(logits.float(), size, mode="bilinear").softmax(dim=1)[0]
    sums = torch.zeros(4, *size, device=shares.device)
    sums.index_add_(0, torch.tensor([LABELS[name] for name in names], device=shares.device), shares)
    return (255 * sums).round().clamp(0, 255).byte().permute(1, 2, 0).contiguous().cpu().numpy()

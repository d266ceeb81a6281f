"""Copies from the host's memory to the device's."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def send(array: np.ndarray, device: torch.device | str) -> Tensor:
    """Puts an array onto a device; on a GPU the host does not wait for the copy, and later work there does."""
    tensor = torch.from_numpy(np.ascontiguousarray(array))
    on_gpu = torch.device(device).type == "cuda"
    return tensor.pin_memory().to(device, non_blocking=True) if on_gpu else tensor.to(device)

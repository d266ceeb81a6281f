"""Copies between the host's memory and the device's, for which nobody waits who need not."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor


def send(array: np.ndarray, device: torch.device | str) -> Tensor:
    """Puts an array onto a device; on a GPU the host does not wait for the copy, and later work there does."""
    tensor = torch.from_numpy(np.ascontiguousarray(array))
    on_gpu = torch.device(device).type == "cuda"
    return tensor.pin_memory().to(device, non_blocking=True) if on_gpu else tensor.to(device)


def fetch(tensor: Tensor) -> Callable[[], Tensor]:
    """Starts to bring a tensor to the host; what it returns waits for that.

    From a GPU it goes into pinned memory, which PyTorch uses again when the copy is gone.
    """
    if tensor.device.type != "cuda":
        on_host = tensor.cpu()
        return lambda: on_host
    on_host, there = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True), torch.cuda.Event()
    on_host.copy_(tensor, non_blocking=True)
    there.record(torch.cuda.current_stream(tensor.device))

    def wait() -> Tensor:
        there.synchronize()
        return on_host

    return wait

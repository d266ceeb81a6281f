"""What the processes of one training share. All of it does nothing where there is only one."""

from __future__ import annotations

from collections.abc import Iterable

import torch
import torch.distributed as dist
from jaxtyping import Float, Shaped
from nerfstudio.utils.comms import get_world_size
from torch import Tensor


def broadcast(tensors: Iterable[Shaped[Tensor, " ..."]]) -> None:
    """Gives every process the first one's values, in place."""
    if get_world_size() > 1:
        for tensor in tensors:
            dist.broadcast(tensor, 0)


def largest(value: int, device: str) -> int:
    """Returns the largest of all processes' values, on the device that they train on."""
    if get_world_size() == 1:
        return value
    found = torch.tensor(value, device=device)
    dist.all_reduce(found, dist.ReduceOp.MAX)
    return int(found)


def averaged(values: dict[str, Float[Tensor, ""]]) -> dict[str, Float[Tensor, ""]]:
    """Returns scalars with the mean over the processes for their value and their own gradient, which DDP averages
    itself."""
    if get_world_size() == 1 or not values:
        return values
    own = torch.stack([value.detach().float() for value in values.values()])
    change = own.clone()
    dist.all_reduce(change)
    change = change / get_world_size() - own
    return {key: value + more for (key, value), more in zip(values.items(), change, strict=True)}

"""Counts what the host does for a piece of work on a device: a figure that needs no GPU."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable
from contextlib import ExitStack
from typing import Any

import torch
from jaxtyping import Shaped
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.weak import WeakIdKeyDictionary

READINGS = ("item", "tolist", "cpu", "__bool__", "__int__", "__float__", "__index__")
"""Methods of a tensor by which the host asks for its values."""
SIZED_BY_VALUES = ("nonzero", "masked_select", "unique", "bincount", "repeat_interleave")
"""Operations, by how their names begin, whose results have a size that only the device knows."""
DRAWN = (torch.rand, torch.randint, torch.randperm, torch.randn)


class Dispatched:
    """Counts, while it is entered, the operations of PyTorch that are started, and those that wait for the device.

    Views of tensors, which a device knows nothing of, are left out.

    All tensors count as the device's, wherever they are, but those of `on_host`, those that are drawn without naming a
    device, and what is computed from these alone. Kernels that PyTorch does not dispatch (Numba's and Triton's) and
    what is inside of them are not counted.
    """

    def __init__(self) -> None:
        self.operations: Counter[str] = Counter()
        """By name."""
        self.waits: Counter[str] = Counter()
        """By name: an operation's, a tensor's method's, or `index by a mask`."""
        self._host = WeakIdKeyDictionary()
        """Has the tensors in the host's memory as its keys."""
        self._entered = ExitStack()

    def on_host(self, *tensors: Shaped[Tensor, ...]) -> None:
        """Says that tensors stay in the host's memory, where reading them is free."""
        for tensor in tensors:
            self._host[tensor] = True

    def __enter__(self) -> Dispatched:
        self._entered.enter_context(_Functions(self))
        self._entered.enter_context(_Operations(self))
        return self

    def __exit__(self, *error: Any) -> None:
        self._entered.close()

    def sent(self, tensor: Shaped[Tensor, ...]) -> None:
        """Says that a tensor is the device's."""
        self._host.pop(tensor, None)

    def knows(self, given: list[Tensor]) -> bool:
        """Returns whether all of these tensors, and one at least, are in the host's memory."""
        return bool(given) and all(tensor in self._host for tensor in given)


class CountedGraphs:
    """Stands where `CudaGraphs` does and counts the operations that a recording would hold.

    Args:
        counts: entered around the whole.
    """

    def __init__(self, counts: Dispatched) -> None:
        self.counts, self.inside = counts, 0

    def run(self, key: Hashable, function: Callable[..., dict], inputs: list) -> dict:
        """Returns what the function makes of the inputs."""
        before = self.counts.operations.total()
        outputs = function(*inputs)
        self.inside += self.counts.operations.total() - before
        return outputs

    def clear(self) -> None:
        """Does nothing: nothing is recorded."""

    @property
    def outside(self) -> int:
        """Returns how many operations were started beside them."""
        return self.counts.operations.total() - self.inside


def _tensors(arguments: Any) -> list[Tensor]:
    """Returns the tensors among arguments, also those in lists of them."""
    found = []
    for value in arguments:
        if isinstance(value, Tensor):
            found.append(value)
        elif isinstance(value, (list, tuple)):
            found += _tensors(value)
    return found


class _Functions(TorchFunctionMode):
    """Sees the functions of PyTorch as they are called: how values are read, and what is drawn where."""

    def __init__(self, counts: Dispatched) -> None:
        super().__init__()
        self.counts = counts

    def __torch_function__(
        self, func: Callable, types: Any, args: tuple = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        counts, name = self.counts, getattr(func, "__name__", "")
        given = _tensors((*args, *kwargs.values()))
        host = counts.knows(given) or (func in DRAWN and not given and kwargs.get("device") is None)
        if name in READINGS and given and not host:
            counts.waits[name] += 1
        result = func(*args, **kwargs)
        if name == "__iter__":
            result = [*result]
        for tensor in _tensors((result,)):
            if name == "to":
                counts.sent(tensor)
            elif host:
                counts.on_host(tensor)
        return iter(result) if name == "__iter__" else result


class _Operations(TorchDispatchMode):
    """Sees the operations that functions are made of, and those of the backward pass."""

    def __init__(self, counts: Dispatched) -> None:
        super().__init__()
        self.counts = counts

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict[str, Any] | None = None) -> Any:
        counts, name = self.counts, func.overloadpacket.__name__
        if not func.is_view:
            counts.operations[name] += 1
        if not counts.knows(_tensors(args)):
            sized = name.startswith(SIZED_BY_VALUES) and (kwargs or {}).get("output_size") is None
            masked = name in ("index", "index_put", "index_put_", "_index_put_impl_") and any(
                index is not None and index.dtype == torch.bool for index in args[1]
            )
            if sized or masked:
                counts.waits["index by a mask" if masked else name] += 1
        return func(*args, **(kwargs or {}))

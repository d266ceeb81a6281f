"""Work that is the same each time but for its inputs, recorded as CUDA graphs.

A graph holds the addresses of all that it reads and writes. The host starts the whole of it at once, where hundreds of
kernels started one by one take it longer than they take the GPU.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any

import torch
from torch import Tensor

Tensors = dict[str, Tensor]


class RecordingFailed(RuntimeError):
    """A function's work could not be recorded as a CUDA graph."""


class CudaGraphs:
    """Runs functions of tensors, and from the second time on under the same key, their recordings.

    Only for functions that never wait for the device. The first, unrecorded run lets Triton tune its kernels, which
    it cannot while recording.
    """

    def __init__(self, most: int, generator: torch.Generator | None = None) -> None:
        """Keeps at most so many recordings, the latest used; generator: what the functions draw from, if they draw."""
        self.most, self.generator = most, generator
        self._kept: OrderedDict[Hashable, _Recording | None] = OrderedDict()
        self._pool: Any = None

    def clear(self) -> None:
        """Forgets all recordings."""
        self._kept.clear()
        self._pool = None

    def run(self, key: Hashable, function: Callable[..., Tensors], inputs: list[Tensor]) -> Tensors:
        """Returns what the function makes of the inputs, all on one CUDA device; its outputs have no gradient.

        Args:
            key: all that decides the work besides the inputs' values: their shapes and types, the addresses of what
                else the function reads.
            function: tensors -> tensors by name.
            inputs: what changes from call to call.

        Raises:
            RecordingFailed: the function cannot be recorded; of its work nothing has been done.
        """
        if key not in self._kept:
            self._kept[key] = None
            while len(self._kept) > self.most:
                self._kept.popitem(last=False)
            return function(*inputs)
        self._kept.move_to_end(key)
        recording = self._kept[key]
        if recording is None:
            # One pool for all: none runs while another does, and outputs are copied before the next one runs.
            self._pool = self._pool or torch.cuda.graph_pool_handle()
            try:
                recording = self._kept[key] = _Recording(function, inputs, self._pool, self.generator)
            except RuntimeError as error:
                raise RecordingFailed(" ".join(str(error).split())) from error
        return recording.replay(inputs)


class _Recording:
    """A function's work, with inputs and outputs of its own."""

    def __init__(
        self,
        function: Callable[..., Tensors],
        inputs: list[Tensor],
        pool: Any,
        generator: torch.Generator | None,
    ) -> None:
        self.inputs = [tensor.clone() for tensor in inputs]
        self.graph = torch.cuda.CUDAGraph()
        if generator is not None:
            self.graph.register_generator_state(generator)
        # Autocast keeps the weights that it has converted: ones from before would be recorded as they are now.
        torch.clear_autocast_cache()
        # Other threads, as the viewer's, may start work meanwhile.
        with torch.cuda.graph(self.graph, pool=pool, capture_error_mode="thread_local"):
            self.outputs = function(*self.inputs)
        torch.clear_autocast_cache()

    def replay(self, inputs: list[Tensor]) -> Tensors:
        """Does the recorded work with other inputs, and returns copies of its outputs."""
        for own, new in zip(self.inputs, inputs, strict=True):
            own.copy_(new, non_blocking=True)
        self.graph.replay()
        return {name: tensor.clone() for name, tensor in self.outputs.items()}

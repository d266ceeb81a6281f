"""What a picture shares with the ones before it while its camera and the weights stay as they are."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

from torch import Tensor


@dataclass
class _Entry:
    depends: Sequence[Tensor]
    """Held, so that no later tensor can be mistaken for one of them."""
    versions: tuple[int, ...]
    parts: tuple[Tensor, ...] | None
    """None after the first sight."""
    size: int = 0

    def holds(self, depends: Sequence[Tensor]) -> bool:
        """Returns whether the result still stands: it depends on the same tensors, and none was written to."""
        same = len(depends) == len(self.depends) and all(a is b for a, b in zip(depends, self.depends, strict=True))
        return same and self.versions == tuple(t._version for t in depends)


class StillView:
    """Keeps results that are computed once and used again until something that they depend on changes.

    A result is kept from the second time that it is asked for: a camera that moves, as in a video with head motion,
    never asks twice, and costs no memory. The least recently used go first when they grow beyond `budget`.
    """

    MOST_ENTRIES = 1024

    def __init__(self, budget: int = 1 << 30) -> None:
        """Keeps at most `budget` bytes of tensors."""
        self.budget = budget
        self._entries: OrderedDict[Hashable, _Entry] = OrderedDict()

    @property
    def size(self) -> int:
        """Returns how many bytes are kept."""
        return sum(entry.size for entry in self._entries.values())

    def reuse(
        self, key: Hashable, depends: Sequence[Tensor], make: Callable[[], tuple[Tensor, ...]]
    ) -> tuple[Tensor, ...]:
        """Returns the result of `make`, computed now or kept from before.

        Args:
            key: what it is and all plain values that it depends on (camera, resolution).
            depends: the tensors that it depends on (weights, occupancy). A result is made anew when one of them was
                replaced or written to in place, which PyTorch counts; through `.data` it would not.
            make: computes it; not differentiable.
        """
        entry = self._entries.get(key)
        if entry is not None and not entry.holds(depends):
            entry = None
        if entry is not None and entry.parts is not None:
            self._entries.move_to_end(key)
            return entry.parts
        # Before `make`: what is written to while it runs makes the result outdated at once.
        versions = tuple(t._version for t in depends)
        parts = make()
        self._entries.pop(key, None)
        size = sum(part.element_size() * part.nelement() for part in parts) if entry else 0
        if size <= self.budget:
            self._entries[key] = _Entry(tuple(depends), versions, parts if entry else None, size)
        while self.size > self.budget or len(self._entries) > self.MOST_ENTRIES:
            self._entries.popitem(last=False)
        return parts

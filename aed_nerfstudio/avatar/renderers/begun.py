"""Pictures that were begun, and that the host need not have waited for."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from torch import Tensor

Taken = TypeVar("Taken")


@dataclass
class Begun:
    """A picture that a device has been told to make."""

    images: dict[str, Tensor]
    """As of `Renderer.render`; whole, if there is `enough`."""
    enough: Callable[[], bool] = lambda: True
    """Waits for the picture, and returns whether there was room for all of its samples."""
    again: Callable[[], Begun] | None = None
    """Begins it again, with room for those that there were; not needed where there is always enough."""

    def whole(self) -> dict[str, Tensor]:
        """Waits for the picture, made again if need be, and returns its images."""
        begun = self
        while begun.again is not None and not begun.enough():
            begun = begun.again()
        return begun.images


def late(started: Iterable[Callable[[], Taken]], ahead: int) -> Iterator[Taken]:
    """Yields what each of some pieces of work gives, which is waited for when so many after it have been started."""
    under_way: deque[Callable[[], Taken]] = deque()
    for wait in started:
        under_way.append(wait)
        if len(under_way) > ahead:
            yield under_way.popleft()()
    while under_way:
        yield under_way.popleft()()

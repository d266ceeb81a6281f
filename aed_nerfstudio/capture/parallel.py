"""Two cores busy: work on items in threads, in order and with few of them in memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeVar

import cv2

THREADS = 2
AHEAD = 4

Item = TypeVar("Item")
Result = TypeVar("Result")


def in_threads(work: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """Returns the results of `work` in the items' order; at most `THREADS + AHEAD` items are held at a time.

    Items are drawn in the caller's thread. An error of `work` or of the items is raised when its turn comes.
    """
    with ThreadPoolExecutor(THREADS) as pool:
        waiting: deque = deque()
        try:
            for item in items:
                waiting.append(pool.submit(work, item))
                if len(waiting) > THREADS + AHEAD:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def ahead(items: Iterator[Item]) -> Iterator[Item]:
    """Returns the same items, the next ones being fetched in another thread meanwhile."""
    end: Any = object()
    with ThreadPoolExecutor(1) as pool:
        waiting = deque(pool.submit(next, items, end) for _ in range(AHEAD))
        try:
            while (item := waiting.popleft().result()) is not end:
                waiting.append(pool.submit(next, items, end))
                yield item
        finally:
            for future in waiting:
                future.cancel()


@contextmanager
def one_thread_in_opencv() -> Iterator[None]:
    """Takes OpenCV's threads away meanwhile: they would fight with ours, and small pictures gain nothing by them."""
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(before)

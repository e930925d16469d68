"""Hands items from callbacks to a working thread; what finds no room pushes the oldest out."""

from __future__ import annotations

import threading
from collections import deque
from typing import Generic, TypeVar

T = TypeVar("T")


class Mailbox(Generic[T]):
    """A queue of at most ``depth`` items; depth 1 keeps just the latest."""

    def __init__(self, depth: int) -> None:
        self._items: deque[T] = deque(maxlen=depth)
        self._changed = threading.Condition()
        self.received = 0
        self.dropped = 0

    def put(self, item: T) -> None:
        with self._changed:
            self.received += 1
            self.dropped += len(self._items) == self._items.maxlen
            self._items.append(item)
            self._changed.notify_all()

    def take(self, timeout: float) -> T | None:
        """The oldest item; None when there is none within ``timeout`` seconds."""
        with self._changed:
            if not self._changed.wait_for(lambda: bool(self._items), timeout):
                return None
            return self._items.popleft()

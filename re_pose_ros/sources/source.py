"""A stream of frames with start, count and loop, whatever its kind."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import pairwise
from statistics import median

from re_pose_ros.errors import InputError
from re_pose_ros.frame import Frame

_logger = logging.getLogger(__name__)


def _nothing() -> None:
    pass


def rate_of(stamps: Sequence[int], fallback: float) -> float:
    """Frames per second by stamps in nanoseconds; ``fallback`` where they do not rise."""
    steps_ns = [b - a for a, b in pairwise(stamps) if b > a]
    return 1e9 / median(steps_ns) if steps_ns else fallback


@dataclass(frozen=True)
class Feed:
    """What one kind of source provides; ``Source`` does the rest.

    Attributes:
        name: for messages and reports.
        size: (width, height) of the first frame in pixels.
        rate: frames per second; 0 where the device does not say.
        length: frames in one pass; None where unknown or endless.
        replayable: False for a live camera.
        play: one pass from frame ``start`` on; frame indices do not matter.
        close: frees what ``play`` does not free at its end.
        labels: class names of the frames' truth by class id; empty where they have none.
    """

    name: str
    size: tuple[int, int]
    rate: float
    length: int | None
    replayable: bool
    play: Callable[[int], Iterator[Frame]]
    close: Callable[[], None] = _nothing
    labels: tuple[str, ...] = ()


class Source:
    """An iterator of frames, as fast as they are asked for; also a context manager.

    Indices begin at ``start`` and grow by one per frame, also from one pass of a loop to the
    next, and so do stamps. To be iterated by one thread; ``close`` may be called by another and
    then ends the iteration.

    Attributes:
        name: the source's name for messages and reports.
        size: (width, height) in pixels of the first frame; later ones may differ.
        rate: frames per second to pace at, as asked for or the source's own.
        total: frames to expect, None where unknown or endless.
        replayable: False for a live camera.
        labels: class names by class id where all frames have their truth; else empty.
    """

    def __init__(
        self,
        feed: Feed,
        *,
        rate: float = 0.0,
        loop: bool = False,
        start: int = 0,
        count: int = 0,
    ) -> None:
        """Raises InputError where ``start`` is behind the end."""
        if feed.length is not None and start >= feed.length:
            feed.close()
            raise InputError(f"{feed.name} has {feed.length} frames; start {start} is behind them")
        self.name = feed.name
        self.size = feed.size
        self.rate = rate or feed.rate
        self.replayable = feed.replayable
        self.labels = feed.labels
        passed = None if loop or feed.length is None else feed.length - start
        self.total = min(passed, count or passed) if passed is not None else (count or None)
        if not feed.replayable and loop:
            _logger.warning("%s is live: loop has no effect", feed.name)
            loop = False
        self._feed = feed
        self._closed = False
        self._frames = self._play(loop, start, count)

    def _play(self, loop: bool, start: int, count: int) -> Iterator[Frame]:
        index, shift_ns = start, 0
        while True:
            first_ns = last_ns = None
            begun_at = index
            for frame in self._feed.play(start):
                if frame.stamp_ns is not None:
                    last_ns = frame.stamp_ns + shift_ns
                    first_ns = last_ns if first_ns is None else first_ns
                yield replace(frame, index=index, stamp_ns=last_ns)
                index += 1
                if count and index - start >= count:
                    return
            if not loop:
                return
            if index == begun_at:
                _logger.warning("%s: nothing to loop over, no frame was readable", self.name)
                return
            if first_ns is not None and last_ns is not None:
                period_ns = round(1e9 / self._feed.rate) if self._feed.rate > 0 else 1
                shift_ns += last_ns - first_ns + period_ns

    def __iter__(self) -> Source:
        return self

    def __next__(self) -> Frame:
        if self._closed:
            self._release()
            raise StopIteration
        return next(self._frames)

    def close(self) -> None:
        """End the iteration and free the device or file; closing twice is fine."""
        if not self._closed:
            self._closed = True
            self._release()

    def _release(self) -> None:
        # A generator that another thread is in cannot be closed; that thread's next step does.
        with suppress(ValueError):
            self._frames.close()  # type: ignore[attr-defined]
            self._feed.close()

    def __enter__(self) -> Source:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

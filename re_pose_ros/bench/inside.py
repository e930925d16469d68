"""Times of a planner's parts, taken by wrapping its functions from outside."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from importlib import import_module
from typing import Any

PARTS: Mapping[str, str] = {
    "predict": "distribution.tracker:Tracker.predict",
    "looks": "partition.re_pose:RePose._looks",
    "beginning": "partition.re_pose:RePose._beginning",
    "refinement": "partition.re_pose:RePose._refined",
    "choice": "partition.re_pose:chosen_blocks",
    "update": "distribution.tracker:Tracker.update",
    "costs": "partition.workforce:Workforce.observe",
}
"""Module and function in this package, by the name of what it does."""


class Stopwatch:
    """Adds up the time of named parts by both clocks, in milliseconds.

    Attributes:
        wall: by the wall's clock.
        cpu: processor time of the process.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self._names = tuple(names)
        self.begin()

    def begin(self) -> None:
        """From nought."""
        self.wall = dict.fromkeys(self._names, 0.0)
        self.cpu = dict.fromkeys(self._names, 0.0)

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        wall, cpu = time.perf_counter(), time.process_time()
        yield
        self.cpu[name] += (time.process_time() - cpu) * 1e3
        self.wall[name] += (time.perf_counter() - wall) * 1e3


@contextmanager
def watched(stopwatch: Stopwatch, parts: Mapping[str, str] = PARTS) -> Iterator[list[str]]:
    """Have the stopwatch take the time of these functions; gives the names of those not there."""
    missing = []
    with ExitStack() as stack:
        for name, place in parts.items():
            module, _, path = place.partition(":")
            *owners, last = path.split(".")
            try:
                owner: Any = import_module(f"re_pose_ros.{module}")
                for step in owners:
                    owner = getattr(owner, step)
                original = vars(owner)[last]
            except (ImportError, AttributeError, KeyError):
                missing.append(name)
                continue
            setattr(owner, last, _timed(original, stopwatch, name))
            stack.callback(setattr, owner, last, original)
        yield missing


def _timed(original: Callable[..., Any], stopwatch: Stopwatch, name: str) -> Callable[..., Any]:
    @functools.wraps(original)
    def timed(*arguments: Any, **named: Any) -> Any:
        with stopwatch.part(name):
            return original(*arguments, **named)

    return timed

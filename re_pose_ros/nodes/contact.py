"""Which workers have fallen silent: on a link that is cut, DDS says so only after its lease."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TypeVar

from re_pose_ros.partition.base import FrameOutcome

T = TypeVar("T")

KNOCK_EVERY_S = 0.5
"""How often a silent worker is asked whether it is there again."""


class Contact:
    """Workers that left a whole frame unanswered, until they are heard of again.

    ROS-free; times are seconds of one monotonic clock, given by the caller.
    """

    def __init__(self) -> None:
        self._silent: dict[str, float] = {}
        self._knocked: dict[str, float] = {}

    @property
    def silent(self) -> tuple[str, ...]:
        return tuple(sorted(self._silent))

    def observe(self, outcome: FrameOutcome, among: Collection[str], now: float) -> None:
        """Take what came of a frame: who of ``among`` answered none of its blocks is silent."""
        answered: dict[str, bool] = {}
        for planned, came in zip(outcome.blocks, outcome.outcomes, strict=False):
            worker = planned.slot.worker
            answered[worker] = answered.get(worker, False) or came.answered
        for worker, any_answer in answered.items():
            if any_answer:
                self._silent.pop(worker, None)
            elif worker in among:
                self._silent.setdefault(worker, now)

    def heard(self, worker: str, at: float) -> None:
        """Something came from a worker."""
        if at > self._silent.get(worker, at):
            del self._silent[worker]

    def kept(self, workers: Mapping[str, T]) -> dict[str, T]:
        """Those that are not silent."""
        return {name: of for name, of in workers.items() if name not in self._silent}

    def due(self, workers: Mapping[str, T], now: float) -> list[str]:
        """The silent ones of these that it is time to ask."""
        due = [
            name
            for name in workers
            if name in self._silent and now - self._knocked.get(name, -1e9) >= KNOCK_EVERY_S
        ]
        self._knocked.update(dict.fromkeys(due, now))
        return due

"""Workers that become slower in the course of a sequence, by computation."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from re_pose_ros.errors import InputError

_TEXT = re.compile(
    r"(?P<worker>[A-Za-z]\w*):(?P<factor>[0-9]{1,4}(?:\.[0-9]{1,4})?)@(?P<frame>[0-9]{1,7})"
)


@dataclass(frozen=True, slots=True)
class Slowdown:
    """A worker that has ``factor`` times as long for everything from some frame on.

    Attributes:
        worker: its name.
        factor: what its speed is divided by, positive; below 1 it becomes faster.
        frame: the first counted frame of each sequence at which it is slower, from 0.

    Raises InputError for a factor or frame out of range.
    """

    worker: str
    factor: float
    frame: int

    def __post_init__(self) -> None:
        if not 0 < self.factor < 1e4:
            raise InputError(f"{self.worker} cannot become {self.factor:g} times slower")
        if self.frame < 0:
            raise InputError(f"{self.worker} cannot become slower at frame {self.frame}")

    @classmethod
    def parse(cls, text: str) -> Slowdown:
        """``edge_0:3@5``: three times slower from the sixth counted frame on; else InputError."""
        match = _TEXT.fullmatch(text)
        if match is None:
            raise InputError(f"'{text}' is no slowdown; write worker:factor@frame, as edge_0:3@5")
        return cls(match["worker"], float(match["factor"]), int(match["frame"]))


def speeds_at(
    frame: int, speeds: Mapping[str, float], slowdowns: Sequence[Slowdown]
) -> dict[str, float]:
    """The workers' speeds at a counted frame of a sequence; several slowdowns multiply."""
    now = dict(speeds)
    for slowdown in slowdowns:
        if frame >= slowdown.frame:
            now[slowdown.worker] /= slowdown.factor
    return now

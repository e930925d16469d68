"""Levels that follow what is measured: quickly where it has changed, not at all where it strayed.

Ours; a smoothed level with a gate (as in tracking radars) and a rule for what lies outside it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

GAIN = 0.3
"""Share of a deviation that is believed at once, where it is small."""

SPREAD_GAIN = 0.1
"""The same for the spread."""

LEAST_GATE, LARGEST_GATE = math.log(1.3), math.log(2.0)
"""A deviation up to the gate, three standard deviations within these limits, is noise."""


@dataclass(slots=True)
class Level:
    """The level of a positive quantity, kept as its logarithm.

    Deviations within the gate are smoothed exponentially. One beyond it changes nothing until the
    next observation: the two are believed together if they agree, three on one side in any case
    (their median). So a step is followed after two or three observations, and one stray value
    among good ones never counts.

    Attributes:
        log: logarithm of the level.
        known: false for a first guess, which the first observation replaces.
        spread: standard deviation of the logarithm of what is observed.
    """

    log: float
    known: bool = True
    spread: float = 0.0
    _surprises: list[float] = field(default_factory=list)

    @classmethod
    def of(cls, value: float, *, known: bool = True) -> Level:
        """A level that starts at ``value``, which is positive."""
        return cls(math.log(value), known)

    @property
    def value(self) -> float:
        return math.exp(self.log)

    def observe(self, value: float) -> None:
        """Take an observation, positive and finite; raises ValueError for any other."""
        if not 0 < value < math.inf:
            raise ValueError(f"an observation must be positive and finite, got {value}")
        seen = math.log(value)
        if not self.known:
            self.log, self.known = seen, True
            return
        deviation = seen - self.log
        gate = min(max(3 * self.spread, LEAST_GATE), LARGEST_GATE)
        if abs(deviation) <= gate:
            self.log += GAIN * deviation
            # Mean absolute deviation to standard deviation of a normal distribution.
            self.spread += SPREAD_GAIN * (1.2533 * abs(deviation) - self.spread)
            self._surprises.clear()
            return
        if self._surprises and (self._surprises[-1] > self.log) != (seen > self.log):
            self._surprises.clear()
        self._surprises.append(seen)
        last = self._surprises[-2:]
        if len(last) == 2 and abs(last[1] - last[0]) <= gate:
            self._jump(sum(last) / 2)
        elif len(self._surprises) == 3:
            self._jump(sorted(self._surprises)[1])

    def _jump(self, log: float) -> None:
        self.log = log
        self._surprises.clear()

"""What a tuner knows about one worker, its link and the block to be looked at.

The live node fills in what it measured; the simulation has the same twice, as measured and as it
is. In arrays a state is a row (..., F): the fields of ``Measured`` in their order, ``shares`` last.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import ArrayLike, NDArray

from re_pose_ros.coinference.profile import ActionTable

Rows = NDArray[np.float64]
Bools = NDArray[np.bool_]
Actions = NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class Measured:
    """One worker as the robot sees it, at the moment when a block is there to be looked at.

    Attributes:
        bandwidth_mbit_s: of the link, estimated; see ``BandwidthEstimate``.
        rtt_ms: round-trip time of a small message.
        robot_load: how many times as long things take on the robot as in the table of actions.
        edge_load: the same for the worker.
        input_size: side of the network's input for the block, in pixels.
        deadline_ms: from having the block to having its result.
        period_ms: from this block to the next.
        robot_busy_ms: until the robot is done with blocks before this one.
        link_busy_ms: until the link is.
        edge_busy_ms: until the worker is.
        edge_wait_ms: what a block waits at the worker for those of others.
        trend: of the bandwidth, in doublings per second.
        spread: how far off forecasts of the bandwidth were, in doublings.
        age_s: since the bandwidth was measured last.
        connected: the worker is there: 1 or 0.
        features: it can go on from features: 1 or 0.
        shares: (K,) of the block's objects by class of size, smallest first; together 1.
    """

    bandwidth_mbit_s: float
    rtt_ms: float
    robot_load: float
    edge_load: float
    input_size: float
    deadline_ms: float
    period_ms: float
    robot_busy_ms: float
    link_busy_ms: float
    edge_busy_ms: float
    edge_wait_ms: float
    trend: float
    spread: float
    age_s: float
    connected: float
    features: float
    shares: tuple[float, ...]

    def row(self) -> Rows:
        """(F,) as the functions of this package take it."""
        return np.array(
            [*(getattr(self, name) for name in COLUMNS), *self.shares], dtype=np.float64
        )


COLUMNS: dict[str, int] = {
    entry.name: column for column, entry in enumerate(fields(Measured)) if entry.name != "shares"
}
"""Column of each field but ``shares``, which begin at ``SHARES``."""

SHARES = len(COLUMNS)


def width(table: ActionTable) -> int:
    """F, numbers per row."""
    return SHARES + len(table.size_edges) + 1


def possible(table: ActionTable, rows: Rows) -> Bools:
    """Which actions (..., A) can be done.

    Nothing is sent to a worker that is not there, and no features to one that cannot go on from
    them. What runs on the robot alone always can.
    """
    connected = rows[..., COLUMNS["connected"], None] > 0
    features = rows[..., COLUMNS["features"], None] > 0
    return np.asarray(
        (connected | ~table.sends) & (features | ~table.sends_features), dtype=np.bool_
    )


class BandwidthEstimate:
    """Bandwidth, its trend and how uncertain it is, from samples of N links as they come.

    Double exponential smoothing of the logarithm with a gap of its own before each sample (Holt
    1957; Wright, Management Science 1986), beside it the smoothed square of the forecasts' errors.
    The weights are ours.
    """

    LEVEL, TREND, SPREAD = 0.6, 0.15, 0.1
    """Weights of what is new."""

    FIRST_SPREAD = 0.15
    """In doublings, before anything is known."""

    FARTHEST_S = 1.0
    """A trend is believed for so long."""

    LEAST_MBIT_S = 1e-3

    def __init__(self, first_mbit_s: ArrayLike) -> None:
        """Begin with a first sample of each link, (N,)."""
        self._level = self._log(first_mbit_s)
        self.trend = np.zeros_like(self._level)
        self._square = np.full_like(self._level, self.FIRST_SPREAD**2)
        self.age_s = np.zeros_like(self._level)

    @property
    def bandwidth_mbit_s(self) -> NDArray[np.float64]:
        """(N,) the level."""
        return np.exp2(self._level)

    @property
    def spread(self) -> NDArray[np.float64]:
        """(N,) root mean square of the forecasts' errors, in doublings."""
        return np.sqrt(self._square)

    def update(
        self, samples_mbit_s: ArrayLike, there: ArrayLike, passed_s: NDArray[np.float64] | float
    ) -> None:
        """Take what was measured since the last call.

        Args:
            samples_mbit_s: (N,) bits per time that a transfer reached.
            there: (N,) for which links there is a sample.
            passed_s: since the last call, above 0; a number or (N,).
        """
        new = np.asarray(there, np.float64)
        self.age_s += passed_s
        gap = np.minimum(self.age_s, self.FARTHEST_S)
        forecast = self._level + self.trend * gap
        error = (self._log(samples_mbit_s) - forecast) * new
        self._level += (forecast - self._level) * new + self.LEVEL * error
        self.trend += self.LEVEL * self.TREND * error / gap
        self._square += self.SPREAD * new * (error**2 - self._square)
        self.age_s *= 1 - new

    def _log(self, mbit_s: ArrayLike) -> NDArray[np.float64]:
        return np.log2(np.maximum(np.atleast_1d(mbit_s), self.LEAST_MBIT_S))

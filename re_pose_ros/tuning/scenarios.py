"""Traces drawn by chance, in proportion to what the actions of a table cost.

What is hard depends on costs: a link is slow or fast by what there is to send within the deadline,
a deadline is short or long by what the robot needs alone. So ranges are ratios, and the same
scenarios fit a small classifier and a large detector.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from re_pose_ros.coinference.profile import ActionTable
from re_pose_ros.errors import InputError
from re_pose_ros.tuning import channels, loads
from re_pose_ros.tuning.processes import chance, correlated, held, log_uniform
from re_pose_ros.tuning.recorded import Recorded
from re_pose_ros.tuning.traces import Floats, Traces

KINDS = ("fading", "steps", "recorded")

Range = tuple[float, float]

_RANGES: dict[str, Range] = {
    "sending": (1e-3, 1e3),
    "round_trip": (1e-4, 0.9),
    "robot_speed": (1e-3, 1e3),
    "edge_speed": (1e-3, 1e3),
    "period": (1e-2, 1e2),
    "doppler_hz": (1e-6, 1e4),
    "mean_snr_db": (-20.0, 80.0),
    "hold_s": (1e-3, 1e6),
    "load_hold_s": (1e-3, 1e6),
    "error": (1e-6, 2.0),
}
"""What each range may be at most."""

_NUMBERS: dict[str, Range] = {
    "least_deadline": (1e-2, 1e2),
    "most_deadline": (1e-2, 1e2),
    "deadline_hold_s": (1e-3, math.inf),
    "least_period_ms": (1.0, 1e5),
    "jump": (1.0, 1e6),
    "outage_every_s": (1e-3, math.inf),
    "outage_length_s": (1e-3, 1e6),
    "without_features": (0.0, 1.0),
}
"""What each number may be."""


@dataclass(frozen=True, slots=True)
class Scenarios:
    """What is drawn; ranges are log-uniform but for ``mean_snr_db``, one value per trace.

    Attributes:
        least_deadline: over the time that the robot alone needs with its fastest setting, for the
            trace's largest blocks under its mean load.
        most_deadline: over that with its slowest setting.
        deadline_hold_s: mean time until the deadline is changed.
        sending: time to send the largest picture of the table at the link's typical bandwidth,
            over the (geometric) mean of least and greatest deadline.
        round_trip: round-trip time over the same.
        period: time between blocks over the same, but at least ``least_period_ms``.
        least_period_ms: see ``period``.
        robot_speed: how many times as long as in the table the robot takes at rest.
        edge_speed: the same for the worker.
        fading: weight of fading channels among the kinds of links.
        doppler_hz: of fading channels.
        mean_snr_db: of fading channels.
        steps: weight of links that jump.
        hold_s: mean time between their jumps.
        jump: greatest over least bandwidth of a link that jumps.
        recorded: weight of replayed links; they are as they were recorded, in no proportion.
        traces: to replay, of links.
        load_hold_s: mean time between jumps of a machine's load.
        load_traces: to replay, of utilisation; a third of the machines has one where there are any.
        error: of what is measured of the bandwidth: standard deviation of its logarithm.
        outage_every_s: mean time between outages, infinity for none.
        outage_length_s: their mean length.
        without_features: share of workers that cannot go on from features.

    Raises InputError for ranges that are empty or make no sense.
    """

    least_deadline: float = 1.3
    most_deadline: float = 1.2
    deadline_hold_s: float = 60.0
    sending: Range = (0.1, 4.0)
    round_trip: Range = (0.01, 0.1)
    period: Range = (0.8, 1.6)
    least_period_ms: float = 100.0
    robot_speed: Range = (1.0, 4.0)
    edge_speed: Range = (0.5, 1.0)
    fading: float = 0.6
    doppler_hz: Range = (0.02, 0.1)
    mean_snr_db: Range = (10.0, 25.0)
    steps: float = 0.4
    hold_s: Range = (60.0, 240.0)
    jump: float = 16.0
    recorded: float = 0.0
    traces: tuple[Recorded, ...] = field(default=(), compare=False)
    load_hold_s: Range = (60.0, 240.0)
    load_traces: tuple[Recorded, ...] = field(default=(), compare=False)
    error: Range = (0.02, 0.2)
    outage_every_s: float = 600.0
    outage_length_s: float = 5.0
    without_features: float = 0.1

    def __post_init__(self) -> None:
        for name, (least, most) in _RANGES.items():
            low, high = getattr(self, name)
            if not least <= low <= high <= most:
                raise InputError(
                    f"scenarios: {name} = {low}, {high} is no range in {least}, {most}"
                )
        for name, (least, most) in _NUMBERS.items():
            value = getattr(self, name)
            if not least <= value <= most:
                raise InputError(f"scenarios: {name} = {value} is not in [{least}, {most}]")
        weights = [getattr(self, kind) for kind in KINDS]
        if not (min(weights) >= 0 and 0 < sum(weights) < math.inf):
            raise InputError(f"scenarios: weights of {', '.join(KINDS)} need to be positive")
        if self.recorded > 0 and not self.traces:
            raise InputError("scenarios: recorded has a weight, but there are no traces to replay")

    def draw(self, table: ActionTable, rng: np.random.Generator, count: int, steps: int) -> Traces:
        """``count`` traces of ``steps`` blocks for the actions of ``table``."""
        weights = np.array([getattr(self, kind) for kind in KINDS])
        kinds = rng.choice(len(KINDS), count, p=weights / weights.sum())
        largest = log_uniform(rng, table.input_sizes[0], table.input_sizes[-1], count)
        robot, edge = (log_uniform(rng, *r, count) for r in (self.robot_speed, self.edge_speed))
        alone = table.costs(largest).device_ms[:, ~table.sends] * robot[:, None]
        shares = self.least_deadline, self.most_deadline
        usual = np.sqrt(np.prod(shares) * alone.min(axis=1) * alone.max(axis=1))
        period_ms = np.maximum(log_uniform(rng, *self.period, count) * usual, self.least_period_ms)
        period_s = period_ms / 1e3
        robot_load = robot * self._slowness(rng, steps, period_s)
        busy = robot_load.mean(axis=0) / robot
        least = self.least_deadline * alone.min(axis=1) * busy
        most = np.maximum(self.most_deadline * alone.max(axis=1) * busy, least)
        changes = held(rng, steps, chance(period_s, self.deadline_hold_s), count)
        deadlines = log_uniform(rng, least, most, (steps, count))
        bits = table.costs(largest).bits.max(axis=1)
        typical = bits / (1e3 * usual * log_uniform(rng, *self.sending, count))
        bandwidth, rtt, connected = self._links(rng, kinds, steps, period_s, typical, usual)
        times = {"every_s": self.outage_every_s, "length_s": self.outage_length_s}
        error = log_uniform(rng, *self.error, count)
        return Traces(
            bandwidth_mbit_s=np.maximum(bandwidth, typical * 1e-3),
            rtt_ms=rtt,
            connected=connected & ~channels.outages(rng, steps, count, period_s=period_s, **times),
            robot_load=robot_load,
            edge_load=edge * self._slowness(rng, steps, period_s),
            edge_wait_ms=_waits(rng, steps, period_s, usual),
            input_size=_sizes(rng, steps, period_s, table, largest),
            shares=_shares(rng, steps, period_s, len(table.size_edges) + 1),
            deadline_ms=np.take_along_axis(deadlines, changes, axis=0),
            period_ms=period_ms,
            features=rng.random(count) >= self.without_features,
            noise=np.exp(error * rng.standard_normal((steps, count))),
        )

    def _links(
        self,
        rng: np.random.Generator,
        kinds: NDArray[np.intp],
        steps: int,
        period_s: Floats,
        typical: Floats,
        usual: Floats,
    ) -> tuple[Floats, Floats, NDArray[np.bool_]]:
        """Bandwidth, round-trip time and whether there is a link, by each trace's kind."""
        median = log_uniform(rng, *self.round_trip, len(kinds)) * usual
        bandwidth = np.empty((steps, len(kinds)))
        rtt = channels.round_trips(rng, steps, len(kinds), period_s=period_s, median_ms=median)
        up = np.ones(bandwidth.shape, bool)
        fading, jumping, replayed = (np.flatnonzero(kinds == k) for k in range(len(KINDS)))
        snr_db = rng.uniform(*self.mean_snr_db, len(fading))
        bandwidth[:, fading] = channels.rayleigh(
            rng,
            steps,
            len(fading),
            period_s=period_s[fading],
            doppler_hz=log_uniform(rng, *self.doppler_hz, len(fading)),
            mean_snr_db=snr_db,
            bandwidth_mhz=typical[fading] / np.log2(1 + 10 ** (snr_db / 10)),
        )
        bandwidth[:, jumping] = channels.steps_of(
            rng,
            steps,
            len(jumping),
            period_s=period_s[jumping],
            hold_s=log_uniform(rng, *self.hold_s, len(jumping)),
            low=typical[jumping] / np.sqrt(self.jump),
            high=typical[jumping] * np.sqrt(self.jump),
        )
        for k in replayed:
            trace = self.traces[int(rng.integers(len(self.traces)))]
            start = float(rng.uniform(0, trace.time_s[-1] - trace.time_s[0]))
            bandwidth[:, k], rtt[:, k], up[:, k] = channels.replayed(
                trace, steps, period_s=float(period_s[k]), start_s=start
            )
        return bandwidth, rtt, up

    def _slowness(self, rng: np.random.Generator, steps: int, period_s: Floats) -> Floats:
        """Of machines: half of them wander, half jump; replayed where there are recordings."""
        count = len(period_s)
        wanders = loads.wandering(
            rng,
            steps,
            count,
            period_s=period_s,
            mean=rng.uniform(0.0, 0.4, count),
            spread=rng.uniform(0.0, 0.1, count),
            relax_s=10.0,
            burst=rng.uniform(0.0, 0.3, count),
            burst_every_s=240.0,
            burst_length_s=5.0,
        )
        hold_s = log_uniform(rng, *self.load_hold_s, count)
        jumps = loads.stepped(rng, steps, count, period_s=period_s, hold_s=hold_s, high=0.5)
        used = np.where(rng.random(count) < 0.5, wanders, jumps)
        for k in np.flatnonzero(rng.random(count) < (1 / 3 if self.load_traces else 0.0)):
            trace = self.load_traces[int(rng.integers(len(self.load_traces)))]
            start = float(rng.uniform(0, trace.time_s[-1] - trace.time_s[0]))
            used[:, k] = loads.replayed(trace, steps, period_s=float(period_s[k]), start_s=start)
        return loads.slowness(used)


def _waits(rng: np.random.Generator, steps: int, period_s: Floats, usual: Floats) -> Floats:
    """For blocks of others: most of the time next to none."""
    mean = rng.uniform(-0.1, 0.1, len(period_s))
    return usual * loads.wandering(
        rng, steps, len(period_s), period_s=period_s, mean=mean, spread=0.03, relax_s=10.0
    )


def _sizes(
    rng: np.random.Generator,
    steps: int,
    period_s: Floats,
    table: ActionTable,
    largest: Floats,
) -> Floats:
    """Blocks stay as they are for some seconds; up to twice smaller than the trace's largest."""
    least = np.maximum(largest / 2, table.input_sizes[0])
    sizes = log_uniform(rng, least, np.maximum(largest, least), (steps, len(largest)))
    rows = held(rng, steps, chance(period_s, 5.0), len(largest))
    found = np.take_along_axis(sizes, rows, axis=0)
    return np.clip(found, table.input_sizes[0], table.input_sizes[-1])  # logarithms round


def _shares(rng: np.random.Generator, steps: int, period_s: Floats, classes: int) -> Floats:
    """Of objects by size: logistic-normal (Aitchison and Shen 1980), wandering over seconds."""
    count = len(period_s)
    kept = np.tile(np.exp(-period_s / 10.0), classes)
    values = 1.5 * correlated(rng, steps, kept, classes * count).reshape(steps, classes, count)
    weights = np.exp(values.transpose(0, 2, 1))
    return np.asarray(weights / weights.sum(axis=2, keepdims=True))

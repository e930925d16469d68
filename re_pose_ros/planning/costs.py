"""How long each block would take on each worker, from profiles and from what was observed."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from re_pose_ros.detection.preprocess import canvas_size
from re_pose_ros.detection.profile import Profile
from re_pose_ros.errors import InputError
from re_pose_ros.plan import Variant
from re_pose_ros.planning.level import Level
from re_pose_ros.planning.options import Floats

PROFILE_ASPECT = 16 / 9
"""Width over height of the blocks that profiles are measured with."""

STRIDE = 32
"""Input sides of the networks are multiples of it."""

FIXED_SHARE = 0.2
"""Share of a variant's time that does not depend on its input's area, where that is unknown, and
the least share of it that any input takes."""


@dataclass(frozen=True, slots=True)
class CostSettings:
    """What costs start from and how careful they are.

    Attributes:
        link_ms: fixed part of a transfer there and back, 0 to 10000.
        bandwidth_mbps: Mbit/s of a link on which nothing was measured, 0.001 to 1e6.
        bytes_per_pixel: of a compressed block before any was sent, 0.001 to 10.
        caution: standard deviations by which times are planned longer than expected, 0 to 10.
        encode_ms: the robot's time for cropping and encoding a million pixels before it was
            measured, 0.001 to 10000.
        overhead_ms: the robot's other work per frame before it was measured, 0 to 10000; counts as
            one frame's.
        first_spread: standard deviation of the logarithms of times before any was measured, 0 to 1.
        overhead_quantile: of the latest frames' overhead, 0 to 1.
        overhead_frames: how many frames that are, 1 to 10000.

    Raises InputError for a value outside its range.
    """

    link_ms: float = 2.0
    bandwidth_mbps: float = 100.0
    bytes_per_pixel: float = 0.25
    caution: float = 1.0
    encode_ms: float = 6.0
    overhead_ms: float = 8.0
    first_spread: float = 0.0
    overhead_quantile: float = 0.75
    overhead_frames: int = 50

    def __post_init__(self) -> None:
        for name, (low, high) in _RANGES.items():
            value = getattr(self, name)
            if not low <= value <= high:
                raise InputError(f"cost setting {name} = {value} is not in [{low}, {high}]")


_RANGES: dict[str, tuple[float, float]] = {
    "link_ms": (0.0, 1e4),
    "bandwidth_mbps": (1e-3, 1e6),
    "bytes_per_pixel": (1e-3, 10.0),
    "caution": (0.0, 10.0),
    "encode_ms": (1e-3, 1e4),
    "overhead_ms": (0.0, 1e4),
    "first_spread": (0.0, 1.0),
    "overhead_quantile": (0.0, 1.0),
    "overhead_frames": (1, 10_000),
}


@dataclass(slots=True)
class _Worker:
    """A worker's profile as lines (ms, ms per input pixel, input pixels), and its levels."""

    lines: dict[Variant, tuple[float, float, float]]
    slowness: Level
    link: Level | None = None


class CostModel:
    """Times per worker and variant that follow what the workers do.

    A worker's times are those of its profile times its slowness, one factor for all of its
    variants, so that those it was not asked for lately are corrected too. Input areas other than
    the profile's are reckoned by the line that fits the times of one network at several sizes
    best. A transfer takes ``link_ms`` plus its bytes over the link's measured rate.
    """

    def __init__(
        self,
        profiles: Mapping[str, Profile] | None = None,
        settings: CostSettings | None = None,
    ) -> None:
        self.settings = settings or CostSettings()
        self._workers: dict[str, _Worker] = {}
        self._kept: tuple[tuple[str, ...], tuple[Variant, ...], Floats] | None = None
        self._density = Level.of(self.settings.bytes_per_pixel, known=False)
        self._encoding = Level.of(self.settings.encode_ms, known=False)
        self._overheads: deque[float] = deque(
            [self.settings.overhead_ms], maxlen=self.settings.overhead_frames
        )
        for name, profile in (profiles or {}).items():
            self.set_profile(name, profile)

    # What is known and observed.

    def set_profile(self, worker: str, profile: Profile) -> None:
        """Take a worker's (new) profile; what was observed of it so far is kept."""
        lines = _lines(profile)
        self._kept = None
        if worker in self._workers:
            self._workers[worker].lines = lines
        else:
            slowness = Level(0.0, spread=self.settings.first_spread)
            self._workers[worker] = _Worker(lines, slowness)

    def observe_slowness(self, worker: str, ratio: float) -> None:
        """Take the worker's time for all blocks of a frame, over that of its profile.

        Raises:
            InputError: the worker has no profile or the ratio is not positive.
        """
        _take(self._worker(worker).slowness, ratio, "ratio of times")

    def observe_transfer(self, worker: str, size: int, ms: float) -> None:
        """Take the time that a block of ``size`` bytes spent outside the worker, there and back.

        Raises:
            InputError: the worker has no profile or a number is not positive.
        """
        state = self._worker(worker)
        if size <= 0:
            raise InputError(f"a block of {size} bytes was not transferred")
        # At least a tenth of it goes to the bytes, however long the link is said to be.
        rate = max(ms - self.settings.link_ms, 0.1 * ms) / size
        if state.link is None:
            state.link = Level.of(self._nominal_rate(), known=False)
        _take(state.link, rate, "transfer time")

    def observe_bytes(self, size: int, pixels: float) -> None:
        """Take how large a block of so many pixels became; InputError where one is not positive."""
        if pixels <= 0:
            raise InputError(f"a block of {pixels} pixels was not compressed")
        _take(self._density, size / pixels, "size")

    def observe_encoding(self, ms: float, pixels: float) -> None:
        """Take how long the robot had to crop and encode so many pixels; both are positive."""
        if pixels <= 0:
            raise InputError(f"a block of {pixels} pixels was not encoded")
        _take(self._encoding, ms / pixels * 1e6, "time")

    def observe_overhead(self, ms: float) -> None:
        """Take the robot's own work for one frame; InputError where it is negative."""
        if not 0 <= ms < math.inf:
            raise InputError(f"an overhead of {ms} ms cannot be")
        self._overheads.append(ms)

    # What is expected.

    def slowness(self, worker: str) -> float:
        """The worker's times over those of its profile."""
        return self._worker(worker).slowness.value

    def compute_ms(self, worker: str, variant: Variant, input_pixels: float | None = None) -> float:
        """Expected time of one block on the worker; inf where it does not have the variant."""
        state = self._worker(worker)
        if variant not in state.lines:
            return math.inf
        return state.slowness.value * _line_ms(state.lines[variant], input_pixels)

    def transfer_ms(self, worker: str, pixels: float) -> float:
        """Expected time for sending a block of so many image pixels and getting the answer."""
        return self.settings.link_ms + self._rate(worker) * self._density.value * pixels

    def bandwidth_mbps(self, worker: str) -> float:
        """Mbit/s to the worker; where it was not measured, the median of the other workers'."""
        return 8e-3 / self._rate(worker)

    @property
    def bytes_per_pixel(self) -> float:
        return self._density.value

    def encode_ms(self, pixels: float) -> float:
        """Expected time for cropping and encoding so many pixels on the robot."""
        return self._encoding.value * pixels * 1e-6

    def sending_ms(self, worker: str, pixels: float) -> float:
        """Expected time that so many pixels take on the link, with the settings' caution."""
        link = self._worker(worker).link
        caution = math.exp(self.settings.caution * (0.0 if link is None else link.spread))
        return self._rate(worker) * caution * self._density.value * pixels

    @property
    def overhead_ms(self) -> float:
        """The robot's work per frame but for encoding, at the settings' quantile."""
        ordered = sorted(self._overheads)
        return ordered[round(self.settings.overhead_quantile * (len(ordered) - 1))]

    def budget_ms(self, deadline_ms: float) -> float:
        """What a deadline leaves to the workers, at least 0."""
        return max(deadline_ms - self.overhead_ms, 0.0)

    def times(
        self,
        workers: Sequence[str],
        variants: Sequence[Variant],
        image_pixels: Floats,
        input_pixels: Floats | None = None,
    ) -> Floats:
        """``Options.time_ms`` where every block waits for its own transfer alone.

        Args:
            workers: W of those with a profile.
            variants: V.
            image_pixels: (B, V) pixels sent for a block with a variant.
            input_pixels: (B, V) area of the network's input; that of the profiles by default.

        Returns:
            (W, B, V) ms; inf where a worker does not have a variant.
        """
        pixels = np.asarray(image_pixels, np.float64)
        if input_pixels is None:
            nominal = [profiled_pixels(variant) for variant in variants]
            input_pixels = np.broadcast_to(np.array(nominal), pixels.shape)
        sending = [self.settings.link_ms + self.sending_ms(name, 1.0) * pixels for name in workers]
        return self.compute_times(workers, variants, input_pixels) + np.stack(sending)

    def compute_times(
        self, workers: Sequence[str], variants: Sequence[Variant], input_pixels: Floats
    ) -> Floats:
        """(W, B, V) ms of the workers' own time, with the settings' caution; see ``times``."""
        caution = self.settings.caution
        states = [self._worker(name).slowness for name in workers]
        slowness = np.array([state.value * math.exp(caution * state.spread) for state in states])
        ms, slope, nominal = self._line_arrays(tuple(workers), tuple(variants))
        times = np.maximum(ms + slope * (input_pixels - nominal), FIXED_SHARE * ms)
        times *= slowness[:, None, None]
        return times

    def _line_arrays(self, workers: tuple[str, ...], variants: tuple[Variant, ...]) -> Floats:
        """(3, W, 1, V) of ``_Worker.lines``, of what a worker does not have (inf, 0, 0).

        Kept from frame to frame.
        """
        if self._kept is None or self._kept[:2] != (workers, variants):
            lacking = (math.inf, 0.0, 0.0)
            lines = [
                [self._worker(name).lines.get(variant, lacking) for variant in variants]
                for name in workers
            ]
            arrays = np.array(lines).reshape(len(workers), 1, len(variants), 3)
            self._kept = workers, variants, np.ascontiguousarray(np.moveaxis(arrays, -1, 0))
        return self._kept[2]

    def _worker(self, name: str) -> _Worker:
        if name not in self._workers:
            raise InputError(f"worker '{name}' has no profile; known are {sorted(self._workers)}")
        return self._workers[name]

    def _nominal_rate(self) -> float:
        """Ms per byte."""
        return 8e-3 / self.settings.bandwidth_mbps

    def _rate(self, worker: str) -> float:
        link = self._worker(worker).link
        if link is not None:
            return link.value
        others = [state.link.value for state in self._workers.values() if state.link is not None]
        return float(np.median(others)) if others else self._nominal_rate()


@lru_cache(1024)
def profiled_pixels(variant: Variant) -> float:
    """Area of the network's input when the profile of the variant was measured."""
    size = variant.input_size
    width, height = canvas_size((size, max(round(size / PROFILE_ASPECT), 1)), size, STRIDE)
    return float(width * height)


def _lines(profile: Profile) -> dict[Variant, tuple[float, float, float]]:
    """Per variant its time, the slope of its network's times over input pixels, its pixels."""
    lines = {}
    for model in profile.models:
        entries = [entry for entry in profile.variants if entry.variant.model == model]
        pixels = np.array([profiled_pixels(entry.variant) for entry in entries])
        times = np.array([entry.time_ms for entry in entries])
        many = np.ptp(pixels) > 0
        slope = max(float(np.polyfit(pixels, times, 1)[0]), 0.0) if many else math.inf
        for entry, area in zip(entries, pixels.tolist(), strict=True):
            steepest = (1 - FIXED_SHARE) * entry.time_ms / area
            lines[entry.variant] = (entry.time_ms, min(slope, steepest), area)
    return lines


def _line_ms(line: tuple[float, float, float], input_pixels: float | None) -> float:
    ms, slope, nominal = line
    if input_pixels is None:
        return ms
    return max(ms + slope * (input_pixels - nominal), FIXED_SHARE * ms)


def _take(level: Level, value: float, what: str) -> None:
    try:
        level.observe(value)
    except ValueError as error:
        raise InputError(f"a {what} that was measured cannot be: {error}") from error

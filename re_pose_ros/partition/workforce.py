"""What the planner knows about the workers: costs that follow them, and what they look like."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from re_pose_ros.detection.preprocess import canvas_size
from re_pose_ros.detection.profile import Profile
from re_pose_ros.distribution import ObjectDistribution
from re_pose_ros.partition.base import FrameOutcome
from re_pose_ros.partition.experience import Experience
from re_pose_ros.partition.groups import Floats
from re_pose_ros.partition.outlook import Conditions
from re_pose_ros.partition.worth import Worth, pooled_recall
from re_pose_ros.plan import Variant
from re_pose_ros.planning.costs import STRIDE, CostModel, CostSettings, profiled_pixels

SETTINGS = CostSettings(link_ms=0.5, overhead_ms=12.0, first_spread=0.1)

CHANGED = 1.5
"""Ratio of times from which on a worker is no longer what it was, if all of its blocks say so."""

_SIZES = np.geomspace(1.0, 2048.0, 200)


class Workforce:
    """Profiles and costs of the workers that are there, kept from frame to frame."""

    def __init__(self, settings: CostSettings = SETTINGS) -> None:
        self.costs = CostModel(settings=settings)
        self._profiles: dict[str, Profile] = {}
        self._worth: Worth | None = None
        self._tables: dict[str, Floats] = {}
        self._pace: _Pace | None = None
        self.experience = Experience()

    def meet(self, profiles: Mapping[str, Profile]) -> None:
        """Take the profiles of the workers there; new ones of workers known are taken over."""
        for name, profile in profiles.items():
            if self._profiles.get(name) is not profile:
                self._profiles[name] = profile
                self.costs.set_profile(name, profile)
                self._worth = self._pace = None
                self._tables.clear()

    def worth(self, variants: tuple[Variant, ...], most_enlarged: float) -> Worth:
        """What looking with each of the variants is worth."""
        worth = self._worth
        if worth is None or (worth.variants, worth.most_enlarged) != (variants, most_enlarged):
            recall = self.experience.corrected(self._profiled)
            worth = self._worth = Worth.of(variants, recall, most_enlarged)
        return worth

    def _renew(self) -> None:
        """With what was learned since, now, since nobody waits, and not when a frame does."""
        if self._worth is not None:
            recall = self.experience.corrected(self._profiled)
            self._worth = Worth.of(self._worth.variants, recall, self._worth.most_enlarged)
        if self._pace is not None:
            self._pace = _pace(self.costs, self._pace.workers, self._pace.variants)

    def recall(self, variant: Variant | None, sizes: Floats) -> Floats:
        """As ``distribution.detectability.Recall``."""
        model = "" if variant is None else variant.model
        return self.experience.corrected(self._profiled)(model, sizes)

    def _profiled(self, model: str, sizes: Floats) -> Floats:
        """What the profiles say, from a table made once."""
        if model not in self._tables:
            self._tables[model] = pooled_recall(list(self._profiles.values()), model, _SIZES)
        return np.asarray(np.interp(sizes, _SIZES, self._tables[model]))

    def conditions(
        self,
        workers: Mapping[str, int],
        variants: tuple[Variant, ...],
        budget_ms: float,
        most_enlarged: float,
    ) -> Conditions:
        """What there is to look with, as refining groups sees it; ``workers`` with their slots."""
        names = tuple(workers)
        pace = self._pace
        if pace is None or (pace.workers, pace.variants) != (names, variants):
            pace = self._pace = _pace(self.costs, names, variants)
        return Conditions(
            self.worth(variants, most_enlarged),
            pace.base_ms,
            pace.pixel_ms,
            pace.send_ms,
            pace.speeds,
            sum(workers.values()),
            budget_ms,
        )

    def observe(self, outcome: FrameOutcome, expected: ObjectDistribution) -> None:
        """Take what the blocks of a frame took, and what was found of what was expected."""
        self.experience.take(expected, outcome.detections, outcome.blocks, outcome.answered)
        sums: dict[str, _Sums] = {}
        for planned, came in zip(outcome.blocks, outcome.outcomes, strict=False):
            worker, request = planned.slot.worker, planned.request
            if worker not in self._profiles or request.variant is None:
                continue
            own = sums.setdefault(worker, _Sums())
            pixels = float(math.prod(request.image_size))
            if came.compute_ms is not None and came.compute_ms > 0:
                area = input_area(request.block.width, request.block.height, request.variant)
                usual = self.costs.compute_ms(worker, request.variant, area)
                if math.isfinite(usual):
                    own.ratios.append(came.compute_ms / usual)
                    own.compute_ms += came.compute_ms
                    own.usual_ms += usual
            if came.sent_bytes:
                own.bytes += came.sent_bytes
                own.byte_pixels += pixels
                if came.transfer_ms is not None and came.transfer_ms > 0:
                    own.transferred += came.sent_bytes
                    own.transfer_ms += came.transfer_ms
            if came.encode_ms is not None and came.encode_ms > 0:
                own.encode_ms += came.encode_ms
                own.encoded_pixels += pixels
        self._take(sums)
        if outcome.overhead_ms is not None and outcome.overhead_ms >= 0:
            self.costs.observe_overhead(outcome.overhead_ms)
        self._renew()

    def _take(self, sums: Mapping[str, _Sums]) -> None:
        """One observation per frame of each level, since single blocks stray."""
        for worker, own in sums.items():
            if own.usual_ms > 0:
                ratio = self.costs.slowness(worker) * own.compute_ms / own.usual_ms
                # Where all blocks of a frame say so the worker has changed, and it is believed now.
                changed = len(own.ratios) > 1 and (
                    min(own.ratios) > CHANGED or max(own.ratios) < 1 / CHANGED
                )
                for _ in range(2 if changed else 1):
                    self.costs.observe_slowness(worker, ratio)
            if own.transfer_ms > 0:
                self.costs.observe_transfer(worker, own.transferred, own.transfer_ms)
        pixels = sum(own.byte_pixels for own in sums.values())
        if pixels:
            self.costs.observe_bytes(sum(own.bytes for own in sums.values()), pixels)
        encoded = sum(own.encoded_pixels for own in sums.values())
        if encoded:
            self.costs.observe_encoding(sum(own.encode_ms for own in sums.values()), encoded)


@dataclass(frozen=True, slots=True, eq=False)
class _Pace:
    """How fast W workers are with V variants; see ``Conditions``."""

    workers: tuple[str, ...]
    variants: tuple[Variant, ...]
    base_ms: Floats
    pixel_ms: Floats
    send_ms: float
    speeds: Floats


def _pace(costs: CostModel, workers: tuple[str, ...], variants: tuple[Variant, ...]) -> _Pace:
    """The line of the fastest worker's times, and how fast the others are beside it."""
    nominal = np.array([[profiled_pixels(variant) for variant in variants]])
    times = costs.compute_times(workers, variants, np.concatenate([nominal, nominal / 2]))
    at_nominal, at_half = times[:, 0], times[:, 1]
    fastest = int(np.where(np.isfinite(at_nominal), at_nominal, 0.0).sum(axis=1).argmin())
    slope = (at_nominal[fastest] - at_half[fastest]) / (nominal[0] / 2)
    base = at_nominal[fastest] - slope * nominal[0]
    both = np.isfinite(at_nominal[fastest]) & np.isfinite(at_nominal)
    ratio = np.divide(at_nominal[fastest], at_nominal, where=both, out=np.zeros(both.shape))
    speeds = ratio.sum(axis=1) / np.maximum(both.sum(axis=1), 1)
    send = costs.encode_ms(1.0) + float(np.mean([costs.sending_ms(name, 1.0) for name in workers]))
    return _Pace(workers, variants, base, slope, send, np.sort(speeds)[::-1])


@dataclass(slots=True)
class _Sums:
    """Over the blocks of one worker in one frame, of what was measured."""

    ratios: list[float] = field(default_factory=list)
    compute_ms: float = 0.0
    usual_ms: float = 0.0
    bytes: int = 0
    byte_pixels: float = 0.0
    transferred: int = 0
    transfer_ms: float = 0.0
    encode_ms: float = 0.0
    encoded_pixels: float = 0.0


def input_area(width: int, height: int, variant: Variant) -> float:
    """Area of the network's input for a block of so many pixels."""
    wide, high = canvas_size((width, height), variant.input_size, STRIDE)
    return float(wide * high)

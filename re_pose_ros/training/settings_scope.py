"""Which settings of co-inference are measured."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from re_pose_ros.coinference.classifier import ClassifierHalves
from re_pose_ros.coinference.halves import Halves
from re_pose_ros.coinference.setting import BITS, DEVICE, Setting
from re_pose_ros.errors import InputError

QUALITIES = (20, 40, 60, 80, 90)
"""Of the JPEG pictures at cut 0."""

FEW, ALL = "few", "all"
"""Names of cuts: where little is sent, and wherever features can be sent."""

_PLAIN_CUTS = 2  # without a bottleneck per exit: those at which least is alive


@dataclass(frozen=True, slots=True)
class Scope:
    """What of a network is measured, beside its JPEG pictures and the robot alone.

    Attributes:
        exits: their names; empty for all.
        cuts: ``FEW``, ``ALL``, or their numbers.
        bits: of the features.
        per_channel: a range of quantisation for each channel; else one for each tensor. None: by
            the bits, as features are sent.

    Raises InputError for bits that features cannot have, or none.
    """

    exits: tuple[str, ...] = ()
    cuts: str | tuple[int, ...] = FEW
    bits: tuple[int, ...] = BITS
    per_channel: bool | None = None

    def __post_init__(self) -> None:
        if not set(self.bits) <= set(BITS) or not self.bits:
            raise InputError(
                f"bits {self.bits} of features have to be of {', '.join(map(str, BITS))}"
            )

    def of(
        self, possible: Mapping[str, Sequence[int]], few: Callable[[str], Sequence[int]]
    ) -> list[Setting]:
        """The settings.

        Args:
            possible: by exit, in the order of depth, the cuts at which features can be sent.
            few: the cuts of an exit that ``FEW`` stands for.

        Raises:
            InputError: an exit or a cut is none of the network's.
        """
        for exit in self.exits:
            if exit not in possible:
                raise InputError(f"exit '{exit}' is none of {', '.join(possible)}")
        exits = [exit for exit in possible if exit in self.exits or not self.exits]
        named = self.cuts if isinstance(self.cuts, tuple) else ()
        known = {cut for exit in exits for cut in possible[exit]}
        for cut in named:
            if cut not in known:
                listed = ", ".join(map(str, sorted(known)))
                raise InputError(f"features cannot be sent at cut {cut}; use of {listed}")
        found = []
        for exit in exits:
            wanted = few(exit) if self.cuts == FEW else named or possible[exit]
            cuts = [cut for cut in possible[exit] if cut in wanted]
            found += settings_of(exit, cuts, self.bits)
        return found


def settings_of(exit: str, cuts: Sequence[int], bits: Sequence[int] = BITS) -> list[Setting]:
    """Of one exit: the picture at all qualities, features at these cuts, and the robot alone."""
    return [
        *(Setting(exit, 0, 0, quality) for quality in QUALITIES),
        *(Setting(exit, cut, b, 0) for cut in cuts for b in sorted(bits)),
        Setting(exit, DEVICE, 0, 0),
    ]


def detector_settings(halves: Halves, scope: Scope) -> list[Setting]:
    """Of a detector; few cuts are those with a bottleneck and two at which least is alive."""
    network, narrow = halves.staged.network, halves.staged.bottlenecks

    def few(exit: str) -> list[int]:
        cuts = halves.cuts[exit]
        plain = [cut for cut in cuts if network.alive(cut, exit) not in narrow]
        plain.sort(key=lambda cut: _alive_values(halves, cut, exit))
        return [cut for cut in cuts if cut in plain[:_PLAIN_CUTS] or cut not in plain]

    return scope.of(halves.cuts, few)


def classifier_settings(halves: ClassifierHalves, scope: Scope) -> list[Setting]:
    """Of AlexNet; few cuts are those with less alive than at any cut before them."""

    def few(exit: str) -> list[int]:
        found, least = [], float("inf")
        for cut in halves.cuts[exit]:
            shapes = halves.staged.shapes(cut, exit).values()
            alive = sum(float(np.prod(shape)) for shape in shapes)
            if alive < least:
                found.append(cut)
                least = alive
        return found

    return scope.of(halves.cuts, few)


def _alive_values(halves: Halves, cut: int, exit: str) -> float:
    """How many numbers are alive across a cut, per pixel of the input."""
    maps = [halves.staged.maps[stage] for stage in halves.staged.network.alive(cut, exit)]
    return sum(channels / stride**2 for channels, stride in maps)

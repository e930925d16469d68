"""What moves: actors that follow paths, and the endless streams that bring them forth.

Everything is a function of (seed, time), so any frame can be had without those before it.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

CLASSES: tuple[str, ...] = ("person", "cyclist", "car", "van", "truck", "drone")
"""Class names; ``class_id`` counts in this order."""
PERSON, CYCLIST, CAR, VAN, TRUCK, DRONE = range(6)
_MEMBERS = 8
_EARLIEST = 4096


@dataclass(frozen=True, slots=True, eq=False)
class Path:
    """A line that is followed at constant speed.

    Attributes:
        points: N of x, z and height above the ground in metres.
        lengths: N lengths in metres up to each point.
    """

    points: list[tuple[float, float, float]]
    lengths: list[float]

    @property
    def length(self) -> float:
        return self.lengths[-1]

    def at(self, s: float) -> tuple[float, float, float]:
        """The point (x, z, height) after ``s`` metres; the ends go on for ever."""
        if len(self.points) == 1:
            return self.points[0]
        k = min(max(bisect_right(self.lengths, s), 1), len(self.points) - 1)
        (x1, z1, up1), (x2, z2, up2) = self.points[k - 1], self.points[k]
        start, end = self.lengths[k - 1], self.lengths[k]
        t = (s - start) / max(end - start, 1e-9)
        return x1 + t * (x2 - x1), z1 + t * (z2 - z1), up1 + t * (up2 - up1)


def smooth_path(corners: Sequence[Sequence[float]]) -> Path:
    """A path through corners (x, z) or (x, z, height), rounded off between them (Chaikin)."""
    points = np.array([[*c, 0.0][:3] for c in corners], np.float64)
    for _ in range(4 if len(points) > 2 else 0):
        near, far = points[:-1] * 0.75 + points[1:] * 0.25, points[:-1] * 0.25 + points[1:] * 0.75
        inner = np.stack([near, far], axis=1).reshape(-1, 3)[1:-1]
        points = np.concatenate([points[:1], inner, points[-1:]])
    steps = np.linalg.norm(np.diff(points[:, :2], axis=0), axis=1)
    rows = [(float(x), float(z), float(up)) for x, z, up in points]
    return Path(rows, [0.0, *np.cumsum(steps).tolist()])


@dataclass(frozen=True, slots=True, eq=False)
class Actor:
    """One track.

    Attributes:
        class_id: index into ``CLASSES``.
        seed: of its looks.
        path: where it goes; one point for what stays.
        speed: metres per second along the path.
        born: seconds on its stream's clock when it is at the path's start.
        aside: metres to the left of the path.
        behind: metres behind the path's point.
        yaw: heading in radians of what stays, 0 to the right, then away from the camera.
        worker: a person in work clothes.
    """

    class_id: int
    seed: int
    path: Path
    speed: float = 0.0
    born: float = -math.inf
    aside: float = 0.0
    behind: float = 0.0
    yaw: float = 0.0
    worker: bool = False


@dataclass(frozen=True, slots=True)
class Pose:
    """Where an actor is: x, z, height in metres, yaw in radians and metres gone."""

    actor: Actor
    track_id: int
    x: float
    z: float
    up: float
    yaw: float
    gone: float


def pose_of(actor: Actor, track_id: int, clock: float) -> Pose | None:
    """The actor's pose at its stream's clock in seconds; None before and after its path."""
    if not actor.speed:
        x, z, up = actor.path.points[0]
        return Pose(actor, track_id, float(x), float(z), float(up), actor.yaw, 0.0)
    s = actor.speed * (clock - actor.born) - actor.behind
    if not 0 <= s <= actor.path.length:
        return None
    x, z, up = actor.path.at(s)
    reach = 0.6 if actor.class_id in (PERSON, CYCLIST) else 1.6
    before, after = actor.path.at(s - reach), actor.path.at(s + reach)
    yaw = math.atan2(after[1] - before[1], after[0] - before[0])
    x, z = x - math.sin(yaw) * actor.aside, z + math.cos(yaw) * actor.aside
    return Pose(actor, track_id, float(x), float(z), float(up), yaw, float(s))


def steady(time_s: float) -> float:
    return time_s


@dataclass(frozen=True, slots=True, eq=False)
class Stream:
    """An endless sequence of groups of at most eight actors.

    Attributes:
        make: the group number n, born around ``n * headway``; n may be negative.
        headway: seconds between groups.
        longest: seconds that no group outlives.
        clock: a monotone clock that may stop, as traffic does at a light.
    """

    make: Callable[[int], list[Actor]]
    headway: float
    longest: float
    clock: Callable[[float], float] = steady


@dataclass(frozen=True, slots=True, eq=False)
class World:
    """All actors of a scene."""

    resting: list[Actor]
    streams: list[Stream]
    _groups: dict[tuple[int, int], list[Actor]] = field(default_factory=dict)

    def poses(self, time_s: float) -> list[Pose]:
        """Who is there at a time in seconds, far ones first."""
        there = [pose_of(actor, i, time_s) for i, actor in enumerate(self.resting)]
        if len(self._groups) > 4096:
            self._groups.clear()
        for k, stream in enumerate(self.streams):
            clock = stream.clock(time_s)
            first = math.floor((clock - stream.longest) / stream.headway) - 1
            for n in range(first, math.floor(clock / stream.headway) + 2):
                for member, actor in enumerate(self._group(k, n)):
                    number = ((n + _EARLIEST) * len(self.streams) + k) * _MEMBERS + member
                    there.append(pose_of(actor, len(self.resting) + number, clock))
        return sorted(
            (pose for pose in there if pose is not None), key=lambda p: (-p.z, p.track_id)
        )

    def _group(self, k: int, n: int) -> list[Actor]:
        key = (k, n)
        if key not in self._groups:
            self._groups[key] = self.streams[k].make(n)[:_MEMBERS]
        return self._groups[key]


def traffic_light(period: float, red: float, offset: float) -> Callable[[float], float]:
    """A clock that stands for about ``red`` of each ``period`` seconds, with soft stops."""
    grid = np.linspace(0.0, 1.0, 257)
    ramp = 3.0 / period
    share = red / period
    rate = np.clip(np.maximum((share - grid) / -ramp, 0), 0, 1) * np.clip((1 - grid) / ramp, 0, 1)
    gone = np.concatenate([[0.0], np.cumsum((rate[1:] + rate[:-1]) / 2)])
    gone *= 1.0 / gone[-1]

    def clock(time_s: float) -> float:
        turns, part = divmod((time_s + offset) / period, 1.0)
        return float((turns + np.interp(part, grid, gone)) * (period - red) - offset)

    return clock

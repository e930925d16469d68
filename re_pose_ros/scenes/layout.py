"""What a kind of scene is made of: the value types and the builders that kinds share."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from re_pose_ros.scenes.camera import Camera
from re_pose_ros.scenes.props import REACH_M
from re_pose_ros.scenes.shapes import Colour
from re_pose_ros.scenes.world import (
    CAR,
    CYCLIST,
    DRONE,
    PERSON,
    TRUCK,
    VAN,
    Actor,
    Path,
    Stream,
    smooth_path,
    steady,
)

Point = tuple[float, float]
Rng = np.random.Generator
MATERIALS = ("plain", "slabs", "grass", "asphalt", "cobbles")
SPEEDS_MS = {PERSON: 1.35, CYCLIST: 4.5, CAR: 8.0, VAN: 7.5, TRUCK: 6.5, DRONE: 4.0}


@dataclass(frozen=True, slots=True)
class Patch:
    """A convex polygon on the ground, (x, z) in metres, of one material."""

    corners: Sequence[Point]
    colour: Colour
    material: str = "plain"


@dataclass(frozen=True, slots=True)
class Facade:
    """A house front from one ground point to another, left to right as seen."""

    left: Point
    right: Point
    height: float
    seed: int
    hall: bool = False


@dataclass(frozen=True, slots=True)
class Prop:
    """A thing that stands still."""

    name: str
    x: float
    z: float
    yaw: float
    seed: int


@dataclass(eq=False)
class Layout:
    """One scene's ground, houses, props and actors; builders add to the lists."""

    camera: Camera
    seed: int
    patches: list[Patch] = field(default_factory=list)
    facades: list[Facade] = field(default_factory=list)
    props: list[Prop] = field(default_factory=list)
    resting: list[Actor] = field(default_factory=list)
    streams: list[Stream] = field(default_factory=list)
    _reaches: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0), repr=False)
    _places: NDArray[np.float64] = field(default_factory=lambda: np.zeros((0, 2)), repr=False)

    def rng(self, *key: int) -> Rng:
        """A generator of its own for everything that is drawn by chance."""
        return np.random.default_rng([self.seed, *(k & 0xFFFFFFFF for k in key)])

    def put(self, rng: Rng, name: str, x: float, z: float, yaw: float | None = None) -> None:
        """Add a prop, turned at random where no yaw in radians is given."""
        turn = float(rng.uniform(0, 2 * math.pi)) if yaw is None else yaw
        self.props.append(Prop(name, float(x), float(z), turn, int(rng.integers(1 << 30))))

    def strip(self, x: Point, z: Point, colour: Colour, material: str = "plain") -> None:
        """Add a rectangle of ground along the axes."""
        corners = [(x[0], z[0]), (x[1], z[0]), (x[1], z[1]), (x[0], z[1])]
        self.patches.append(Patch(corners, colour, material))

    def free(self, x: float, z: float, margin: float = 0.0) -> bool:
        """True where nothing stands within reach."""
        return self._all_free([(x, z)], margin)

    def _all_free(self, places: Sequence[Point], margin: float) -> bool:
        if len(self._reaches) != len(self.props):
            self._reaches = np.array([REACH_M.get(p.name, 0.7) for p in self.props])
            self._places = np.array([(p.x, p.z) for p in self.props]).reshape(-1, 2)
        off = np.abs(np.array(places)[:, None] - self._places).max(axis=2)
        return all(
            math.hypot(places[i][0] - self.props[k].x, places[i][1] - self.props[k].z)
            > self._reaches[k] + margin
            for i, k in np.argwhere(off <= self._reaches + margin).tolist()
        )

    def edge(self, rng: Rng, near: float, far: float) -> Point:
        """A point just outside the picture, left or right, at a depth in between."""
        z = float(rng.uniform(near, far))
        x = self.camera.half_width(z) + 2.0
        return (x if rng.random() < 0.5 else -x), z

    def within(self, rng: Rng, near: float, far: float, width: float = 1e9) -> Point:
        """A point on the ground in the picture, nothing near it if possible."""
        for _ in range(12):
            z = float(rng.uniform(near, far))
            half = min(width, 0.92 * self.camera.half_width(z))
            x = float(rng.uniform(-half, half))
            if self.free(x, z, 0.3):
                break
        return x, z

    def clear_path(self, rng: Rng, corners: Callable[[Rng], list[Point]]) -> Path:
        """The first of a few drawn paths that hits nothing, or the last."""
        for _ in range(8):
            path = smooth_path(corners(rng))
            steps = np.linspace(0, path.length, 40)
            if self._all_free([path.at(float(s))[:2] for s in steps], 0.0):
                break
        return path

    def people(
        self,
        count: float,
        seconds: float,
        corners: Callable[[Rng], list[Point]],
        *,
        class_id: int = PERSON,
        groups: Sequence[float] = (0.6, 0.25, 0.1, 0.05),
        worker: bool = False,
    ) -> None:
        """Walkers or cyclists: about ``count`` at a time, each there for about ``seconds``.

        ``groups`` are the odds of one, two, ... going together.
        """
        if count <= 0:
            return
        number = len(self.streams)
        odds = np.array(groups) / sum(groups)
        mean = float(odds @ np.arange(1, len(odds) + 1))
        headway = seconds * mean / count
        speed = SPEEDS_MS[class_id]

        def make(n: int) -> list[Actor]:
            rng = self.rng(1, number, n)
            path = self.clear_path(rng, corners)
            pace = speed * float(rng.uniform(0.8, 1.2))
            born = (n + float(rng.uniform(-0.45, 0.45))) * headway
            size = 1 + int(rng.choice(len(odds), p=odds))
            gap = 0.75 if class_id == PERSON else 1.3
            return [
                Actor(
                    class_id, int(rng.integers(1 << 30)), path, pace, born,
                    aside=gap * (k % 3 - (min(size, 3) - 1) / 2) + float(rng.uniform(-0.12, 0.12)),
                    behind=(k // 3) * 1.1 + float(rng.uniform(0, 0.5)), worker=worker,
                )
                for k in range(size)
            ]  # fmt: skip

        self.streams.append(Stream(make, headway, 4.0 * seconds + 60))

    def lane(
        self,
        corners: Sequence[Point],
        spacing: float,
        mix: dict[int, float],
        *,
        speed: float = 8.0,
        clock: Callable[[float], float] = steady,
    ) -> None:
        """Vehicles in a row on a fixed line, ``spacing`` metres apart on average, in platoons.

        ``mix`` gives the odds of each class; all keep the lane's speed in metres per second.
        """
        if not math.isfinite(spacing):
            return
        number = len(self.streams)
        path = smooth_path(corners)
        kinds, odds = list(mix), np.array(list(mix.values()))
        headway = 4 * spacing / speed
        close = min(10.5, 0.8 * spacing)

        def make(n: int) -> list[Actor]:
            rng = self.rng(2, number, n)
            actors = []
            room = max(0.0, headway - 4 * close / speed)
            born = n * headway + float(rng.uniform(0, 1)) * room
            for k in range(4):
                if rng.random() < 0.12:
                    continue
                class_id = kinds[int(rng.choice(len(kinds), p=odds / odds.sum()))]
                seed = int(rng.integers(1 << 30))
                actors.append(Actor(class_id, seed, path, speed, born + k * close / speed))
            return actors

        self.streams.append(Stream(make, headway, path.length / speed + headway, clock))

    def drones(self, count: float, near: float, far: float, width: float = 1e9) -> None:
        """Drones that cross the picture, or ``width`` metres from its middle, high and low."""
        if count <= 0:
            return
        number = len(self.streams)
        seconds = 1.6 * min(width, self.camera.half_width((near + far) / 2)) / 4.0

        def make(n: int) -> list[Actor]:
            rng = self.rng(3, number, n)
            z1, z2, z3 = rng.uniform(near, far, 3)
            side = 1.0 if rng.random() < 0.5 else -1.0
            ends = [-side * min(width, self.camera.half_width(z) + 2) for z in (z1, z3)]
            middle = float(rng.uniform(-0.5, 0.5)) * min(width, self.camera.half_width(z2))
            ups = rng.uniform(2.5, min(14.0, 0.85 * self.camera.mast), 3)
            path = smooth_path(
                [(ends[0], z1, ups[0]), (middle, z2, ups[1]), (-ends[1], z3, ups[2])]
            )
            born = (n + float(rng.uniform(-0.4, 0.4))) * headway
            seed = int(rng.integers(1 << 30))
            return [Actor(DRONE, seed, path, float(rng.uniform(3, 6)), born)]

        headway = seconds / count
        self.streams.append(Stream(make, headway, 3 * seconds + 30))

    def standing(self, rng: Rng, place: Point, worker: bool = False) -> None:
        """A few people who stand together at ``place`` and talk."""
        x, z = place
        size = int(rng.integers(1, 5))
        for k in range(size):
            angle = 2 * math.pi * k / size + float(rng.uniform(-0.3, 0.3))
            ring = 0.0 if size == 1 else 0.45 + 0.12 * size
            at = smooth_path([(x + ring * math.cos(angle), z + ring * math.sin(angle))])
            seed = int(rng.integers(1 << 30))
            self.resting.append(Actor(PERSON, seed, at, yaw=angle + math.pi, worker=worker))

    def park(self, rng: Rng, class_id: int, x: float, z: float, yaw: float) -> None:
        """A vehicle that stays."""
        turn = yaw + float(rng.normal(0, 0.02))
        at = smooth_path([(x + float(rng.normal(0, 0.1)), z + float(rng.normal(0, 0.1)))])
        self.resting.append(Actor(class_id, int(rng.integers(1 << 30)), at, yaw=turn))

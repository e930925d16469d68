"""The sprites of actors, drawn on demand and kept while memory allows."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable
from functools import lru_cache
from typing import Generic, TypeVar

import numpy as np

from re_pose_ros.scenes.people import Person, cyclist, person, random_person
from re_pose_ros.scenes.shapes import (
    Drawing,
    Shape,
    Sprite,
    View,
    draw,
    draw_shadow,
    sprite_of,
)
from re_pose_ros.scenes.vehicles import PAINTS, car, drone, truck, van
from re_pose_ros.scenes.world import CAR, CYCLIST, DRONE, PERSON, TRUCK, VAN, Actor, Pose

_PHASES = {PERSON: 10, CYCLIST: 8, DRONE: 4}
_CYCLE_M = {PERSON: 1.45, CYCLIST: 4.0, DRONE: 0.7}
_YAW_STEP = {PERSON: math.pi / 8, CYCLIST: math.pi / 12, DRONE: math.pi / 4}
_SMALL_BYTES = 100_000
_LEVEL = 1.5
_SHADOW_SCALE, _FINEST = _LEVEL**9, _LEVEL**11
Item = TypeVar("Item", Drawing, Sprite)
Key = tuple[int | float | View, ...]


@lru_cache(4096)
def _person(seed: int, worker: bool) -> Person:
    return random_person(np.random.default_rng(seed), worker)


def model(actor: Actor, phase: float) -> list[Shape]:
    """The shapes of an actor at a phase in [0, 1) of its gait."""
    if actor.class_id == PERSON:
        return person(_person(actor.seed, actor.worker), phase, 1.0 if actor.speed else 0.12)
    rng = np.random.default_rng(actor.seed)
    if actor.class_id == CYCLIST:
        b, g, r = PAINTS[int(rng.integers(len(PAINTS)))]
        return cyclist(_person(actor.seed, actor.worker), (b, g, r), phase)
    if actor.class_id == DRONE:
        return drone(rng, phase)
    makers: dict[int, Callable[[np.random.Generator], list[Shape]]]
    makers = {CAR: car, VAN: van, TRUCK: truck}
    return makers[actor.class_id](rng)


def _step(value: float, step: float) -> float:
    return round(value / step) * step


def _seen(pose: Pose, view: View) -> tuple[float, float, View, float]:
    """Phase, yaw, view and scale, rounded so that neighbouring frames share a drawing.

    The view's scale is that of the drawing; the wanted one, mostly smaller, comes last.
    """
    kind = pose.actor.class_id
    live = kind in _PHASES
    count = _PHASES.get(kind, 1)
    if view.scale < 14 and kind != DRONE:
        count = (count + 1) // 2
    phase = math.floor(pose.gone / _CYCLE_M.get(kind, 1.0) * count) % count / count
    yaw = _step(pose.yaw % (2 * math.pi), _YAW_STEP.get(kind, math.pi / 45))
    # Steps of half a pixel or less of what is far, and of few pixels of what is near.
    ratio = 1.02 if live or view.scale < 25 else 1.015
    scale = ratio ** round(math.log(view.scale, ratio))
    # A moving rigid body turns under the view a little every frame; a parked one never does.
    slight = 0.3 if live else 0.12
    drawn = min(_LEVEL ** math.ceil(math.log(scale, _LEVEL) - 1e-9), _FINEST)
    return phase, yaw, View(drawn, _step(view.slant, slight), _step(view.tilt, slight / 3)), scale


class _Store(Generic[Item]):
    """What was made, up to a number of bytes; the least recently used goes first."""

    def __init__(self, limit: int) -> None:
        self._kept: OrderedDict[Key, Item] = OrderedDict()
        self._limit, self._bytes = limit, 0

    def get(self, key: Key) -> Item | None:
        item = self._kept.get(key)
        if item is not None:
            self._kept.move_to_end(key)
        return item

    def keep(self, key: Key, item: Item) -> None:
        self._kept[key] = item
        self._bytes += item.nbytes
        while self._bytes > self._limit and len(self._kept) > 1:
            self._bytes -= self._kept.popitem(last=False)[1].nbytes


class Looks:
    """Sprites and shadows by demand; large ones, seldom wanted twice, do not oust small ones."""

    def __init__(self, sun: tuple[float, float, float], shade: float) -> None:
        self._sun = sun
        self._shade = shade
        self._drawings: _Store[Drawing] = _Store(256 << 20)
        self._small: _Store[Sprite] = _Store(96 << 20)
        self._large: _Store[Sprite] = _Store(64 << 20)

    def sprite(self, pose: Pose, view: View) -> Sprite:
        """The actor as seen; ``view`` is of its place."""
        phase, yaw, view, scale = _seen(pose, view)
        return self._get(False, pose.actor, phase, yaw, view, scale)

    def shadow(self, pose: Pose, view: View) -> Sprite:
        """Its shadow as seen; ``view`` is of the ground below it."""
        # Shadows are soft and tell little of the gait: coarser steps and drawings serve.
        slant, tilt = _step(view.slant, 0.3), _step(view.tilt, 0.08)
        phase, yaw, view, scale = _seen(pose, View(view.scale, slant, tilt))
        phase = math.floor(phase * 5) / 5 if pose.actor.class_id == PERSON else 0.0
        scale = 1.05 ** round(math.log(scale, 1.05))
        drawn = min(_LEVEL ** math.ceil(math.log(scale, _LEVEL) - 1e-9), _SHADOW_SCALE)
        view = View(drawn, slant, tilt)
        return self._get(True, pose.actor, phase, yaw, view, scale)

    def _get(
        self, shadow: bool, actor: Actor, phase: float, yaw: float, view: View, scale: float
    ) -> Sprite:
        base: Key = (shadow, actor.seed, actor.class_id, phase, yaw, view)
        key: Key = (*base, scale)
        sprite = self._small.get(key) or self._large.get(key)
        if sprite is not None:
            return sprite
        drawing = self._drawings.get(base)
        if drawing is None:
            shapes = model(actor, phase)
            if shadow:
                drawing = draw_shadow(shapes, yaw, view, self._sun, self._shade)
            else:
                drawing = draw(shapes, yaw, view, self._sun)
            self._drawings.keep(base, drawing)
        sprite = sprite_of(drawing, scale / view.scale)
        (self._small if sprite.nbytes < _SMALL_BYTES else self._large).keep(key, sprite)
        return sprite

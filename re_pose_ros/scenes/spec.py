"""Scenes as the user names them: ``scene:plaza?seed=1&size=3840x2160``."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from urllib.parse import parse_qsl

from re_pose_ros.errors import InputError
from re_pose_ros.scenes.kinds import KINDS

_RANGES: dict[str, tuple[float, float]] = {
    "objects": (0.0, 3.0),
    "fps": (1.0, 240.0),
    "pan": (0.0, 20.0),
    "light": (0.0, 1.0),
    "noise": (0.0, 1.0),
}
_WHOLE = {"seed": (0, 2**31 - 1), "frames": (1, 10**7)}
_SIZES = ((64, 36), (7680, 4320))
_KEYS = ("seed", "size", *_RANGES, "frames")


@dataclass(frozen=True, slots=True)
class SceneSpec:
    """All that determines a scene.

    Attributes:
        kind: plaza, street or yard.
        seed: everything drawn by chance follows from it.
        size: (width, height) in pixels, up to 7680x4320.
        objects: factor of the usual number of objects, 0 to 3.
        fps: frames per second of the scene's time.
        pan: the panning camera's fastest turn in degrees per second; 0 stands still.
        frames: how many a source plays; a scene itself has no end.
        light: how much the light changes, 0 to 1.
        noise: of the sensor, 0 to 1.
    """

    kind: str
    seed: int = 0
    size: tuple[int, int] = (3840, 2160)
    objects: float = 1.0
    fps: float = 25.0
    pan: float = 0.0
    frames: int = 250
    light: float = 0.5
    noise: float = 0.3

    def __post_init__(self) -> None:
        """Raises InputError for a value out of range."""
        if self.kind not in KINDS:
            raise InputError(f"scene '{self.kind}' is not known; known: {', '.join(KINDS)}")
        (w1, h1), (w2, h2) = _SIZES
        width, height = self.size
        if not (w1 <= width <= w2 and h1 <= height <= h2):
            raise InputError(f"scene size={width}x{height} must lie in {w1}x{h1} to {w2}x{h2}")
        for name, (low, high) in (*_RANGES.items(), *_WHOLE.items()):
            value = getattr(self, name)
            if not (math.isfinite(value) and low <= value <= high):
                raise InputError(f"scene {name}={value:g} must lie in {low:g} to {high:g}")


def parse_spec(spec: str) -> SceneSpec:
    """``scene:<kind>?key=value&...`` as a SceneSpec.

    Raises:
        InputError: unknown kind or key, or a value that is none or out of range.
    """
    head, _, query = spec.partition("?")
    prefix, _, kind = head.partition(":")
    if prefix != "scene":
        raise InputError(f"'{spec}' is no scene; expected scene:<{'|'.join(KINDS)}>?key=value&...")
    values: dict[str, str] = {}
    for name, text in parse_qsl(query, keep_blank_values=True):
        if name not in _KEYS:
            raise InputError(f"scene option '{name}' is not known; known: {', '.join(_KEYS)}")
        if name in values:
            raise InputError(f"scene option '{name}' is given twice")
        values[name] = text
    if query and not values:
        raise InputError(f"scene options '{query}' are not key=value; known: {', '.join(_KEYS)}")
    return SceneSpec(kind, **{name: _value(name, text) for name, text in values.items()})  # type: ignore[arg-type]


def _value(name: str, text: str) -> int | float | tuple[int, int]:
    if name == "size":
        match = re.fullmatch(r"([0-9]{1,5})x([0-9]{1,5})", text)
        if match is None:
            raise InputError(f"scene size={text} must be <width>x<height>, as 3840x2160")
        return int(match[1]), int(match[2])
    if name in _WHOLE:
        if not re.fullmatch(r"[0-9]{1,10}", text):
            raise InputError(f"scene {name}={text} must be a whole number")
        return int(text)
    if not re.fullmatch(r"[0-9]{1,6}(\.[0-9]{1,6})?", text):
        low, high = _RANGES[name]
        raise InputError(f"scene {name}={text} must be a number in {low:g} to {high:g}")
    return float(text)

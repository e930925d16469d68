"""Objects as a few solid shapes, and their drawing into sprites.

A model's axes are forward, left and up, in metres, with the origin on the ground below its centre.
Within the extent of one object the camera is affine, ``View``, so one drawing serves wherever the
object is seen at about that size and angle.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from re_pose_ros.scenes.camera import FloatArray

Colour = tuple[float, float, float]
Vector = Sequence[float] | FloatArray
_SHIFT = 4
_FAINT = 40  # Alpha up to this is cut off, so that boxes end where something can be seen.


@dataclass(frozen=True, slots=True, eq=False)
class Shape:
    """One solid.

    Attributes:
        points: (N, 3): a face's corners, counter-clockwise seen from outside; the two ends of a
            capsule; a ring's points.
        colour: blue, green, red in 0 to 255.
        radii: of a capsule's ends, or a ring's half thickness twice, in metres; None for a face.
        ring: the points are a closed line.
        anchor: the point whose distance orders the drawing; shapes of one part share it and
            are drawn in the order given.
        both_sides: a face that is seen from behind, too.
    """

    points: FloatArray
    colour: Colour
    radii: tuple[float, float] | None = None
    ring: bool = False
    anchor: tuple[float, float, float] | None = None
    both_sides: bool = False


@dataclass(frozen=True, slots=True)
class View:
    """How a place is seen: ``u = scale (x - slant y)``, ``v = -scale (up + tilt y)``.

    Attributes:
        scale: pixels per metre.
        slant: x / z of the place.
        tilt: height of the camera above the place over z.
    """

    scale: float
    slant: float
    tilt: float


@dataclass(frozen=True, slots=True, eq=False)
class Drawing:
    """A premultiplied BGRA picture, or a shadow's depth alone, with its corner from the foot."""

    canvas: NDArray[np.uint8]
    corner: tuple[float, float]

    @property
    def nbytes(self) -> int:
        return self.canvas.nbytes


@dataclass(frozen=True, slots=True, eq=False)
class Sprite:
    """A drawn object, premultiplied.

    Attributes:
        bgr: (h, w, 3) uint8 colour times coverage.
        keep: (h, w, 3) uint8, 255 - coverage.
        solid: (h, w) uint8, 255 where coverage is at least a half.
        offset: column and row of the sprite's corner from the object's foot point.
        area: solid pixels, at least 1.
    """

    bgr: NDArray[np.uint8]
    keep: NDArray[np.uint8]
    solid: NDArray[np.uint8]
    offset: tuple[int, int]
    area: int

    @property
    def nbytes(self) -> int:
        return self.bgr.nbytes + self.keep.nbytes + self.solid.nbytes


def face(points: Sequence[Sequence[float]], colour: Colour, **more: object) -> Shape:
    return Shape(np.array(points, np.float64), colour, **more)  # type: ignore[arg-type]


def capsule(start: Vector, end: Vector, radius: float, colour: Colour, taper: float = 1.0) -> Shape:
    """A round bar whose radius is ``radius * taper`` at the end."""
    return Shape(np.array([start, end], np.float64), colour, (radius, radius * taper))


def ball(centre: Vector, radius: float, colour: Colour) -> Shape:
    return capsule(centre, centre, radius, colour)


def disc_points(centre: Vector, radius: float, axis: str = "left", count: int = 18) -> FloatArray:
    """A circle's points (count, 3), counter-clockwise seen from the axis' positive end."""
    angle = np.linspace(0, 2 * math.pi, count, endpoint=False)
    points = np.tile(np.asarray(centre, np.float64), (count, 1))
    if axis == "left":
        points[:, 2] += radius * np.cos(angle)
        points[:, 0] += radius * np.sin(angle)
    else:
        points[:, 0] += radius * np.cos(angle)
        points[:, 1] += radius * np.sin(angle)
    return points


def prism(
    profile: Sequence[tuple[float, float]],
    half_width: float,
    colour: Colour,
    anchor: tuple[float, float, float] = (0.0, 0.0, 0.0),
    inset: Sequence[float] | None = None,
) -> list[Shape]:
    """A convex outline of (forward, up), counter-clockwise seen from the right, made wide.

    ``inset`` narrows each half width point by point.
    """
    flat = np.array(profile, np.float64)
    wide = half_width - np.array(inset if inset is not None else [0.0] * len(flat))
    right = np.stack([flat[:, 0], -wide, flat[:, 1]], axis=1)
    left = np.stack([flat[:, 0], wide, flat[:, 1]], axis=1)
    shapes = [Shape(right, colour, anchor=anchor), Shape(left[::-1], colour, anchor=anchor)]
    for i in range(len(flat)):
        j = (i + 1) % len(flat)
        shapes.append(
            Shape(np.array([right[j], right[i], left[i], left[j]]), colour, anchor=anchor)
        )
    return shapes


def box(
    centre: Vector,
    size: Sequence[float],
    colour: Colour,
    anchor: tuple[float, float, float] | None = None,
) -> list[Shape]:
    """A cuboid of (length, width, height) around a centre."""
    a, b, c = centre
    la, lc = size[0] / 2, size[2] / 2
    profile = [(a - la, c - lc), (a + la, c - lc), (a + la, c + lc), (a - la, c + lc)]
    at = anchor if anchor is not None else (a, b, c)
    return [
        Shape(shape.points + np.array([0.0, b, 0.0]), colour, anchor=at)
        for shape in prism(profile, size[1] / 2, colour)
    ]


def _turned(shapes: Sequence[Shape], yaw: float) -> tuple[FloatArray, FloatArray, list[int]]:
    """All points and anchors turned by ``yaw`` (0 is to the right, then away), where each ends."""
    cos, sin = math.cos(yaw), math.sin(yaw)
    turn = np.array([[cos, sin, 0], [-sin, cos, 0], [0, 0, 1.0]])
    ends = np.cumsum([len(shape.points) for shape in shapes])
    points = np.concatenate([shape.points for shape in shapes])
    counts = np.diff(ends, prepend=0)
    anchors = np.add.reduceat(points, ends - counts) / counts[:, None]
    for i, shape in enumerate(shapes):
        if shape.anchor is not None:
            anchors[i] = shape.anchor
    return points @ turn, anchors @ turn, [0, *ends.tolist()]


def draw(
    shapes: Sequence[Shape], yaw: float, view: View, sun: tuple[float, float, float]
) -> Drawing:
    """A model's picture; ``sun`` is the unit vector to the sun (right, away, up)."""
    points, anchors, ends = _turned(shapes, yaw)
    sight = np.array([view.slant, 1.0, -view.tilt])
    flat = _flatten(points, view)
    over = 4 if view.scale < 60 else (2 if view.scale < 90 else 1)
    # Large ones have edges smoothed one by one; that leaves faint seams, too fine on small ones.
    edges = cv2.LINE_AA if over == 1 else cv2.LINE_8
    canvas, corner = _canvas(_extent(shapes, flat, ends, view.scale), over, 4)
    pixels = (flat - corner) * over - 0.5
    fixed = np.rint(pixels * (1 << _SHIFT)).astype(np.int32)
    glow = np.array([sun[0] - view.slant * sun[1], -(sun[2] + view.tilt * sun[1])])
    glow /= np.hypot(*glow) + 1e-9
    for i in np.argsort(-(anchors @ sight), kind="stable").tolist():
        shape, part = shapes[i], slice(ends[i], ends[i + 1])
        if shape.radii is None:
            _draw_face(canvas, shape, points[part], fixed[part], sight, sun, edges)
        elif shape.ring:
            thick = max(1, round(2 * shape.radii[0] * view.scale * over))
            colour = _lit(shape.colour, 0.95)
            cv2.polylines(canvas, [fixed[part]], True, colour, thick, edges, _SHIFT)
        else:
            _draw_round(canvas, shape, pixels[part], view.scale * over, glow, edges)
    size = (canvas.shape[1] // over, canvas.shape[0] // over)
    small = cv2.resize(canvas, size, interpolation=cv2.INTER_AREA)
    return Drawing(np.asarray(small, np.uint8), (float(corner[0]), float(corner[1])))


def draw_shadow(
    shapes: Sequence[Shape],
    yaw: float,
    view: View,
    sun: tuple[float, float, float],
    strength: float,
) -> Drawing:
    """A model's shadow on the ground; ``view.tilt`` must be that of the ground."""
    points, _, ends = _turned(shapes, yaw)
    fall = np.array([sun[0] / sun[2], sun[1] / sun[2], 1.0])
    flat = _flatten(points - points[:, 2:] * fall, view)
    blur = max(0.6, 0.035 * view.scale)
    margin = 3 * blur
    spans = _extent(shapes, flat, ends, view.scale) + np.array([[-margin] * 2, [margin] * 2])
    over = 2
    mask, corner = _canvas(spans, over, 1)
    fixed = np.rint(((flat - corner) * over - 0.5) * (1 << _SHIFT)).astype(np.int32)
    # Rays meet the ground at a slant, so round bars are flattened by the tilt.
    flatter = view.scale * over * (0.5 + 0.5 * min(1.0, view.tilt * 2))
    for i, shape in enumerate(shapes):
        part = [fixed[ends[i] : ends[i + 1]]]
        if shape.radii is None:
            cv2.fillPoly(mask, part, 255, cv2.LINE_8, _SHIFT)
        else:
            thick = max(1, round(2 * max(shape.radii) * flatter))
            cv2.polylines(mask, part, shape.ring, 255, thick, cv2.LINE_8, _SHIFT)
    size = (mask.shape[1] // over, mask.shape[0] // over)
    soft = cv2.GaussianBlur(cv2.resize(mask, size, interpolation=cv2.INTER_AREA), (0, 0), blur)
    dark = np.asarray(cv2.convertScaleAbs(soft, alpha=strength), np.uint8)
    return Drawing(dark, (float(corner[0]), float(corner[1])))


def sprite_of(drawing: Drawing, factor: float = 1.0) -> Sprite:
    """A drawing, its size times ``factor``, ready to be pasted."""
    canvas = drawing.canvas
    if factor != 1.0:
        width, height = (max(1, round(n * factor)) for n in (canvas.shape[1], canvas.shape[0]))
        # Averaging is dear and shows only where details are as small as pixels.
        large = factor > 1.0 or (factor > 0.6 and height > 100)
        way = cv2.INTER_LINEAR if large else cv2.INTER_AREA
        canvas = np.asarray(cv2.resize(canvas, (width, height), interpolation=way), np.uint8)
    corner = (round(drawing.corner[0] * factor), round(drawing.corner[1] * factor))
    if canvas.ndim == 2:
        return Sprite(np.zeros((0, 0, 3), np.uint8), _keep(canvas), canvas, corner, 1)
    return _trimmed(canvas, corner)


def _flatten(points: FloatArray, view: View) -> FloatArray:
    flat: FloatArray = points[:, :2] * view.scale
    flat[:, 0] -= view.scale * view.slant * points[:, 1]
    flat[:, 1] = -view.scale * (points[:, 2] + view.tilt * points[:, 1])
    return flat


def _extent(shapes: Sequence[Shape], flat: FloatArray, ends: list[int], scale: float) -> FloatArray:
    radii = [scale * max(shape.radii) if shape.radii else 0.0 for shape in shapes]
    wide = np.repeat(radii, np.diff(ends))[:, None]
    return np.stack([(flat - wide).min(axis=0), (flat + wide).max(axis=0)])


def _canvas(spans: FloatArray, over: int, channels: int) -> tuple[NDArray[np.uint8], FloatArray]:
    corner = np.floor(spans[0]) - 1
    width, height = (np.ceil(spans[1]) - corner + 1).astype(int)
    shape = (height * over, width * over, channels)
    return np.zeros(shape if channels > 1 else shape[:2], np.uint8), corner


def _lit(colour: Colour, light: float) -> tuple[float, float, float, float]:
    b, g, r = (min(255.0, channel * light) for channel in colour)
    return b, g, r, 255.0


def _draw_face(
    canvas: NDArray[np.uint8],
    shape: Shape,
    points: FloatArray,
    pixels: NDArray[np.int32],
    sight: FloatArray,
    sun: tuple[float, float, float],
    edges: int,
) -> None:
    (ax, ay, az), (bx, by, bz) = (points[1] - points[0]).tolist(), (points[2] - points[1]).tolist()
    normal = (ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx)
    away = sum(n * s for n, s in zip(normal, sight.tolist(), strict=True))
    if away >= 0 and not shape.both_sides:
        return
    facing = sum(n * s for n, s in zip(normal, sun, strict=True)) * (-1.0 if away >= 0 else 1.0)
    light = 0.62 + 0.48 * max(0.0, facing / (math.hypot(*normal) + 1e-12))
    cv2.fillPoly(canvas, [pixels], _lit(shape.colour, light), edges, _SHIFT)


def _draw_round(
    canvas: NDArray[np.uint8],
    shape: Shape,
    pixels: FloatArray,
    scale: float,
    glow: FloatArray,
    edges: int,
) -> None:
    assert shape.radii is not None
    first, second = shape.radii[0] * scale, shape.radii[1] * scale
    largest = max(first, second)
    (ax, ay), (bx, by) = pixels.tolist()
    gx, gy = glow.tolist()
    # A darker rim and a lighter core moved towards the sun make it look round.
    for size, move, light in ((1.0, 0.0, 0.74), (0.78, 0.18, 0.96), (0.45, 0.4, 1.1)):
        if light > 0.96 and largest < 8:
            break
        colour, dx, dy = _lit(shape.colour, light), gx * move * largest, gy * move * largest
        ends = (ax + dx, ay + dy, bx + dx, by + dy)
        _draw_bar(canvas, ends, first * size, second * size, colour, edges)


def _draw_bar(
    canvas: NDArray[np.uint8],
    ends: tuple[float, float, float, float],
    first: float,
    second: float,
    colour: tuple[float, float, float, float],
    edges: int,
) -> None:
    unit = 1 << _SHIFT
    ax, ay, bx, by = ends
    start, end = (round(ax * unit), round(ay * unit)), (round(bx * unit), round(by * unit))
    length = math.hypot(bx - ax, by - ay)
    if length < 0.5:
        radius = max(1, round(max(first, second) * unit))
        cv2.circle(canvas, start, radius, colour, -1, edges, _SHIFT)
        return
    if abs(first - second) < 1.5:
        # Thick lines have round ends.
        thick = max(1, round(first + second))
        cv2.line(canvas, start, end, colour, thick, edges, _SHIFT)
        return
    cv2.circle(canvas, start, max(1, round(first * unit)), colour, -1, edges, _SHIFT)
    cv2.circle(canvas, end, max(1, round(second * unit)), colour, -1, edges, _SHIFT)
    side = np.array([-(by - ay), bx - ax]) / length * unit
    near, far = np.array(start), np.array(end)
    corners = np.array(
        [near + side * first, far + side * second, far - side * second, near - side * first]
    )
    cv2.fillConvexPoly(canvas, np.rint(corners).astype(np.int32), colour, edges, _SHIFT)


def _above(channel: NDArray[np.uint8], level: int) -> NDArray[np.uint8]:
    """255 where a channel is larger than ``level``."""
    return np.asarray(cv2.threshold(channel, level, 255, cv2.THRESH_BINARY)[1], np.uint8)


def _alpha(canvas: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.asarray(cv2.extractChannel(canvas, 3), np.uint8)


def _trimmed(canvas: NDArray[np.uint8], corner: tuple[int, int]) -> Sprite:
    seen = _above(_alpha(canvas), _FAINT)
    x, y, width, height = cv2.boundingRect(seen)
    if not width:
        # Smaller than a pixel: a dark dot that still counts.
        canvas = np.full((1, 1, 4), (40, 40, 40, 255), np.uint8)
        seen, width, height = _alpha(canvas), 1, 1
    part = (slice(y, y + height), slice(x, x + width))
    cut = np.asarray(cv2.copyTo(canvas[part], seen[part]), np.uint8)
    alpha = _alpha(cut)
    solid = _above(alpha, 127)
    area = cv2.countNonZero(solid)
    if not area:
        solid = _above(alpha, 0)
        area = cv2.countNonZero(solid)
    bgr = np.asarray(cv2.cvtColor(cut, cv2.COLOR_BGRA2BGR), np.uint8)
    return Sprite(bgr, _keep(alpha), solid, (corner[0] + x, corner[1] + y), area)


def _keep(alpha: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.asarray(cv2.cvtColor(255 - alpha, cv2.COLOR_GRAY2BGR), np.uint8)

"""What does not move, drawn once per scene: sky, ground, houses, props and their shadows."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from re_pose_ros.scenes.compositing import Rect, cast, paste
from re_pose_ros.scenes.ground import fill, noise_tile, paint_ground
from re_pose_ros.scenes.layout import Facade, Layout
from re_pose_ros.scenes.people import person, random_person
from re_pose_ros.scenes.props import MODELS
from re_pose_ros.scenes.shapes import Colour, View, draw, draw_shadow, sprite_of

Sun = tuple[float, float, float]
_WALLS: tuple[Colour, ...] = (
    (150, 175, 195), (120, 140, 165), (165, 170, 172), (95, 110, 150), (140, 160, 170),
    (105, 105, 110), (175, 190, 205), (110, 130, 130),
)  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class Occluder:
    """A prop or house front that may hide what is behind it.

    Attributes:
        rect: x1, y1, x2, y2 in pixels of the picture.
        solid: its pixels there, 255.
        line: (a, b, c): a place (x, z) in metres is behind it where a x + b z > c.
        house: a front, on which no shadow of the ground falls.
    """

    rect: Rect
    solid: NDArray[np.uint8]
    line: tuple[float, float, float]
    house: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Background:
    """The still picture (height, span, 3) and the props that may hide what moves, far first."""

    image: NDArray[np.uint8]
    occluders: list[Occluder]


def paint_background(layout: Layout, sun: Sun, shade: float) -> Background:
    """Draw a layout; ``shade`` in [0, 1] is how dark shadows are."""
    camera = layout.camera
    image = np.zeros((camera.size[1], camera.span, 3), np.uint8)
    _sky(layout, image)
    fill(
        image,
        np.array([[-9, camera.horizon], [camera.span + 9, camera.horizon],
                  [camera.span + 9, image.shape[0] + 9], [-9, image.shape[0] + 9]]),
        (112, 122, 122),
    )  # fmt: skip
    paint_ground(layout, image)
    _tree_line(layout, image)
    _house_shadows(layout, image, sun, shade)
    _false_shadows(layout, image, sun, shade)
    fronts = sorted(layout.facades, key=lambda f: -max(f.left[1], f.right[1]))
    houses = [_facade(layout, image, facade, sun) for facade in fronts]
    occluders = [house for house in houses if house is not None]
    occluders += _props(layout, image, sun, shade)
    softness = image.shape[0] / 2160 * 0.55
    if softness > 0.3:
        cv2.GaussianBlur(image, (3, 3), softness, dst=image)
    return Background(image, occluders)


def _sky(layout: Layout, image: NDArray[np.uint8]) -> None:
    camera, rng = layout.camera, layout.rng(6)
    rows = min(image.shape[0], max(1, math.ceil(camera.horizon)))
    t = np.linspace(0, 1, rows, dtype=np.float32)[:, None, None]
    sky = np.array([[215, 175, 130]], np.float32) * (1 - t) + np.array([[232, 222, 210]]) * t
    cloud = noise_tile(rng, 16) + 0.5 * noise_tile(rng, 32) + 0.3 * noise_tile(rng, 64)
    cloud = cv2.resize(cloud[:200], (camera.span, rows), interpolation=cv2.INTER_CUBIC)
    weight = np.clip(cloud[:, :, None] * 0.35 + 0.15, 0, 0.85)
    image[:rows] = np.clip(sky * (1 - weight) + 240 * weight, 0, 255).astype(np.uint8)
    unit = camera.size[0] / 3840
    x = -50.0
    while x < camera.span:
        width, height = rng.uniform(40, 210) * unit, rng.uniform(15, 100) * unit
        tone = float(rng.uniform(0.82, 1.05))
        low = camera.horizon + 6 * unit
        right, top = x + width, low - height
        corners = np.array([[x, low], [right, low], [right, top], [x, top]])
        fill(image, corners, (188 * tone, 178 * tone, 165 * tone))
        x += width * rng.uniform(0.5, 1.3)


def _tree_line(layout: Layout, image: NDArray[np.uint8]) -> None:
    """Woods where the ground ends."""
    camera, rng = layout.camera, layout.rng(11)
    for z, tone in ((390.0, 1.25), (335.0, 1.0)):
        half = camera.half_width(z)
        x = np.arange(-half, half + 6, 1.5)
        rough = np.convolve(rng.normal(0, 1, len(x) + 8), np.hanning(9), "valid")
        u, top = camera.project(x, np.clip(6.5 + rough, 3, 11), z)
        _, low = camera.project(0.0, 0.0, z)
        ends = [[u[-1], float(low)], [u[0], float(low)]]
        outline = np.concatenate([np.stack([u, top], axis=1), ends])
        fill(image, outline, (88 * tone, 108 * tone, 88 * tone))


def _house_shadows(layout: Layout, image: NDArray[np.uint8], sun: Sun, shade: float) -> None:
    camera = layout.camera
    mask = np.zeros(image.shape[:2], np.uint8)
    for facade in layout.facades:
        fall = np.array([-sun[0], -sun[1]]) / sun[2] * facade.height
        a, b = np.array(facade.left), np.array(facade.right)
        quad = np.array([a, b, b + fall, a + fall])
        quad[:, 1] = np.maximum(quad[:, 1], camera.nearest * 0.4)
        fill(mask, camera.ground_polygon(quad), 255)
    sigma = max(0.6, 3 * camera.size[0] / 3840)
    cv2.GaussianBlur(mask, (0, 0), sigma, dst=mask)
    keep = cv2.merge([255 - cv2.convertScaleAbs(mask, alpha=0.75 * shade)] * 3)
    cv2.multiply(image, keep, dst=image, scale=1 / 255)


def _facade(layout: Layout, image: NDArray[np.uint8], facade: Facade, sun: Sun) -> Occluder | None:
    """A wall with windows, doors and shop fronts, warped into the picture."""
    camera = layout.camera
    a, b = np.array(facade.left), np.array(facade.right)
    length = float(np.hypot(*(b - a)))
    nearest = min(a[1], b[1])
    fine = float(np.clip(camera.focal / max(nearest, 18.0), 1.5, 60))
    wall = _wall(layout, facade, length, min(fine, 2400 / length))
    height, width = wall.shape[:2]
    ends = np.array([a, b])
    u, low = camera.project(ends[:, 0], 0.0, ends[:, 1])
    _, high = camera.project(ends[:, 0], facade.height, ends[:, 1])
    goal = np.array([[u[0], high[0]], [u[1], high[1]], [u[1], low[1]], [u[0], low[0]]])
    x1, y1 = np.maximum(np.floor(goal.min(axis=0)), 0).astype(int)
    x2, y2 = np.ceil(goal.max(axis=0)).astype(int)
    x2, y2 = min(x2, image.shape[1]), min(y2, image.shape[0])
    if x2 - x1 < 2 or y2 - y1 < 2:
        return None
    along = (b - a) / length
    towards = np.array([along[1], -along[0]])
    light = 0.6 + 0.45 * max(0.0, float(towards @ np.array(sun[:2])))
    cv2.convertScaleAbs(wall, dst=wall, alpha=light)
    source = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)
    turn = cv2.getPerspectiveTransform(source, (goal - [x1, y1]).astype(np.float32))
    region = image[y1:y2, x1:x2]
    size = (x2 - x1, y2 - y1)
    picture = cv2.warpPerspective(wall, turn, size, borderMode=cv2.BORDER_REPLICATE)
    mask = np.zeros(region.shape[:2], np.uint8)
    fill(mask, goal - [x1, y1], 255)
    alpha = cv2.merge([mask] * 3)
    cv2.multiply(region, 255 - alpha, dst=region, scale=1 / 255)
    cv2.add(region, cv2.multiply(picture, alpha, scale=1 / 255), dst=region)
    # The line's far side is the one without the camera, which stands at (0, 0).
    line = np.array([-along[1], along[0], -along[1] * a[0] + along[0] * a[1]])
    p, q, c = (line if line[2] > 0 else -line).tolist()
    # All of the edge: what is drawn behind two fronts must not shine through their joint.
    solid = np.where(mask > 0, 255, 0).astype(np.uint8)
    return Occluder((int(x1), int(y1), int(x2), int(y2)), solid, (p, q, c), house=True)


def _wall(layout: Layout, facade: Facade, length: float, fine: float) -> NDArray[np.uint8]:
    rng = np.random.default_rng(facade.seed)
    size = (max(2, round(facade.height * fine)), max(2, round(length * fine)))
    base = np.array(_WALLS[int(rng.integers(len(_WALLS)))]) * rng.uniform(0.85, 1.1)
    noise = cv2.resize(noise_tile(rng, 64), (size[1], size[0]), interpolation=cv2.INTER_AREA)
    wall = np.clip(base * (1 + 0.03 * noise[:, :, None]), 0, 255).astype(np.uint8)

    def rect(x: float, up: float, width: float, height: float, colour: Colour) -> None:
        y = facade.height - up - height
        corners = np.array([[x, y], [x + width, y], [x + width, y + height], [x, y + height]])
        fill(wall, corners * fine, colour)

    dark = (float(base[0] * 0.7), float(base[1] * 0.7), float(base[2] * 0.7))
    if facade.hall:
        for x in np.arange(2, length - 5, 5.2):
            rect(x, 1.1, 3.6, 3.6, (70, 72, 75) if rng.random() < 0.7 else (185, 188, 190))
            rect(x - 0.2, 4.7, 4.0, 0.25, dark)
        rect(0, facade.height - 0.8, length, 0.8, dark)
        return wall
    storey, bay = float(rng.uniform(3.0, 3.7)), float(rng.uniform(2.4, 3.6))
    wide, tall = bay * rng.uniform(0.4, 0.7), storey * rng.uniform(0.45, 0.62)
    bays = max(1, int(length / bay))
    start = (length - bays * bay) / 2
    for level in range(1, int(facade.height / storey)):
        for k in range(bays):
            x, up = start + k * bay + (bay - wide) / 2, level * storey + 0.8
            tone = float(rng.uniform(0.6, 1.5))
            rect(x - 0.12, up - 0.15, wide + 0.24, tall + 0.27, dark)
            glass = (95 * tone, 82 * tone, 70 * tone)
            rect(x, up, wide, tall, (150, 205, 225) if rng.random() < 0.06 else glass)
            rect(x + wide / 2 - 0.04, up, 0.08, tall, (170, 172, 175))
        rect(0, level * storey - 0.1, length, 0.16, dark)
    for k in range(bays):
        x = start + k * bay
        if k % 3 == 0:
            rect(x + bay / 2 - 0.6, 0, 1.2, 2.3, (45, 50, 60))
        else:
            rect(x + 0.15, 0.45, bay - 0.3, 2.1, (75, 70, 62))
            awning = np.array(_WALLS[int(rng.integers(len(_WALLS)))]) * rng.uniform(0.4, 1.1)
            rect(x, 2.6, bay, 0.5, (float(awning[0]), float(awning[1]), float(awning[2])))
    rect(0, facade.height - 0.5, length, 0.5, dark)
    return wall


def _false_shadows(layout: Layout, image: NDArray[np.uint8], sun: Sun, shade: float) -> None:
    """Shadows of what is not in the picture, and of nothing at all."""
    rng, camera = layout.rng(7), layout.camera
    for _ in range(14):
        x, z = layout.within(rng, camera.nearest + 5, 150)
        view = view_at(layout, x, z)
        shapes = person(random_person(rng), float(rng.random()))
        shadow = draw_shadow(shapes, float(rng.uniform(0, 6)), view, sun, shade * 0.8)
        cast(image, sprite_of(shadow), foot(layout, x, z))


def view_at(layout: Layout, x: float, z: float, up: float = 0.0) -> View:
    """How a place in metres is seen."""
    camera = layout.camera
    return View(camera.focal / z, x / z, (camera.mast - up) / z)


def foot(layout: Layout, x: float, z: float, up: float = 0.0) -> tuple[int, int]:
    """The pixel of a place in metres."""
    u, v = layout.camera.project(x, up, z)
    return round(float(u)), round(float(v))


def _props(layout: Layout, image: NDArray[np.uint8], sun: Sun, shade: float) -> list[Occluder]:
    drawn = []
    for prop in sorted(layout.props, key=lambda p: (-p.z, p.x)):
        if prop.z < layout.camera.nearest * 0.8:
            continue
        shapes = MODELS[prop.name](np.random.default_rng(prop.seed))
        view, at = view_at(layout, prop.x, prop.z), foot(layout, prop.x, prop.z)
        cast(image, sprite_of(draw_shadow(shapes, prop.yaw, view, sun, shade)), at)
        drawn.append((prop, sprite_of(draw(shapes, prop.yaw, view, sun)), at))
    occluders = []
    for prop, sprite, at in drawn:
        rect = paste(image, sprite, at)
        if rect is not None:
            x, y = at[0] + sprite.offset[0], at[1] + sprite.offset[1]
            solid = sprite.solid[rect[1] - y : rect[3] - y, rect[0] - x : rect[2] - x]
            occluders.append(Occluder(rect, np.ascontiguousarray(solid), (0.0, 1.0, prop.z)))
    return occluders

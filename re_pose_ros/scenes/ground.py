"""The ground's picture: patches in perspective, with textures that fade with distance."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from re_pose_ros.scenes.camera import Camera, FloatArray, clip_near
from re_pose_ros.scenes.layout import MATERIALS, Layout, Rng
from re_pose_ros.scenes.shapes import Colour

_SHIFT = 4
_TILE = 512
_ROWS = 128
_OCTAVES = ((40.0, 0.10), (11.0, 0.06), (3.1, 0.03), (0.8, 0.04), (0.22, 0.07), (0.07, 0.08))
"""Wavelengths in metres and strengths of the ground's noise."""


def noise_tile(rng: Rng, cells: int) -> NDArray[np.float32]:
    """Smooth noise (512, 512) that repeats, of zero mean and about unit size."""
    grid = rng.standard_normal((cells, cells)).astype(np.float32)
    padded = np.pad(grid, 2, mode="wrap")
    step = _TILE // cells
    size = (cells + 4) * step
    big = cv2.resize(padded, (size, size), interpolation=cv2.INTER_CUBIC)
    tile = big[2 * step : 2 * step + _TILE, 2 * step : 2 * step + _TILE]
    return np.ascontiguousarray(tile / tile.std())


def fill(
    image: NDArray[np.uint8], points: FloatArray, colour: Colour | int, smooth: bool = True
) -> None:
    """Fill a pixel polygon (N, 2)."""
    value = (colour, 0, 0) if isinstance(colour, int) else colour
    limited = np.clip(points - 0.5, -2e5, 2e5)
    kind = cv2.LINE_AA if smooth else cv2.LINE_8
    cv2.fillPoly(image, [np.rint(limited * (1 << _SHIFT)).astype(np.int32)], value, kind, _SHIFT)


def paint_ground(layout: Layout, image: NDArray[np.uint8]) -> None:
    """Draw the ground into ``image`` (height, span, 3), below the horizon."""
    camera = layout.camera
    material = np.zeros(image.shape[:2], np.uint8)
    for patch in layout.patches:
        corners = clip_near(np.array(patch.corners, np.float64), camera.nearest * 0.5)
        if len(corners) >= 3:
            points = camera.ground_polygon(corners)
            fill(image, points, patch.colour)
            fill(material, points, MATERIALS.index(patch.material), smooth=False)
    _stains(layout, image)
    tiles = [noise_tile(layout.rng(4, k), 32) for k in range(2)]
    top = max(0, int(np.ceil(camera.horizon + 1)))
    for first in range(top, image.shape[0], _ROWS):
        last = min(first + _ROWS, image.shape[0])
        factor = _texture(camera, tiles, material[first:last], first)
        band = image[first:last]
        band[:] = np.clip(band * factor[:, :, None], 0, 255).astype(np.uint8)


def _texture(
    camera: Camera, tiles: list[NDArray[np.float32]], material: NDArray[np.uint8], first: int
) -> NDArray[np.float32]:
    """Brightness factors (rows, columns) of the ground from row ``first`` on."""
    rows, columns = material.shape
    v = np.arange(first, first + rows, dtype=np.float32) + 0.5
    z = (camera.focal * camera.mast / (v - camera.horizon)).astype(np.float32)[:, None]
    u = np.arange(columns, dtype=np.float32)[None] + 0.5 - 0.5 * camera.span
    x = u * (z / camera.focal)
    per_metre = camera.focal / z
    deep = per_metre * camera.mast / z
    factor = np.ones((rows, columns), np.float32)
    grass = np.where(material == MATERIALS.index("grass"), np.float32(1.9), np.float32(1.0))
    for k, (wave, strength) in enumerate(_OCTAVES):
        # What is finer than three pixels would flicker; it fades into its mean.
        weight = np.clip(wave * deep / 3 - 0.3, 0, 1) * strength * 0.5
        if not weight.any():
            continue
        scale = 16.0 / wave
        map_x = np.mod(x * scale + 61.7 * k, _TILE)
        map_y = np.broadcast_to(np.mod(z * scale + 37.3 * k, _TILE), map_x.shape)
        noise = cv2.remap(
            tiles[k % 2], map_x.astype(np.float32), np.ascontiguousarray(map_y, np.float32),
            cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP,
        )  # fmt: skip
        weighted = (noise * weight).astype(np.float32)
        factor += weighted * grass if k >= 2 else weighted
    for name, length, joint, depth in (("slabs", 2.0, 0.05, 0.24), ("cobbles", 0.4, 0.05, 0.2)):
        where = material == MATERIALS.index(name)
        if where.any():
            line = _joints(x, 1 / per_metre, length, joint)
            line = np.maximum(line, _joints(z, 1 / deep, length, joint))
            factor -= np.where(where, depth * line, np.float32(0))
            shade = np.sin(np.floor(x / length) * 12.9898 + np.floor(z / length) * 78.233) * 437.5
            shade -= np.floor(shade) + 0.5
            fade = np.clip(length * deep / 4 - 0.5, 0, 1)
            factor += np.where(where, 0.13 * shade * fade, np.float32(0))
    return factor


def _joints(
    position: FloatArray, pixel: FloatArray, period: float, width: float
) -> NDArray[np.float32]:
    """How much of each pixel of a given size in metres lies on a joint that repeats."""
    away = np.abs(np.mod(position, period) - period / 2)
    away = period / 2 - away
    cover = np.clip((width / 2 + pixel / 2 - away) / pixel, 0, 1) * np.minimum(1, width / pixel)
    mean = width / period
    far = np.clip(2.5 * pixel / period - 0.5, 0, 1)
    result: NDArray[np.float32] = (cover * (1 - far) + mean * far).astype(np.float32)
    return result


def _stains(layout: Layout, image: NDArray[np.uint8]) -> None:
    """Cracks, spots, covers and patches of repair."""
    camera, rng = layout.camera, layout.rng(5)
    circle = np.linspace(0, 2 * np.pi, 20, endpoint=False)
    dark = np.zeros(image.shape[:2], np.uint8)
    for k in range(140):
        x, z = layout.within(rng, camera.nearest, 160)
        if k % 7 == 0:
            steps = np.cumsum(rng.normal(0, 0.7, (18, 2)) * 0.4 + rng.normal(0, 0.35, 2), axis=0)
            steps = np.maximum(steps + np.array([x, z]), [-1e6, camera.nearest * 0.7])
            points = camera.ground_polygon(steps)
            thick = max(1, round(0.016 * camera.focal / z))
            pixels = np.rint(points * (1 << _SHIFT)).astype(np.int32)
            tone = int(rng.integers(30, 80))
            cv2.polylines(dark, [pixels], False, tone, thick, cv2.LINE_AA, _SHIFT)
        else:
            radius = rng.uniform(0.2, 1.1) * (1 + 0.25 * np.sin(3 * circle + rng.uniform(0, 6)))
            ring = np.stack([x + radius * np.cos(circle), z + radius * np.sin(circle)], axis=1)
            fill(dark, camera.ground_polygon(ring), int(rng.integers(10, 40)))
    cv2.GaussianBlur(dark, (0, 0), max(0.5, image.shape[0] / 2160), dst=dark)
    keep = cv2.merge([255 - dark] * 3)
    cv2.multiply(image, keep, dst=image, scale=1 / 255)

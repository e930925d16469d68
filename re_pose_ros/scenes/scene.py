"""A scene: frames by index, each with its truth."""

from __future__ import annotations

import math
from dataclasses import fields, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from re_pose_ros.errors import InputError
from re_pose_ros.ground_truth import GroundTruth
from re_pose_ros.scenes.background import Occluder, foot, paint_background, view_at
from re_pose_ros.scenes.compositing import Rect, cast, paste, placed
from re_pose_ros.scenes.kinds import KINDS
from re_pose_ros.scenes.light import Light
from re_pose_ros.scenes.looks import Looks
from re_pose_ros.scenes.shapes import Sprite
from re_pose_ros.scenes.spec import SceneSpec
from re_pose_ros.scenes.truth import hidden_by, rects_overlap, scene_truth, visibilities
from re_pose_ros.scenes.world import Pose, World

_PAN_SPAN = 1.5
_REACH_M = 9.0


class Scene:
    """Renders any frame of one scene; the same index gives the same frame, whatever came before.

    To be used by one thread at a time. The still picture is drawn when the scene is made.

    Attributes:
        spec: what the scene was made from.
    """

    def __init__(self, spec: SceneSpec) -> None:
        self.spec = spec
        rng = np.random.default_rng([spec.seed, 10])
        # The sun stands behind the camera or beside it, so that shown sides are lit.
        azimuth, height = rng.uniform(0.15, 0.85) * math.pi, rng.uniform(0.6, 1.0)
        flat = math.cos(height)
        self._sun = (flat * math.cos(azimuth), -flat * math.sin(azimuth), math.sin(height))
        shade = float(rng.uniform(0.3, 0.5))
        widen = _PAN_SPAN if spec.pan else 1.0
        self._layout = KINDS[spec.kind](spec.size, spec.seed, spec.objects, widen)
        self._world = World(self._layout.resting, self._layout.streams)
        self._background = paint_background(self._layout, self._sun, shade)
        self._looks = Looks(self._sun, shade)
        self._light = Light(spec.size, spec.seed, spec.light, spec.noise)

    def time_s(self, index: int) -> float:
        """The scene's time of a frame in seconds."""
        return index / self.spec.fps

    def stamp_ns(self, index: int) -> int:
        """The same in nanoseconds."""
        return round(self.time_s(index) * 1e9)

    def shift(self, index: int) -> int:
        """The frame's left edge in the panning camera's whole span, in pixels."""
        room = self._layout.camera.span - self.spec.size[0]
        if not room:
            return 0
        fastest = math.radians(self.spec.pan) * self._layout.camera.focal
        turn = 2 * fastest / room * self.time_s(index)
        return round(room * (0.5 + 0.5 * math.sin(turn)))

    def render(self, index: int) -> tuple[NDArray[np.uint8], GroundTruth]:
        """Frame ``index`` (height, width, 3) in BGR, freshly allocated, and what is in it.

        Raises:
            InputError: a negative index.
        """
        if index < 0:
            raise InputError(f"frame {index} of a scene: frames count from 0")
        left = self.shift(index)
        still = self._background.image[:, left : left + self.spec.size[0]]
        image = still.copy()
        poses = self._world.poses(self.time_s(index))
        truth = self._draw(image, still, poses, left)
        self._light.apply(image, index, self.time_s(index))
        return image, truth

    def _draw(
        self, image: NDArray[np.uint8], still: NDArray[np.uint8], poses: list[Pose], left: int
    ) -> GroundTruth:
        occluders = [
            replace(o, rect=(o.rect[0] - left, o.rect[1], o.rect[2] - left, o.rect[3]))
            for o in self._background.occluders
            if o.rect[0] < left + image.shape[1] and o.rect[2] > left
        ]
        self._cast(image, still, poses, occluders, left)
        seen: list[tuple[Pose, Sprite, tuple[int, int], Rect]] = []
        for pose in poses:
            if self._away(pose.x, pose.z, left):
                continue
            u, v = foot(self._layout, pose.x, pose.z, pose.up)
            view = view_at(self._layout, pose.x, pose.z, pose.up)
            sprite = self._looks.sprite(pose, view)
            rect = placed(sprite, (u - left, v), self.spec.size)
            if rect is not None:
                seen.append((pose, sprite, (u - left, v), rect))
        rects = [rect for *_, rect in seen]
        boxes = np.array(rects, np.int64).reshape(-1, 4)
        places = np.array([(p.x, p.z) for p, *_ in seen]).reshape(-1, 2)
        behind = hidden_by(boxes, places, occluders)
        for (_, sprite, at, rect), row in zip(seen, behind, strict=True):
            paste(image, sprite, at)
            for k in np.nonzero(row)[0]:
                _restore(image, still, rect, occluders[k])
        corners = [(at[0] + s.offset[0], at[1] + s.offset[1]) for _, s, at, _ in seen]
        shares = visibilities([s for _, s, *_ in seen], corners, rects, behind, occluders)
        return scene_truth(
            boxes,
            np.array([p.actor.class_id for p, *_ in seen], np.int32),
            np.array([p.track_id for p, *_ in seen], np.int64),
            shares,
        )

    def _away(self, x: float, z: float, left: int) -> bool:
        """True for a place so far outside the frame that nothing there reaches into it."""
        camera = self._layout.camera
        scale = camera.focal / z
        top = camera.horizon + scale * (camera.mast - _REACH_M * (0.45 + 0.5 * camera.mast / z))
        if z < camera.nearest * 0.45 or top > camera.size[1]:
            return True
        u = 0.5 * camera.span + scale * x - left
        return not -_REACH_M * scale < u < camera.size[0] + _REACH_M * scale

    def _cast(
        self,
        image: NDArray[np.uint8],
        still: NDArray[np.uint8],
        poses: list[Pose],
        occluders: list[Occluder],
        left: int,
    ) -> None:
        """All shadows; they fall on the ground, never on house fronts."""
        rects = []
        for pose in poses:
            x = pose.x - pose.up * self._sun[0] / self._sun[2]
            z = pose.z - pose.up * self._sun[1] / self._sun[2]
            if self._away(x, z, left):
                continue
            u, v = foot(self._layout, x, z)
            shadow = self._looks.shadow(pose, view_at(self._layout, x, z))
            rect = cast(image, shadow, (u - left, v))
            if rect is not None:
                rects.append(rect)
        houses = [o for o in occluders if o.house]
        fronts = np.array([o.rect for o in houses]).reshape(-1, 4)
        hits = rects_overlap(np.array(rects).reshape(-1, 4), fronts)
        for i, k in zip(*np.nonzero(hits), strict=True):
            _restore(image, still, rects[i], houses[k])


def _restore(
    image: NDArray[np.uint8], still: NDArray[np.uint8], rect: Rect, occluder: Occluder
) -> None:
    """Bring back the pixels of what stands before something that was drawn in a rectangle."""
    x, y = occluder.rect[:2]
    x1, y1 = max(rect[0], x), max(rect[1], y)
    x2, y2 = min(rect[2], occluder.rect[2]), min(rect[3], occluder.rect[3])
    mask = occluder.solid[y1 - y : y2 - y, x1 - x : x2 - x]
    cv2.copyTo(still[y1:y2, x1:x2], mask, image[y1:y2, x1:x2])


def make_scene(
    kind: str, seed: int = 0, size: tuple[int, int] = (3840, 2160), **options: float
) -> Scene:
    """A scene of kind plaza, street or yard; ``options`` are those of ``SceneSpec``.

    Raises:
        InputError: an unknown kind or option, or a value out of range.
    """
    known = [field.name for field in fields(SceneSpec)][3:]
    for name in options:
        if name not in known:
            raise InputError(f"scene option '{name}' is not known; known: {', '.join(known)}")
    return Scene(SceneSpec(kind, seed, size, **options))  # type: ignore[arg-type]

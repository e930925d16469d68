"""What is kept of each tracked object, and how detections and misses change it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from re_pose_ros.detections import Detections, Index
from re_pose_ros.distribution.motion import Array, Motion, coordinates, correct, forecast
from re_pose_ros.distribution.settings import TrackerSettings
from re_pose_ros.geometry import box_areas
from re_pose_ros.plan import PlannedBlock

SURE = 0.98
"""No weight is higher, so that misses always count."""
PIXEL = 0.5
"""Standard deviation of a detected box's centre at best, in pixels of the network's input."""
FADING = 0.8
"""Share of the trust in a class that is kept from one detection to the next."""


@dataclass(frozen=True, slots=True, eq=False)
class Measurements:
    """N detections with an area, as the filters take them.

    Attributes:
        xyxy: (N, 4) corners in pixels of the frame.
        deviation: (N,) standard deviation of the centre, in pixels.
        confidence: (N,) in [0, 1].
        class_id: (N,).
    """

    xyxy: Array
    deviation: Array
    confidence: Array
    class_id: NDArray[np.int32]

    @classmethod
    def of(
        cls, detections: Detections, blocks: Sequence[PlannedBlock], noise: float
    ) -> Measurements:
        """Noisy by ``noise`` object sizes, and by the pixels of the block that saw the object."""
        found = detections.take(box_areas(detections.xyxy) > 0)
        boxes = found.xyxy.astype(np.float64)
        # -1, the unknown block, finds the scale at the end.
        scales = np.array([planned.request.input_scale for planned in blocks] + [1.0])
        pixels = PIXEL / scales[found.block]
        deviation = np.hypot(noise * np.sqrt(box_areas(boxes)), pixels)
        return cls(boxes, deviation, found.confidence.astype(np.float64), found.class_id)

    def __len__(self) -> int:
        return len(self.confidence)

    def take(self, index: Index) -> Measurements:
        return Measurements(
            self.xyxy[index], self.deviation[index], self.confidence[index], self.class_id[index]
        )

    def variances(self) -> Array:
        """Of the four coordinates, shape (N, 4)."""
        sides = np.maximum(self.xyxy[:, 2:] - self.xyxy[:, :2], 1.0)
        return np.square(self.deviation[:, None] / np.concatenate([np.ones_like(sides), sides], 1))


@dataclass(frozen=True, slots=True, eq=False)
class Tracks:
    """N objects at one time.

    Attributes:
        motion: where they are and whither they go.
        size: (N,) square root of the box's area when last detected, in pixels.
        weight: (N,) probability that the object exists.
        class_id: (N,).
        trust: (N,) how much speaks for the class.
        age: (N,) frames since the last detection.
        hits: (N,) detections.
        track_id: (N,).
    """

    motion: Motion
    size: Array
    weight: Array
    class_id: NDArray[np.int32]
    trust: Array
    age: NDArray[np.int32]
    hits: NDArray[np.int32]
    track_id: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.weight)

    def take(self, index: Index) -> Tracks:
        return Tracks(
            self.motion.take(index),
            self.size[index],
            self.weight[index],
            self.class_id[index],
            self.trust[index],
            self.age[index],
            self.hits[index],
            self.track_id[index],
        )

    @classmethod
    def concatenate(cls, parts: Sequence[Tracks]) -> Tracks:
        return cls(
            Motion.concatenate([p.motion for p in parts]),
            np.concatenate([p.size for p in parts]),
            np.concatenate([p.weight for p in parts]),
            np.concatenate([p.class_id for p in parts]),
            np.concatenate([p.trust for p in parts]),
            np.concatenate([p.age for p in parts]),
            np.concatenate([p.hits for p in parts]),
            np.concatenate([p.track_id for p in parts]),
        )

    @property
    def sigma(self) -> Array:
        """Standard deviation of the centres in pixels, shape (N, 2)."""
        return np.sqrt(self.motion.variance[:, :2])


def born(found: Measurements, first_id: int, camera: Array, how: TrackerSettings) -> Tracks:
    """New tracks that move as the picture does, ``camera`` (2,) in pixels per second."""
    count = len(found)
    value = coordinates(found.xyxy)
    size = np.sqrt(box_areas(found.xyxy))
    rate = np.zeros((count, 4))
    rate[:, :2] = camera
    spread = np.full((count, 4), how.stretch)
    spread[:, :2] = how.speed * size[:, None]
    motion = Motion.of(value, rate, found.variances(), np.zeros((count, 4)), spread**2)
    return Tracks(
        motion,
        size,
        found.confidence.clip(how.least_weight, SURE),
        found.class_id.astype(np.int32),
        found.confidence,
        np.zeros(count, np.int32),
        np.ones(count, np.int32),
        first_id + np.arange(count, dtype=np.int64),
    )


def advanced(
    tracks: Tracks, dt_s: float, camera: Array, unrest: float, how: TrackerSettings
) -> Tracks:
    """The tracks ``dt_s`` seconds and one frame later, if nothing is heard of them.

    ``camera`` (2,) is the picture's velocity in pixels per second, ``unrest`` by how much it
    changes within one second (standard deviation).
    """
    drive = np.full((len(tracks), 4), how.stretch)
    drive[:, :2] = np.hypot(how.drive * tracks.size, unrest)[:, None]
    memory = np.array([how.memory_s, how.memory_s, how.stretch_memory_s, how.stretch_memory_s])
    return replace(
        tracks,
        motion=forecast(tracks.motion, dt_s, np.array([*camera, 0.0, 0.0]), memory, drive**2),
        weight=tracks.weight * np.exp(-dt_s / how.survival_s),
        age=tracks.age + np.int32(1),
    )


def shifted(tracks: Tracks, shift: Array, dt_s: float) -> Tracks:
    """The tracks where the picture moved (2,) pixels further than expected in ``dt_s`` seconds."""
    state = tracks.motion.state.copy()
    state[0, :, :2] += shift
    state[1, :, :2] += shift / dt_s
    return replace(tracks, motion=Motion(state))


def corrected(tracks: Tracks, visible: Array, found: Measurements, how: TrackerSettings) -> Tracks:
    """N tracks after one detection each.

    Args:
        tracks: before.
        visible: (N, 4) parts of their boxes in the frame. Compared with these, a box that shrinks
            at the frame's border says nothing wrong about its object.
        found: N detections.
        how: see there.
    """
    innovation = coordinates(found.xyxy) - coordinates(visible)
    motion = correct(tracks.motion, innovation, found.variances())
    size = np.exp(motion.value[:, 2:].mean(axis=1))
    top = how.top_speed * size[:, None]
    motion.rate[:, :2].clip(-top, top, out=motion.rate[:, :2])
    sure = np.minimum(found.confidence, SURE)
    odds = tracks.weight / (1 - tracks.weight) * (1 + how.seen_again * sure / (1 - sure))
    same = found.class_id == tracks.class_id
    trust = FADING * tracks.trust + np.where(same, found.confidence, -found.confidence)
    return Tracks(
        motion,
        size,
        np.minimum(odds / (1 + odds), SURE),
        np.where(trust < 0, found.class_id, tracks.class_id).astype(np.int32),
        np.abs(trust),
        np.zeros_like(tracks.age),
        tracks.hits + np.int32(1),
        tracks.track_id,
    )


def missed(tracks: Tracks, chance: Array, how: TrackerSettings) -> Tracks:
    """The tracks that were not found, of lower weight by Bayes' rule.

    ``chance`` (N,) is the probability in [0, 1] of finding each where it exists.
    """
    failing = (1 - chance) ** how.miss_trust
    weight = tracks.weight * failing / (1 - tracks.weight * (1 - failing))
    return replace(tracks, weight=weight)

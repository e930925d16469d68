"""What is kept of each tracked object, and how detections and misses change it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from re_pose_ros.detections import Detections
from re_pose_ros.distribution.motion import (
    Array,
    Indices,
    Motion,
    boxes_of,
    coordinates,
    correct,
    forecast,
)
from re_pose_ros.distribution.settings import TrackerSettings
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
        boxes: (4, N) in the frame.
        size: (N,) square root of the area in pixels.
        deviation: (N,) standard deviation of the centre, in pixels.
        confidence: (N,) in [0, 1].
        class_id: (N,).
    """

    boxes: Array
    size: Array
    deviation: Array
    confidence: Array
    class_id: NDArray[np.int32]

    @classmethod
    def of(
        cls, detections: Detections, blocks: Sequence[PlannedBlock], noise: float
    ) -> Measurements:
        """Noisy by ``noise`` object sizes, and by the pixels of the block that saw the object."""
        boxes = boxes_of(np.array(detections.xyxy.T, np.float64, order="C"))
        good = (boxes[2] > 0) & (boxes[3] > 0)
        if not good.all():
            detections, boxes = detections.take(good), boxes[:, good]
        # -1, the unknown block, finds the scale at the end.
        scales = np.array([planned.request.input_scale for planned in blocks] + [1.0])
        size = np.sqrt(boxes[2] * boxes[3])
        deviation = np.hypot(noise * size, (PIXEL / scales)[detections.block])
        confidence = detections.confidence.astype(np.float64)
        return cls(boxes, size, deviation, confidence, detections.class_id)

    def __len__(self) -> int:
        return len(self.confidence)

    def take(self, index: Indices) -> Measurements:
        return Measurements(
            self.boxes.take(index, axis=1),
            self.size[index],
            self.deviation[index],
            self.confidence[index],
            self.class_id[index],
        )

    def variances(self) -> Array:
        """Of the four coordinates, shape (4, N)."""
        variances = np.empty_like(self.boxes)
        variances[:2] = self.deviation
        np.divide(self.deviation, np.maximum(self.boxes[2:], 1.0), out=variances[2:])
        return np.square(variances, out=variances)


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

    def take(self, index: Indices) -> Tracks:
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


def born(found: Measurements, first_id: int, camera: Array, how: TrackerSettings) -> Tracks:
    """New tracks that move as the picture does, ``camera`` (2,) in pixels per second."""
    count = len(found)
    state = np.zeros((5, 4, count))
    state[0] = coordinates(found.boxes)
    state[1, :2] = camera[:, None]
    state[2] = found.variances()
    state[4, :2] = np.square(how.speed * found.size)
    state[4, 2:] = how.stretch**2
    return Tracks(
        Motion(state),
        found.size,
        np.minimum(np.maximum(found.confidence, how.least_weight), SURE),
        found.class_id,
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
    drive = np.empty((4, len(tracks)))
    drive[:2] = np.square(how.drive * tracks.size) + unrest**2
    drive[2:] = how.stretch**2
    memory = np.array([how.memory_s, how.memory_s, how.stretch_memory_s, how.stretch_memory_s])
    return Tracks(
        forecast(tracks.motion, dt_s, np.array([*camera, 0.0, 0.0]), memory, drive),
        tracks.size,
        tracks.weight * math.exp(-dt_s / how.survival_s),
        tracks.class_id,
        tracks.trust,
        tracks.age + np.int32(1),
        tracks.hits,
        tracks.track_id,
    )


def shifted(tracks: Tracks, shift: Array, dt_s: float) -> Tracks:
    """The tracks where the picture moved (2,) pixels further than expected in ``dt_s`` seconds."""
    state = tracks.motion.state.copy()
    state[0, :2] += shift[:, None]
    state[1, :2] += shift[:, None] / dt_s
    return replace(tracks, motion=Motion(state))


def corrected(tracks: Tracks, visible: Array, found: Measurements, how: TrackerSettings) -> Tracks:
    """N tracks after one detection each.

    Args:
        tracks: before.
        visible: (4, N) parts of their boxes in the frame. Compared with these, a box that shrinks
            at the frame's border says nothing wrong about its object.
        found: N detections.
        how: see there.
    """
    innovation = found.boxes - visible
    np.log(np.maximum(found.boxes[2:], 1.0) / np.maximum(visible[2:], 1.0), out=innovation[2:])
    motion = correct(tracks.motion, innovation, found.variances())
    size = np.exp((motion.value[2] + motion.value[3]) * 0.5)
    top = how.top_speed * size
    rate = motion.rate[:2]
    np.minimum(np.maximum(rate, -top, out=rate), top, out=rate)
    sure = np.minimum(found.confidence, SURE)
    odds = tracks.weight / (1 - tracks.weight) * (1 + how.seen_again * sure / (1 - sure))
    same = found.class_id == tracks.class_id
    trust = FADING * tracks.trust + np.where(same, found.confidence, -found.confidence)
    return Tracks(
        motion,
        size,
        np.minimum(odds / (1 + odds), SURE),
        np.where(trust < 0, found.class_id, tracks.class_id),
        np.abs(trust),
        np.zeros(len(tracks), np.int32),
        tracks.hits + np.int32(1),
        tracks.track_id,
    )


def missed(tracks: Tracks, chance: Array, how: TrackerSettings) -> Tracks:
    """The tracks that were not found, of lower weight by Bayes' rule.

    ``chance`` (N,) is the probability in [0, 1] of finding each where it exists.
    """
    failing = (1 - chance) ** how.miss_trust
    return Tracks(
        tracks.motion,
        tracks.size,
        tracks.weight * failing / (1 - tracks.weight * (1 - failing)),
        tracks.class_id,
        tracks.trust,
        tracks.age,
        tracks.hits,
        tracks.track_id,
    )

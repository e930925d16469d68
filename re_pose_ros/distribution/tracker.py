"""Tracking fused detections, so that it is known what to expect in the next frame."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from re_pose_ros.detections import Detections
from re_pose_ros.distribution.association import assign_pairs, candidates
from re_pose_ros.distribution.camera_motion import common_shift, common_velocity
from re_pose_ros.distribution.detectability import Recall, detection_probability, usual_recall
from re_pose_ros.distribution.motion import Array, Indices, boxes_of, corners_of
from re_pose_ros.distribution.objects import ObjectDistribution
from re_pose_ros.distribution.settings import TrackerSettings
from re_pose_ros.distribution.tracks import (
    Measurements,
    Tracks,
    advanced,
    born,
    corrected,
    missed,
    shifted,
)
from re_pose_ros.plan import PlannedBlock

LEAST_VISIBLE = 0.1
"""A track of which a smaller share of the box is in the frame has left it."""
KNOWN = 0.5
"""Tracks of at least this weight tell how the camera moves."""
PACE = 1.5
"""Object sizes per second that many objects move at on their own: people walk."""
CALMING = 0.8
"""Share of the camera's unrest that is left after a frame without."""
RESTART_S = 1.0
"""A frame that is older than the last one by more begins another sequence: a recording loops."""


@dataclass(frozen=True, slots=True)
class Surprise:
    """How far a frame was from what had been expected.

    Attributes:
        expected: number of tracked objects that should have been found where it was looked.
        missed: share of them that was not, 0 to 1; 0 where none was expected.
        detected: sum of the confidences of all detections.
        new: share of it in detections of no tracked object, 0 to 1; 0 without detections.
    """

    expected: float = 0.0
    missed: float = 0.0
    detected: float = 0.0
    new: float = 0.0


class Tracker:
    """Keeps what is believed about the objects from frame to frame.

    ``predict`` tells what to expect in a frame and changes nothing; ``update`` takes what was found
    in one. So detections may arrive after later frames were predicted.

    Detections are matched to tracks as in ByteTrack (Zhang et al., ECCV 2022), strong ones first,
    then weak ones to the tracks that are left; other than there, weak ones that match nothing begin
    tracks, too, of little weight. The weight is a probability of existence that detections raise
    and misses lower, as in integrated probabilistic data association (Musicki, Evans and Stankovic,
    IEEE TAC 1994), with the chance of a miss from where and how sharply the blocks looked. Where
    nobody looked, only time lowers it, and the uncertainty of the position grows.
    """

    def __init__(
        self, frame_size: tuple[int, int], settings: TrackerSettings | None = None
    ) -> None:
        """``frame_size`` is (width, height) in pixels."""
        self.settings = settings or TrackerSettings()
        self.frame_size = frame_size
        self._corner = np.array([*frame_size, *frame_size], np.float64)[:, None]
        self.reset()

    def reset(self) -> None:
        """Forget everything, as before another sequence."""
        self._camera = np.zeros(2)
        self._unrest = 0.0
        self._stamp_ns: int | None = None
        self._next_id = 0
        nothing = Measurements.of(Detections.empty(), (), 0.0)
        self._tracks = born(nothing, 0, self._camera, self.settings)
        self._coming: tuple[float, Tracks, Array] | None = None

    def __len__(self) -> int:
        return len(self._tracks)

    @property
    def camera_velocity(self) -> tuple[float, float]:
        """By how many pixels per second a turning camera moves the picture; 0 where it rests."""
        return float(self._camera[0]), float(self._camera[1])

    def predict(self, stamp_ns: int | None = None) -> ObjectDistribution:
        """The objects to expect in a frame, by falling weight.

        Args:
            stamp_ns: its time in nanoseconds. None, or where the last frame had none, means one
                ``frame_s`` after the last frame that was given to ``update``.
        """
        elapsed = self._elapsed_s(stamp_ns)
        if elapsed < -RESTART_S:
            return ObjectDistribution.empty()
        tracks, boxes = self._ahead(max(elapsed, 0.0))
        corners, share = self._visible(boxes)
        # They are sorted by weight since the last frame, and as much of it is left to each.
        kept = ((share >= LEAST_VISIBLE) & self._worth(tracks)).nonzero()[0]
        return ObjectDistribution(
            corners.T[kept],
            tracks.class_id[kept],
            tracks.weight[kept],
            np.sqrt(tracks.motion.variance[:2].T[kept]),
            tracks.age[kept],
            tracks.track_id[kept],
        )

    def update(
        self,
        detections: Detections,
        blocks: Sequence[PlannedBlock],
        stamp_ns: int | None = None,
        *,
        answered: Sequence[bool] | None = None,
        recall: Recall = usual_recall,
    ) -> Surprise:
        """Take the fused detections of a frame; one that is no newer than the last is ignored.

        Args:
            detections: in full-image pixels; ``block`` indexes ``blocks``, -1 is unknown.
            blocks: those of the frame's plan.
            stamp_ns: the frame's time; see ``predict``.
            answered: per block, whether its detections arrived; None: all. A track that no such
                block shows does not count as missed.
            recall: by network and object size on its input.

        Raises:
            ValueError: ``answered`` and ``blocks`` differ in length.
        """
        if answered is not None and len(answered) != len(blocks):
            raise ValueError(f"{len(answered)} values in answered for {len(blocks)} blocks")
        elapsed = self._elapsed_s(stamp_ns)
        if elapsed < -RESTART_S:
            self.reset()
            elapsed = self.settings.frame_s
        elif elapsed <= 0:
            return Surprise()
        self._stamp_ns = self._stamp(stamp_ns)

        found = Measurements.of(detections, blocks, self.settings.noise)
        tracks, boxes = self._ahead(elapsed)
        self._coming = None
        shift = self._turn(tracks.weight, boxes, found, elapsed)
        if shift.any():
            tracks = shifted(tracks, shift, elapsed)
            boxes = tracks.motion.boxes()
        corners, share = self._visible(boxes)
        inside = (share >= LEAST_VISIBLE).nonzero()[0]
        if len(inside) < len(tracks):
            tracks, corners = tracks.take(inside), corners.take(inside, axis=1)
        looked = [b for k, b in enumerate(blocks) if answered is None or answered[k]]
        variance = tracks.motion.variance[:2]
        chance = detection_probability(corners, np.sqrt(variance), looked, self.frame_size, recall)
        visible = boxes_of(corners)
        rows, columns = self._matched(visible, variance, found)
        others, fresh = _without(len(tracks), rows), _without(len(found), columns)
        surprise = _surprise(tracks.weight * chance, others, found.confidence, fresh)

        seen = corrected(
            tracks.take(rows), visible.take(rows, axis=1), found.take(columns), self.settings
        )
        unseen = missed(tracks.take(others), chance[others], self.settings)
        self._camera = self._common_velocity(seen)
        new = born(found.take(fresh), self._next_id, self._camera, self.settings)
        self._next_id += len(new)
        self._tracks = self._best(Tracks.concatenate([seen, unseen, new]))
        return surprise

    def _elapsed_s(self, stamp_ns: int | None) -> float:
        if stamp_ns is None or self._stamp_ns is None:
            return self.settings.frame_s
        return (stamp_ns - self._stamp_ns) * 1e-9

    def _stamp(self, stamp_ns: int | None) -> int | None:
        if stamp_ns is not None or self._stamp_ns is None:
            return stamp_ns
        return self._stamp_ns + round(self.settings.frame_s * 1e9)

    def _ahead(self, elapsed: float) -> tuple[Tracks, Array]:
        """The tracks so many seconds after the last frame, and their boxes.

        Kept, since most frames are first predicted and then taken.
        """
        if self._coming is None or self._coming[0] != elapsed:
            tracks = advanced(self._tracks, elapsed, self._camera, self._unrest, self.settings)
            self._coming = elapsed, tracks, tracks.motion.boxes()
        return self._coming[1:]

    def _turn(self, weight: Array, boxes: Array, found: Measurements, dt_s: float) -> Array:
        """By how many pixels (2,) the camera turned otherwise than it did."""
        shift = common_shift(
            boxes[:, weight >= KNOWN],
            found.boxes[:, found.confidence >= self.settings.strong],
            self.frame_size[0],
            bool(self._camera.any()),
        )
        x, y = shift.tolist()
        change = (x * x + y * y) / 2 / dt_s**3
        self._unrest = math.sqrt(CALMING * self._unrest**2 + (1 - CALMING) * change)
        if x or y:
            self._camera = self._camera + shift / dt_s
        return shift

    def _common_velocity(self, seen: Tracks) -> Array:
        known = seen.hits >= 2
        rate, variance = seen.motion.rate[:2, known], seen.motion.rate_variance[:2, known]
        return common_velocity(rate, PACE * seen.size[known] + np.sqrt(variance), self._camera)

    def _visible(self, boxes: Array) -> tuple[Array, Array]:
        """Corners (4, N) of the boxes' parts in the frame, and the shares (N,) that these are."""
        corners = np.minimum(np.maximum(corners_of(boxes), 0.0), self._corner)
        sides = corners[2:] - corners[:2]
        return corners, sides[0] * sides[1] / (boxes[2] * boxes[3])

    def _worth(self, tracks: Tracks) -> NDArray[np.bool_]:
        """Which tracks still tell something."""
        variance = np.maximum(*tracks.motion.variance[:2])
        certain = variance <= np.square(self.settings.most_sigma * tracks.size)
        return np.asarray(certain & (tracks.weight >= self.settings.least_weight))

    def _matched(
        self, visible: Array, variance: Array, found: Measurements
    ) -> tuple[Indices, Indices]:
        """Columns of ``visible`` with those of ``found`` that are theirs."""
        how = self.settings
        rows, columns, cost = candidates(
            visible, variance, found.boxes, found.deviation, how.gate, how.size_ratio
        )
        strong = found.confidence[columns] >= how.strong
        first = assign_pairs(rows[strong], columns[strong], cost[strong], 1.0)
        free = np.ones(visible.shape[1], bool)
        free[first[0]] = False
        left = ~strong & free[rows]
        second = assign_pairs(rows[left], columns[left], cost[left], how.weak_limit)
        return np.concatenate([first[0], second[0]]), np.concatenate([first[1], second[1]])

    def _best(self, tracks: Tracks) -> Tracks:
        """By falling weight."""
        kept = self._worth(tracks).nonzero()[0]
        order = np.argsort(-tracks.weight[kept], kind="stable")
        return tracks.take(kept[order[: self.settings.most_tracks]])


def _without(count: int, taken: Indices) -> Indices:
    """The indices below ``count`` that are not taken, rising."""
    left = np.ones(count, bool)
    left[taken] = False
    return left.nonzero()[0]


def _surprise(hopes: Array, others: Indices, confidence: Array, fresh: Indices) -> Surprise:
    """What ``others`` of the tracked objects, which were not found, and new detections make of it.

    ``hopes`` (N,) are the chances that the objects are there and are found; ``fresh`` are the
    detections of none of them.
    """
    expected, detected = float(hopes.sum()), float(confidence.sum())
    lost, new = float(hopes[others].sum()), float(confidence[fresh].sum())
    return Surprise(
        expected,
        lost / expected if expected > 0 else 0.0,
        detected,
        new / detected if detected > 0 else 0.0,
    )

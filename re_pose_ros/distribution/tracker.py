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
from re_pose_ros.distribution.motion import Array
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
from re_pose_ros.geometry import box_areas
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
        self.reset()

    def reset(self) -> None:
        """Forget everything, as before another sequence."""
        self._camera = np.zeros(2)
        self._unrest = 0.0
        self._stamp_ns: int | None = None
        self._next_id = 0
        nothing = Measurements.of(Detections.empty(), (), 0.0)
        self._tracks = born(nothing, 0, self._camera, self.settings)

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
        tracks = advanced(
            self._tracks, max(elapsed, 0.0), self._camera, self._unrest, self.settings
        )
        boxes, share = self._visible(tracks)
        kept = np.flatnonzero((share >= LEAST_VISIBLE) & self._worth(tracks))
        kept = kept[np.argsort(-tracks.weight[kept], kind="stable")]
        tracks = tracks.take(kept)
        return ObjectDistribution(
            boxes[kept], tracks.class_id, tracks.weight, tracks.sigma, tracks.age, tracks.track_id
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
            recall: by variant and object size on its input.

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
        tracks = advanced(self._tracks, elapsed, self._camera, self._unrest, self.settings)
        tracks = self._with_camera(tracks, found, elapsed)
        visible, share = self._visible(tracks)
        inside = share >= LEAST_VISIBLE
        tracks, visible = tracks.take(inside), visible[inside]
        looked = [b for k, b in enumerate(blocks) if answered is None or answered[k]]
        chance = detection_probability(visible, tracks.sigma, looked, self.frame_size, recall)
        rows, columns = self._matched(tracks, visible, found)
        surprise = _surprise(tracks.weight * chance, rows, found.confidence, columns)

        seen = corrected(tracks.take(rows), visible[rows], found.take(columns), self.settings)
        others = np.delete(np.arange(len(tracks)), rows)
        unseen = missed(tracks.take(others), chance[others], self.settings)
        self._camera = self._common_velocity(seen)
        fresh = found.take(np.delete(np.arange(len(found)), columns))
        new = born(fresh, self._next_id, self._camera, self.settings)
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

    def _with_camera(self, tracks: Tracks, found: Measurements, dt_s: float) -> Tracks:
        """The tracks, moved where the camera turns otherwise than it did."""
        shift = common_shift(
            tracks.motion.boxes()[tracks.weight >= KNOWN],
            found.xyxy[found.confidence >= self.settings.strong],
            self.frame_size[0],
            bool(self._camera.any()),
        )
        change = float(np.square(shift / dt_s).mean()) / dt_s
        self._unrest = math.sqrt(CALMING * self._unrest**2 + (1 - CALMING) * change)
        if not shift.any():
            return tracks
        self._camera = self._camera + shift / dt_s
        return shifted(tracks, shift, dt_s)

    def _common_velocity(self, seen: Tracks) -> Array:
        known = seen.take(seen.hits >= 2)
        tolerance = PACE * known.size[:, None] + np.sqrt(known.motion.rate_variance[:, :2])
        return common_velocity(known.motion.rate[:, :2], tolerance, self._camera)

    def _visible(self, tracks: Tracks) -> tuple[Array, Array]:
        """The parts of the boxes that are in the frame, and their shares of the whole boxes."""
        boxes = tracks.motion.boxes()
        clipped = boxes.clip(0, np.tile(self.frame_size, 2))
        return clipped, box_areas(clipped) / box_areas(boxes)

    def _worth(self, tracks: Tracks) -> NDArray[np.bool_]:
        """Which tracks still tell something."""
        certain = tracks.sigma.max(axis=1, initial=0) <= self.settings.most_sigma * tracks.size
        return np.asarray(certain & (tracks.weight >= self.settings.least_weight))

    def _matched(
        self, tracks: Tracks, visible: Array, found: Measurements
    ) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Rows of ``tracks`` with the columns of ``found`` that are theirs."""
        how = self.settings
        rows, columns, cost = candidates(
            visible, tracks.sigma, found.xyxy, found.deviation, how.gate, how.size_ratio
        )
        strong = found.confidence[columns] >= how.strong
        first = assign_pairs(rows[strong], columns[strong], cost[strong], 1.0)
        left = ~strong & ~np.isin(rows, first[0])
        second = assign_pairs(rows[left], columns[left], cost[left], how.weak_limit)
        return np.concatenate([first[0], second[0]]), np.concatenate([first[1], second[1]])

    def _best(self, tracks: Tracks) -> Tracks:
        kept = np.flatnonzero(self._worth(tracks))
        order = np.argsort(-tracks.weight[kept], kind="stable")
        return tracks.take(kept[order[: self.settings.most_tracks]])


def _surprise(
    hopes: Array, rows: NDArray[np.intp], confidence: Array, columns: NDArray[np.intp]
) -> Surprise:
    """``hopes`` (N,) are the chances that the tracked objects are there and are found."""
    expected, detected = float(hopes.sum()), float(confidence.sum())
    lost, new = np.delete(hopes, rows).sum(), np.delete(confidence, columns).sum()
    return Surprise(
        expected,
        float(lost) / expected if expected > 0 else 0.0,
        detected,
        float(new) / detected if detected > 0 else 0.0,
    )

"""Groups to begin with: clusters of mean shift, or those of the frame before."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from re_pose_ros.partition.groups import Floats, Groups, Integers, Objects
from re_pose_ros.partition.mean_shift import mean_shift
from re_pose_ros.partition.perspective import Perspective


def clustered(
    objects: Objects, boxes: Floats, bandwidth: float, *, perspective: bool = True
) -> Groups:
    """The clusters of mean shift on where the objects stand.

    Args:
        objects: N of them.
        boxes: (N, 4) their boxes in pixels.
        bandwidth: reach of an object in object sizes.
        perspective: distances are measured in the size that objects have at each row
            (``Perspective.flatten``); else in their median size.
    """
    feet = np.column_stack([objects.centre[:, 0], boxes[:, 3]])
    if perspective:
        points = Perspective.fit(boxes).flatten(feet, objects.frame_size[0] / 2)
    else:
        points = feet / float(np.median(objects.size))
    return Groups.labelled(objects, mean_shift(points, bandwidth))


def labels_of(groups: Groups, track_id: NDArray[np.int64]) -> dict[int, int]:
    """Which group each tracked object is in."""
    return {
        track: label
        for label, members in enumerate(groups.members)
        for track in track_id[members].tolist()
    }


def carried_over(
    objects: Objects, track_id: NDArray[np.int64], labels: Mapping[int, int]
) -> Groups | None:
    """The groups that the objects were in, where at least half of them were in any.

    New objects join the group of the nearest object that was in one.
    """
    own = np.array([labels.get(track, -1) for track in track_id.tolist()], np.int64)
    known = own >= 0
    if 2 * int(known.sum()) < len(own) or not known.any():
        return None
    if not known.all():
        own[~known] = own[known][_nearest(objects.centre[~known], objects.centre[known])]
    # Numbered anew, without gaps.
    there = np.bincount(own) > 0
    return Groups.labelled(objects, (there.cumsum() - 1)[own])


def _nearest(points: Floats, others: Floats) -> Integers:
    """Of each of (N, 2) points, the index of the nearest of (M, 2) others."""
    apart = np.subtract.outer(points[:, 0], others[:, 0]) ** 2
    apart += np.subtract.outer(points[:, 1], others[:, 1]) ** 2
    return np.asarray(apart.argmin(axis=1))

"""With which probability the blocks that were looked at show an object."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from re_pose_ros.distribution.motion import Array
from re_pose_ros.plan import BlockRequest, PlannedBlock, Variant

Recall = Callable[[Variant | None, Array], Array]
"""The recall to expect of a variant's network for object sizes in pixels of its input, any shape.

It depends on the input's size by these sizes alone: a network does not know what it is shown.
"""


def usual_recall(_: Variant | None, sizes: Array) -> Array:
    """For networks that were not measured: 0.5 at 10 input pixels, 0.86 at 20, 0.9 at most (ours).

    ``sizes`` are square roots of box areas.
    """
    ratio = np.square(np.square(np.asarray(sizes, np.float64) / 10.0))
    return np.asarray(0.9 * ratio / (0.8 + ratio))


def detection_probability(
    corners: Array,
    sigma: Array,
    blocks: Sequence[PlannedBlock],
    frame_size: tuple[int, int],
    recall: Recall = usual_recall,
) -> Array:
    """How probable it is that an object which is there was found, shape (N,), in [0, 1].

    For one block: the recall expected at the object's size on the network's input, times the
    square of the share of the object that the block shows; the square because half an object is
    less than half as likely to be recognised. The share is that of the box grown by ``sigma``, so
    that an object which may well be elsewhere is not taken for looked at. Of several blocks the
    best counts, since they fail on the same objects. All of this is ours.

    Args:
        corners: (4, N) left, top, right and bottom of expected boxes in the frame, with an area.
        sigma: (2, N) standard deviation of their centres in pixels.
        blocks: those of the frame whose answers arrived.
        frame_size: (width, height) in pixels; nobody can look beyond it.
        recall: see there; asked once per network, for the objects that its blocks show.
    """
    count = corners.shape[1]
    best = np.zeros((len(blocks), count))
    if not best.size:
        return np.zeros(count)
    by_network: dict[str | None, list[BlockRequest]] = {}
    for request in (planned.request for planned in blocks):
        network = None if request.variant is None else request.variant.model
        by_network.setdefault(network, []).append(request)
    requests = [request for group in by_network.values() for request in group]
    rects = np.array([request.block.xyxy for request in requests], np.float64).T[:, :, None]
    scales = np.array([request.input_scale for request in requests])
    low = np.maximum(corners[:2] - sigma, 0.0)
    high = np.minimum(corners[2:] + sigma, np.array(frame_size, np.float64)[:, None])
    shown = np.minimum(high[:, None], rects[2:]) - np.maximum(low[:, None], rects[:2])
    # Few blocks show an object: only these pairs are looked at any further.
    some = shown > 0
    pairs = (some[0] & some[1]).ravel().nonzero()[0]
    block, track = np.divmod(pairs, count)
    shown, grown = shown.reshape(2, -1).take(pairs, axis=1), high - low
    share = shown[0] * shown[1] / (grown[0] * grown[1])[track]
    sides = corners[2:] - corners[:2]
    sizes = np.sqrt(sides[0] * sides[1])[track] * scales[block]
    chance = np.square(share)
    begin = behind = 0
    for group in by_network.values():
        behind += len(group)
        end = int(pairs.searchsorted(behind * count))
        if end > begin:
            chance[begin:end] *= recall(group[0].variant, sizes[begin:end])
        begin = end
    best.ravel()[pairs] = chance
    return np.asarray(best.max(axis=0))

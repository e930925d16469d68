"""Small pictures of single things, to train and measure AlexNet on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from re_pose_ros.coinference.alexnet import SIDE
from re_pose_ros.errors import InputError
from re_pose_ros.scenes import CLASSES
from re_pose_ros.training.crops import Crops

BACKGROUND = "background"
"""What pictures of scenes are called that show no object."""

_LEAST_SIDE = 8.0
_MOST_COVERED = 0.2
_CIFAR10 = (
    "airplane",
    "automobile",
    "bird",
    "cat",
    "deer",
    "dog",
    "frog",
    "horse",
    "ship",
    "truck",
)


@dataclass(frozen=True, slots=True, eq=False)
class Pictures:
    """N pictures.

    Attributes:
        images: (N, 32, 32, 3) uint8 BGR.
        class_ids: (N,) int64.
        labels: class names by class id.
    """

    images: NDArray[np.uint8]
    class_ids: NDArray[np.int64]
    labels: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.images)


def of_scenes(crops: Crops, per_class: int, seed: int) -> Pictures:
    """Objects of generated scenes, one per picture, and as many places without any.

    A picture is a square around an object, 1 to 1.4 times its longer side and a little off its
    centre, scaled to 32 pixels. Objects under 8 pixels, and those that others cover by more than a
    fifth, are left out.

    Args:
        crops: of scenes.
        per_class: most pictures of a class.
        seed: of what is chosen.
    """
    rng = np.random.default_rng([seed, len(crops)])
    counts = np.zeros(len(CLASSES) + 1, int)
    images, class_ids = [], []
    for index in rng.permutation(len(crops)):
        wanted = _objects(crops, index, counts < per_class)
        if not wanted and counts[-1] >= per_class:
            continue
        image, boxes = crops.image(index), crops.boxes[index]
        for k in wanted:
            square = _around(boxes[k], rng)
            images.append(_cut(image, square))
            class_ids.append(int(crops.class_ids[index][k]))
        empty = _empty_place(boxes, crops.side, rng)
        if empty is not None and counts[-1] < per_class:
            images.append(_cut(image, empty))
            class_ids.append(len(CLASSES))
        counts = np.bincount(class_ids, minlength=len(counts))
        if (counts >= per_class).all():
            break
    if not images:
        raise InputError("the crops show no object that is large enough; draw more scenes")
    order = rng.permutation(len(images))
    return Pictures(
        np.stack(images)[order],
        np.array(class_ids, np.int64)[order],
        (*CLASSES, BACKGROUND),
    )


def cifar10(folder: Path) -> tuple[Pictures, Pictures]:
    """CIFAR-10 (Krizhevsky, 2009) for training and for measuring, through torchvision.

    Args:
        folder: where it is looked for, and put if it has to be downloaded.

    Raises:
        InputError: it is not there and cannot be had.
    """
    from torchvision.datasets import CIFAR10

    try:
        parts = [CIFAR10(str(folder), train=train, download=True) for train in (True, False)]
    except Exception as error:  # no network, no rights, disk full: the way out is the same
        raise InputError(
            f"CIFAR-10 is not in {folder} and cannot be downloaded ({type(error).__name__}); "
            f"use --data scenes"
        ) from error
    train, test = (
        Pictures(p.data[..., ::-1].copy(), np.array(p.targets, np.int64), _CIFAR10) for p in parts
    )
    return train, test


def _objects(crops: Crops, index: int, open_classes: NDArray[np.bool_]) -> list[int]:
    """Objects of a crop that are large enough, seen, and of a class that more are wanted of."""
    boxes, ids = crops.boxes[index], crops.class_ids[index]
    if not len(boxes):
        return []
    corner = np.maximum(boxes[:, None, :2], boxes[None, :, :2])
    end = np.minimum(boxes[:, None, 2:], boxes[None, :, 2:])
    shared = (end - corner).clip(0).prod(axis=2)
    np.fill_diagonal(shared, 0)
    sides = boxes[:, 2:] - boxes[:, :2]
    covered = shared.max(axis=1) / sides.prod(axis=1)
    chosen = (sides.max(axis=1) >= _LEAST_SIDE) & (covered <= _MOST_COVERED) & open_classes[ids]
    return [int(k) for k in np.flatnonzero(chosen)]


def _around(box: NDArray[np.float32], rng: np.random.Generator) -> tuple[float, float, float]:
    """Left, top and side of a square."""
    width, height = box[2:] - box[:2]
    side = float(max(width, height)) * rng.uniform(1.0, 1.4)
    x, y = (box[:2] + box[2:]) / 2 + rng.uniform(-0.08, 0.08, 2) * side
    return float(x) - side / 2, float(y) - side / 2, side


def _empty_place(
    boxes: NDArray[np.float32], side: int, rng: np.random.Generator
) -> tuple[float, float, float] | None:
    """A square that touches no object, if one is found soon."""
    for _ in range(8):
        span = float(rng.uniform(_LEAST_SIDE, 64))
        x, y = rng.uniform(0, side - span, 2)
        apart = (boxes[:, :2] >= [x + span, y + span]) | (boxes[:, 2:] <= [x, y])
        if apart.any(axis=1).all():
            return float(x), float(y), span
    return None


def _cut(image: NDArray[np.uint8], square: tuple[float, float, float]) -> NDArray[np.uint8]:
    """A square of an image at 32x32; what is outside repeats the border."""
    left, top, side = square
    scale = side / SIDE
    if scale > 1:  # fewer pixels: blur first, as an area filter would
        image = np.asarray(cv2.blur(image, (round(scale), round(scale))), np.uint8)
    middle = scale / 2 - 0.5
    matrix = np.array([[scale, 0, left + middle], [0, scale, top + middle]])
    return np.asarray(
        cv2.warpAffine(
            image,
            matrix,
            (SIDE, SIDE),
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REPLICATE,
        ),
        np.uint8,
    )

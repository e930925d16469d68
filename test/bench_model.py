"""Stand-in networks that a bench's worker processes can import."""

from __future__ import annotations

import os
import signal
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from re_pose_ros.detection.model import Model
from re_pose_ros.detection.profile import Profile, VariantProfile
from re_pose_ros.detection.size_accuracy import SizeAccuracy
from re_pose_ros.errors import InputError
from re_pose_ros.plan import Variant


def bright_squares(batch: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
    """Boxes of the white areas of (B, H, W, 3) images, as a network would report them."""
    results = []
    for image in batch:
        _, _, stats, _ = cv2.connectedComponentsWithStats(
            (image.min(axis=2) > 200).astype(np.uint8)
        )
        rows = [[x, y, x + w, y + h, 0.9, 0] for x, y, w, h, area in stats[1:] if area > 12]
        results.append(np.array(rows, np.float32).reshape(-1, 6))
    return results


def dies_at_red(batch: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
    """As ``bright_squares``, but a picture that is all red kills the process."""
    if ((batch[..., 2] > 200) & (batch[..., 0] < 50)).mean() > 0.9:
        os.kill(os.getpid(), signal.SIGKILL)
    return bright_squares(batch)


def core_as_box(batch: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
    """One box, whose width tells the core that this process may run on."""
    (core,) = os.sched_getaffinity(0)
    return [np.array([[0, 0, core + 1, 1, 1, 0]], np.float32) for _ in batch]


NETWORKS = {"squares": bright_squares, "dies": dies_at_red, "core": core_as_box}


def load(weights: str, *, confidence: float, threads: int) -> Model:
    """As ``load_model`` is called by a worker; ``weights`` of ``NETWORKS``, or it cannot load."""
    if weights not in NETWORKS:
        raise InputError(f"model '{weights}' does not exist; give the path of a model file")
    return Model(
        name=weights,
        labels=("square",),
        stride=32,
        fixed_size=None,
        max_batch=8,
        device="cpu",
        predict=NETWORKS[weights],
    )


def broken(weights: str, *, confidence: float, threads: int) -> Model:
    """A runtime with a fault of its own."""
    raise RuntimeError("the driver\nis gone")


def profiled(path: str, weights: str, *, confidence: float, threads: int) -> Model:
    """As ``load``, of a file beside which there may be a profile."""
    return replace(load(weights, confidence=confidence, threads=threads), path=Path(path))


def profile(model: str = "squares", sizes: tuple[int, ...] = (320, 640)) -> Profile:
    """Of a worker that takes 5 ms per 100,000 pixels of a 16:9 input, and finds what is large."""
    accuracy = SizeAccuracy(
        edges=(4.0, 8.0, 16.0, 32.0, 64.0, 128.0),
        recall=(0.05, 0.4, 0.8, 0.9, 0.9),
        ap=(0.05, 0.4, 0.8, 0.9, 0.9),
        count=(50, 50, 50, 50, 50),
        false_positives=0.5,
        crops=100,
    )
    entries = tuple(
        VariantProfile(Variant(model, size), 5e-5 * size * size * 9 / 16, accuracy=accuracy)
        for size in sizes
    )
    return Profile("core", "cpu", ("square",), entries, ("by hand",))

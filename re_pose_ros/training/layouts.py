"""Where objects are in frames: what partitioners are trained on."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from re_pose_ros.datasets import open_dataset
from re_pose_ros.errors import InputError
from re_pose_ros.scenes import SceneSpec
from re_pose_ros.scenes.kinds import KINDS
from re_pose_ros.scenes.scene import Scene
from re_pose_ros.training.crops import FIRST_SEED, scene_files

FRAMES = 6
"""Frames of each generated scene, a second or more apart."""

_APART = 30
_SIZES = ((3840, 2160), (3840, 2160), (3840, 2160), (1920, 1080), (7680, 4320))


@dataclass(frozen=True, slots=True, eq=False)
class Layout:
    """The objects of one frame.

    Attributes:
        frame_size: (width, height) in pixels.
        boxes: (N, 4) float32, corners in pixels, N may be 0.
        class_id: (N,) int32.
    """

    frame_size: tuple[int, int]
    boxes: NDArray[np.float32]
    class_id: NDArray[np.int32]


def scene_of(index: int, seed: int, first: int = FIRST_SEED) -> SceneSpec:
    """The scene of an index: kind, size and crowd vary, from nearly empty to crowded.

    ``first`` is the seed of the first scene; below ``FIRST_SEED`` they are not for training.
    """
    rng = np.random.default_rng([seed, index, 4])
    kinds = sorted(KINDS)
    return SceneSpec(
        kinds[index % len(kinds)],
        first + seed * 100_000 + index,
        size=_SIZES[index // len(kinds) % len(_SIZES)],
        objects=float(np.exp(rng.uniform(np.log(0.15), np.log(2.5)))),
    )


def collect(
    folder: Path, scenes: int, seed: int, processes: int, first: int = FIRST_SEED
) -> list[Layout]:
    """Layouts of ``scenes`` scenes of ``scene_of``; what ``folder`` has is not made anew.

    Raises:
        InputError: the folder cannot be written, or a file in it holds no layouts.
    """
    specs = [scene_of(k, seed, first) for k in range(scenes)]
    paths = scene_files(folder, seed, specs, _write, processes)
    return [layout for path in paths for layout in _read(path)]


def layouts_of(specs: Sequence[str], step: int = 25) -> list[Layout]:
    """Layouts of the user's own annotated data or bags, every ``step`` frames.

    Raises:
        InputError: a spec cannot be opened, or there are no objects in any of them.
    """
    found = []
    for spec in specs:
        for frame, truth in tqdm(open_dataset(spec, step=step), spec, unit="frame"):
            known = truth.take(~truth.ignore)
            found.append(Layout(frame.size, known.xyxy.astype(np.float32), known.class_id))
    if specs and not any(len(layout.boxes) for layout in found):
        raise InputError(f"there are no objects in {', '.join(specs)}; give annotated data")
    return found


def _write(path: Path, spec: SceneSpec) -> None:
    cv2.setNumThreads(1)
    scene = Scene(spec)
    rng = np.random.default_rng([spec.seed, 78])
    known = []
    for k in range(FRAMES):
        _, truth = scene.render(k * _APART + int(rng.integers(_APART)))
        known.append(truth.take(~truth.ignore))
    partial = path.with_suffix(".part")
    with partial.open("wb") as file:
        np.savez(
            file,
            size=np.array(spec.size),
            boxes=np.concatenate([own.xyxy.astype(np.float32) for own in known]),
            class_id=np.concatenate([own.class_id for own in known]),
            count=np.array([len(own) for own in known]),
        )
    partial.replace(path)


def _read(path: Path) -> list[Layout]:
    try:
        with np.load(path) as arrays:
            width, height = arrays["size"].tolist()
            ends = np.cumsum(arrays["count"])[:-1]
            parts = zip(
                np.split(arrays["boxes"].reshape(-1, 4), ends),
                np.split(arrays["class_id"], ends),
                strict=True,
            )
            return [Layout((width, height), boxes, classes) for boxes, classes in parts]
    except (OSError, EOFError, TypeError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise InputError(f"{path} holds no layouts; delete it to have it made anew") from error

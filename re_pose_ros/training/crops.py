"""Training pictures for detectors: crops of generated scenes, at the scales that blocks have."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Callable, Sequence
from concurrent.futures import as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from re_pose_ros.errors import InputError
from re_pose_ros.geometry import Block
from re_pose_ros.ground_truth import GroundTruth
from re_pose_ros.image_codec import decode_compressed, encode_jpeg
from re_pose_ros.scenes import SceneSpec
from re_pose_ros.scenes.kinds import KINDS
from re_pose_ros.scenes.scene import Scene
from re_pose_ros.training.process_pool import process_pool

FIRST_SEED = 1_000_000
"""Scenes with seeds from here on are for training; none of them may be used to measure."""

SMALL, LARGE = 320, 640
"""Sides of the crops in pixels; large ones show what is large, small ones train faster."""

_FRAMES = 12
_SMALL_PER_FRAME, _LARGE_PER_FRAME = 16, 1
_LEAST_INSIDE = 0.4
_LEAST_SIDE = 2.5


@dataclass(frozen=True, slots=True, eq=False)
class Crops:
    """Pictures of one side with their objects.

    Attributes:
        side: width and height in pixels.
        jpegs: B pictures.
        boxes: B arrays (N, 4) float32, corners in pixels of the picture.
        class_ids: B arrays (N,) int32.
    """

    side: int
    jpegs: tuple[bytes, ...]
    boxes: tuple[NDArray[np.float32], ...]
    class_ids: tuple[NDArray[np.int32], ...]

    def __len__(self) -> int:
        return len(self.jpegs)

    def image(self, index: int) -> NDArray[np.uint8]:
        """Picture ``index`` (side, side, 3) in BGR."""
        return decode_compressed(self.jpegs[index])


def scene_of(index: int, seed: int) -> SceneSpec:
    """The training scene of an index: kind, seed, light, noise and crowd vary."""
    rng = np.random.default_rng([seed, index])
    kinds = sorted(KINDS)
    return SceneSpec(
        kinds[index % len(kinds)],
        FIRST_SEED + seed * 100_000 + index,
        objects=float(rng.uniform(0.6, 1.6)),
        light=float(rng.uniform(0, 1)),
        noise=float(rng.uniform(0, 1)),
    )


def scene_files(
    folder: Path,
    seed: int,
    specs: Sequence[SceneSpec],
    write: Callable[[Path, SceneSpec], None],
    processes: int,
) -> list[Path]:
    """One file per scene in ``folder``; those that are missing are made by ``write``.

    Args:
        folder: is made where it is missing.
        seed: part of the files' names.
        specs: of the scenes.
        write: draws a scene and writes the file; importable, as it is called in other processes.
        processes: how many of these.

    Raises:
        InputError: the folder cannot be made.
    """
    paths = [folder / f"seed{seed}_scene{k:04d}.npz" for k in range(len(specs))]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{folder} cannot be made: {error.strerror}") from error
    missing = [k for k, path in enumerate(paths) if not path.exists()]
    if missing:
        with process_pool(processes) as pool:
            jobs = [pool.submit(write, paths[k], specs[k]) for k in missing]
            for job in tqdm(as_completed(jobs), "drawing scenes", len(jobs), unit="scene"):
                job.result()
    return paths


def collect(folder: Path, scenes: int, seed: int, processes: int) -> tuple[Crops, Crops]:
    """Crops of ``scenes`` scenes, small ones and large ones; what ``folder`` has is not made anew.

    Raises:
        InputError: the folder cannot be written, or a file in it is no such crops.
    """
    return crops_of(folder, [scene_of(k, seed) for k in range(scenes)], seed, processes)


def crops_of(
    folder: Path, specs: Sequence[SceneSpec], seed: int, processes: int
) -> tuple[Crops, Crops]:
    """As ``collect``, of scenes that are given; ``seed`` is part of the files' names."""
    paths = scene_files(folder, seed, specs, _write, processes)
    parts = [_read(path) for path in paths]
    return _joined([small for small, _ in parts]), _joined([large for _, large in parts])


def _write(path: Path, spec: SceneSpec) -> None:
    cv2.setNumThreads(1)
    scene = Scene(spec)
    rng = np.random.default_rng([spec.seed, 77])
    small: list[tuple[bytes, NDArray[np.float32], NDArray[np.int32]]] = []
    large = []
    for k in range(_FRAMES):
        image, truth = scene.render(k * 40 + int(rng.integers(40)))
        small += [_crop(image, truth, SMALL, rng) for _ in range(_SMALL_PER_FRAME)]
        large += [_crop(image, truth, LARGE, rng) for _ in range(_LARGE_PER_FRAME)]
    arrays: dict[str, Any] = {}
    for name, crops in (("small", small), ("large", large)):
        arrays[f"{name}_jpeg"] = np.frombuffer(b"".join(c[0] for c in crops), np.uint8)
        arrays[f"{name}_bytes"] = np.array([len(c[0]) for c in crops])
        arrays[f"{name}_boxes"] = np.concatenate([c[1] for c in crops])
        arrays[f"{name}_class_id"] = np.concatenate([c[2] for c in crops])
        arrays[f"{name}_count"] = np.array([len(c[2]) for c in crops])
    partial = path.with_suffix(".part")
    with partial.open("wb") as file:
        np.savez(file, **arrays)
    partial.replace(path)


def _crop(
    image: NDArray[np.uint8], truth: GroundTruth, side: int, rng: np.random.Generator
) -> tuple[bytes, NDArray[np.float32], NDArray[np.int32]]:
    scale = _scale(side, rng)
    span = min(round(side / scale), *image.shape[:2])
    scale = side / span
    block = _place(truth, (image.shape[1], image.shape[0]), span, rng)
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    picture = cv2.resize(block.crop(image), (side, side), interpolation=method)
    boxes, class_id = _labels(truth, block, scale)
    return (
        bytes(encode_jpeg(np.asarray(picture, np.uint8), int(rng.integers(75, 98)))),
        boxes,
        class_id,
    )


def _scale(side: int, rng: np.random.Generator) -> float:
    """Pixels of the crop per pixel of the frame: mostly native, some enlarged, some far smaller."""
    least = 0.17 if side == SMALL else 0.3
    pick = rng.random()
    if pick < 0.45:
        return 1.0
    if pick < 0.8:
        return math.exp(rng.uniform(math.log(0.4), 0.0))
    if pick < 0.9:
        return math.exp(rng.uniform(0.0, math.log(2.0)))
    return math.exp(rng.uniform(math.log(least), math.log(0.4)))


def _place(
    truth: GroundTruth, frame_size: tuple[int, int], span: int, rng: np.random.Generator
) -> Block:
    """A square somewhere, mostly around an object; rare classes are looked for more often."""
    width, height = frame_size
    seen = np.flatnonzero(~truth.ignore)
    if len(seen) and rng.random() < 0.85:
        counts = np.bincount(truth.class_id[seen])
        weights = counts[truth.class_id[seen]] ** -0.7
        x1, y1, x2, y2 = truth.xyxy[rng.choice(seen, p=weights / weights.sum())]
        x = (x1 + x2) / 2 - span * rng.uniform(0.15, 0.85)
        y = (y1 + y2) / 2 - span * rng.uniform(0.15, 0.85)
    else:
        x, y = rng.uniform(0, width - span + 1), rng.uniform(0, height - span + 1)
    left, top = (int(np.clip(v, 0, limit - span)) for v, limit in ((x, width), (y, height)))
    return Block(left, top, span, span)


def _labels(
    truth: GroundTruth, block: Block, scale: float
) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """The objects that enough is seen of, clipped to the crop, in its pixels."""
    corner = np.array([block.x, block.y] * 2, np.float32)
    boxes = (truth.xyxy - corner) * scale
    inside = boxes.clip(0, block.width * scale)
    sides = inside[:, 2:] - inside[:, :2]
    share = sides.prod(axis=1) / (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    keep = (share >= _LEAST_INSIDE) & ~truth.ignore
    keep &= sides.min(axis=1) >= _LEAST_SIDE
    return inside[keep].astype(np.float32), truth.class_id[keep]


def _read(path: Path) -> tuple[Crops, Crops]:
    try:
        with np.load(path) as arrays:
            return _unpacked(arrays, "small", SMALL), _unpacked(arrays, "large", LARGE)
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise InputError(f"{path} is no file of crops; delete it to have it made anew") from error


def _unpacked(arrays: np.lib.npyio.NpzFile, name: str, side: int) -> Crops:
    data = arrays[f"{name}_jpeg"].tobytes()
    sizes = arrays[f"{name}_bytes"].tolist()
    starts = np.cumsum([0, *sizes[:-1]]).tolist()
    splits = np.cumsum(arrays[f"{name}_count"])[:-1]
    return Crops(
        side,
        tuple(data[start : start + size] for start, size in zip(starts, sizes, strict=True)),
        tuple(np.split(arrays[f"{name}_boxes"], splits)),
        tuple(np.split(arrays[f"{name}_class_id"], splits)),
    )


def _joined(parts: list[Crops]) -> Crops:
    return Crops(
        parts[0].side,
        tuple(jpeg for part in parts for jpeg in part.jpegs),
        tuple(boxes for part in parts for boxes in part.boxes),
        tuple(ids for part in parts for ids in part.class_ids),
    )

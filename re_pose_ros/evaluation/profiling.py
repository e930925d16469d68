"""The profile of networks: time on this machine and accuracy by object size on annotated frames."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from re_pose_ros.datasets import ClassMap, choose_class_map, open_datasets
from re_pose_ros.detection.model import load_model
from re_pose_ros.detection.profile import Profile, measure, profile_beside, write_profile
from re_pose_ros.detection.size_accuracy import SIZE_EDGES, SizeAccuracy
from re_pose_ros.detection.worker import Request, Worker
from re_pose_ros.errors import InputError
from re_pose_ros.evaluation.by_size import SizeTally, object_sizes
from re_pose_ros.frame import Frame
from re_pose_ros.geometry import Block, whole
from re_pose_ros.ground_truth import GroundTruth
from re_pose_ros.plan import Variant

SCALES = (0.125, 0.25, 0.5, 1.0, 2.0, 4.0)
"""Input pixels per image pixel of the crops, besides that of the whole frame."""

LEAST_CONFIDENCE = 0.01
"""Of the detections from which the average precision is taken."""

_LEAST_SIDE = 32


@dataclass(frozen=True, slots=True)
class CropSettings:
    """How much is looked at.

    Attributes:
        per_scale: crops per frame and scale, besides the whole frame.
        confidence: what recall and false positives are taken at, in [0, 1].
        seed: of where the crops are.

    Raises InputError for a value out of range.
    """

    per_scale: int = 2
    confidence: float = 0.25
    seed: int = 0

    def __post_init__(self) -> None:
        if self.per_scale < 0 or self.seed < 0:
            raise InputError(f"crops {self.per_scale} and seed {self.seed} must not be negative")
        if not 0 <= self.confidence <= 1:
            raise InputError(f"confidence is {self.confidence}; it has to be between 0 and 1")


def measure_accuracy(
    worker: Worker,
    frames: Iterable[tuple[Frame, GroundTruth]],
    settings: CropSettings | None = None,
    classes: ClassMap | None = None,
) -> dict[Variant, SizeAccuracy]:
    """Look at crops of ``frames`` with each variant of ``worker``.

    Every variant sees each frame whole and in crops of the frame's shape whose longer side maps
    to the network's input at ``SCALES``. A crop is placed around an object whose size, at that
    scale, is in the bin with the fewest objects so far, so that all bins are filled; where that
    object lies in the crop is drawn by chance. Objects that the crop's edge cuts are ignored.

    Args:
        worker: its models should report detections of low confidence, which the average precision
            needs.
        frames: with their truth.
        settings: None takes the defaults.
        classes: brings the worker's detections to the classes of the truth; None where these are
            the worker's.
    """
    settings = settings or CropSettings()
    tallies = {variant: SizeTally() for variant in worker.variants}
    # Networks with the same input size look at the same crops.
    rngs = {v: np.random.default_rng([settings.seed, v.input_size]) for v in worker.variants}
    for frame, truth in frames:
        for variant, tally in tallies.items():
            rng, input_size = rngs[variant], variant.input_size
            for block in _crops(frame.size, truth, input_size, tally, settings, rng):
                request = Request(block.crop(frame.image), block, variant)
                (found,), _ = worker.process([request])
                if classes is not None:
                    found = classes.map_detections(found, worker.labels)
                scale = input_size / max(block.width, block.height)
                tally.add(found, truth_inside(truth, block), scale)
    return {variant: tally.accuracy(settings.confidence) for variant, tally in tallies.items()}


@dataclass(frozen=True, slots=True)
class ProfileOptions:
    """What to measure.

    Attributes:
        models: weights as of ``load_model``, at least one.
        input_sizes: network inputs in pixels.
        data: annotated frames as of ``open_datasets``; empty measures times alone.
        class_map: as of ``choose_class_map``.
        out: the file; None writes one beside each of the weights, where detectors find it.
        batches: numbers of blocks to time together.
        repeats: timed runs per variant.
        device: of the networks.
        threads: of the networks on a CPU; 0 is ultralytics' choice.
        crops: see ``CropSettings``.
    """

    models: tuple[str, ...]
    input_sizes: tuple[int, ...]
    data: tuple[str, ...] = ()
    class_map: str = ""
    out: Path | None = None
    batches: tuple[int, ...] = (2, 4, 8)
    repeats: int = 10
    device: str = "cpu"
    threads: int = 0
    crops: CropSettings = CropSettings()


def run_profile(options: ProfileOptions) -> dict[Path, Profile]:
    """Measure, show progress on stderr and write; gives the profiles by file.

    Raises:
        InputError: a model, dataset or file cannot be used, or they have no class in common.
    """
    if not options.models:
        raise InputError("no model is given; name at least one, as scene-n")
    if options.repeats < 1:
        raise InputError(f"repeats is {options.repeats}; it has to be at least 1")
    frames = open_datasets(options.data) if options.data else None
    models = [
        load_model(
            weights, device=options.device, confidence=LEAST_CONFIDENCE, threads=options.threads
        )
        for weights in options.models
    ]
    worker = Worker(models, options.input_sizes)
    classes = None
    if frames is not None:  # before the long work: they may not fit
        classes = choose_class_map(worker.labels, frames.labels, options.class_map)
    profile = _timed(worker, options)
    if frames is not None and classes is not None:
        mapped = ((f, classes.map_truth(truth, frames.labels)) for f, truth in frames)
        with tqdm(mapped, total=len(frames), desc="looking", unit="frame", disable=None) as passed:
            accuracy = measure_accuracy(worker, passed, options.crops, classes)
        entries = [replace(e, accuracy=accuracy[e.variant]) for e in profile.variants]
        profile = replace(profile, variants=tuple(entries), data=options.data)
    files = _files(profile, worker, options.out)
    for path, part in files.items():
        write_profile(path, part)
    return files


def _timed(worker: Worker, options: ProfileOptions) -> Profile:
    """One variant after the other, for the progress bar."""
    by_name = {model.name: model for model in worker.models}
    parts = []
    with tqdm(worker.variants, desc="timing", unit="variant", disable=None) as variants:
        for variant in variants:
            alone = Worker([by_name[variant.model]], [variant.input_size])
            parts.append(measure(alone, batches=options.batches, repeats=options.repeats))
    entries = tuple(entry for part in parts for entry in part.variants)
    return replace(parts[0], device=worker.device, variants=entries)


def _files(profile: Profile, worker: Worker, out: Path | None) -> dict[Path, Profile]:
    if out is not None:
        return {out: profile}
    files = {}
    for model in worker.models:
        assert model.path is not None
        own = tuple(entry for entry in profile.variants if entry.variant.model == model.name)
        files[profile_beside(model.path)] = replace(profile, variants=own)
    return files


def profile_table(profile: Profile) -> str:
    """Times, and recall by size where it is known, for people."""
    rows = []
    for entry in profile.variants:
        batches = "".join(f", {count} blocks {ms:.1f} ms" for count, ms in entry.batch_ms.items())
        rows.append(f"{entry.variant!s:<16} 1 block {entry.time_ms:.1f} ms{batches}")
    known = [(str(e.variant), e.accuracy) for e in profile.variants if e.accuracy is not None]
    if not known:
        return "\n".join(rows)
    rows += ["", "recall and AP at IoU 0.5, objects; by object size in pixels of the input"]
    rows.append(" " * 12 + "".join(f"{name:>18}" for name, _ in known))
    for k, (low, high) in enumerate(pairwise(known[0][1].edges)):
        cells = [_cell(a.recall[k], a.ap[k], a.count[k]) for _, a in known]
        rows.append(f"{low:>4.0f} to {high:>4.0f}" + "".join(f"{cell:>18}" for cell in cells))
    return "\n".join(rows)


def _cell(recall: float | None, ap: float | None, count: int) -> str:
    return "-" if recall is None else f"{recall:.2f} {ap:.2f} {count:>5}"


def truth_inside(truth: GroundTruth, block: Block) -> GroundTruth:
    """The objects and ignored regions in ``block``, still in full-image pixels, clipped to it.

    What the block's edge cuts is ignored.
    """
    left, top, right, bottom = block.xyxy
    bounds = np.array([left, top, right, bottom], np.float32)

    def clipped(boxes: NDArray[np.float32]) -> NDArray[np.float32]:
        return boxes.clip(np.tile(bounds[:2], 2), np.tile(bounds[2:], 2))

    inside = replace(
        truth,
        xyxy=clipped(truth.xyxy),
        ignored_regions=clipped(truth.ignored_regions),
        ignore=truth.ignore | (clipped(truth.xyxy) != truth.xyxy).any(axis=1),
    )
    return inside.solid()


def _crops(
    size: tuple[int, int],
    truth: GroundTruth,
    input_size: int,
    tally: SizeTally,
    settings: CropSettings,
    rng: np.random.Generator,
) -> Iterator[Block]:
    """The whole frame, and crops of its shape around objects of sizes that are still rare."""
    yield whole(*size)
    objects = truth.xyxy[~truth.ignore].astype(float)
    sizes = object_sizes(objects)
    for scale in SCALES:
        longer = round(input_size / scale)
        ratio = longer / max(size)
        wide, high = round(size[0] * ratio), round(size[1] * ratio)
        if longer >= 0.9 * max(size) or min(wide, high) < _LEAST_SIDE:
            continue
        for _ in range(settings.per_scale):
            # Some room on each side: an object that fills the crop is none to learn from.
            room = np.array([wide, high]) * 0.8
            fits = np.flatnonzero(((objects[:, 2:] - objects[:, :2]) <= room).all(axis=1))
            place = np.searchsorted(SIZE_EDGES, sizes[fits] * scale, side="right") - 1
            known = (place >= 0) & (place < len(SIZE_EDGES) - 1)
            fits, place = fits[known], place[known]
            if not len(fits):
                break
            rare = tally.counts[place]
            chosen = objects[rng.choice(fits[rare == rare.min()])]
            yield _around(chosen, (wide, high), size, rng)


def _around(
    box: NDArray[np.float64],
    crop: tuple[int, int],
    size: tuple[int, int],
    rng: np.random.Generator,
) -> Block:
    """A crop inside the frame that shows the whole box, somewhere in it."""
    corner = []
    for low, high, side, limit in zip(box[:2], box[2:], crop, size, strict=True):
        least = max(0, math.ceil(high) - side)
        most = min(limit - side, math.floor(low))
        # Annotations may reach beyond the image.
        corner.append(min(int(rng.integers(least, max(least, most) + 1)), limit - side))
    return Block(corner[0], corner[1], *crop)

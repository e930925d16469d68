"""``train table``: what every setting of co-inference costs and finds, measured on the real graph.

Every setting goes the whole way, from a picture to bytes and from these to a result; nothing is
added up from parts.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from re_pose_ros.coinference.alexnet import SHIPPED as ALEXNET_WEIGHTS
from re_pose_ros.coinference.alexnet import SIDE, load_alexnet
from re_pose_ros.coinference.classifier import GRAPH as ALEXNET
from re_pose_ros.coinference.classifier import ClassifierHalves
from re_pose_ros.coinference.halves import Halves
from re_pose_ros.coinference.profile import Action, ActionTable
from re_pose_ros.coinference.setting import BITS, DEVICE, Setting
from re_pose_ros.detection.model import load_model
from re_pose_ros.detections import Detections
from re_pose_ros.evaluation import evaluate_coco
from re_pose_ros.ground_truth import GroundTruth
from re_pose_ros.image_codec import decode_compressed, encode_jpeg
from re_pose_ros.provenance import machine
from re_pose_ros.scenes import CLASSES
from re_pose_ros.training.crops import Crops
from re_pose_ros.training.distil import CONFIDENCE, held_out
from re_pose_ros.training.pictures import Pictures, of_scenes

Image = NDArray[np.uint8]

QUALITIES = (20, 40, 60, 80, 90)
"""Of the JPEG pictures at cut 0."""

PLAIN_CUTS = 2
"""Cuts without a bottleneck per exit: those at which least is alive."""

SIZE_EDGES = (16.0, 48.0)
"""Object sizes in input pixels between small, middle and large ones."""

_TIMED = 12
_PER_CLASS = 400


class Graph(Protocol):
    """A network that can be shared between robot and worker."""

    @property
    def exits(self) -> tuple[str, ...]:
        """Names, the earliest first."""

    def head(self, image: Image, input_size: int, setting: Setting) -> bytes:
        """What the robot sends; see ``Halves.head``."""

    def finished(self, data: bytes) -> Any:
        """What the worker makes of it."""

    def whole(self, image: Image, input_size: int, exit: str) -> Any:
        """What the network that ends at ``exit`` makes of a picture."""


@dataclass(frozen=True, slots=True)
class DetectorGraph:
    """A detector as a ``Graph``; results are detections."""

    halves: Halves

    @property
    def exits(self) -> tuple[str, ...]:
        return self.halves.exits

    def head(self, image: Image, input_size: int, setting: Setting) -> bytes:
        return self.halves.head(image, input_size, setting)

    def finished(self, data: bytes) -> Detections:
        return self.halves.tail(data)[0]

    def whole(self, image: Image, input_size: int, exit: str) -> Detections:
        return self.halves.at(exit).detect([image], input_size)[0]


def detector_settings(halves: Halves) -> list[Setting]:
    """What is worth measuring of a detector: all exits, at cuts where little is sent."""
    network, found = halves.staged.network, []
    for exit in halves.exits:
        narrow = [
            cut
            for cut in halves.cuts[exit]
            if network.alive(cut, exit) in halves.staged.bottlenecks
        ]
        plain = sorted(
            (cut for cut in halves.cuts[exit] if cut not in narrow),
            key=lambda cut: _alive_values(halves, cut, exit),
        )
        found += settings_of(exit, sorted({*narrow, *plain[:PLAIN_CUTS]}))
    return found


def settings_of(exit: str, cuts: Sequence[int]) -> list[Setting]:
    """Of one exit: the picture at all qualities, features at these cuts, and the robot alone."""
    return [
        *(Setting(exit, 0, 0, quality) for quality in QUALITIES),
        *(Setting(exit, cut, bits, 0) for cut in cuts for bits in BITS),
        Setting(exit, DEVICE, 0, 0),
    ]


def _alive_values(halves: Halves, cut: int, exit: str) -> float:
    """How many numbers are alive across a cut, per pixel of the input."""
    maps = [halves.staged.maps[stage] for stage in halves.staged.network.alive(cut, exit)]
    return sum(channels / stride**2 for channels, stride in maps)


Judge = Callable[[list[Any]], tuple[float, tuple[float, ...] | None]]
"""Accuracy of the results of all pictures, over all objects and by their size."""


def measure(
    graph: Graph,
    settings: Sequence[Setting],
    images: Sequence[Image],
    judge: Judge,
    input_sizes: Sequence[int],
) -> tuple[Action, ...]:
    """Measure all settings.

    Args:
        graph: on one thread.
        settings: of it.
        images: for the accuracy, at the largest of the input sizes; the first few, scaled, also for
            times and bytes.
        judge: of their results.
        input_sizes: rising.
    """
    actions = []
    for setting in tqdm(settings, unit="setting", disable=None):
        results = [_through(graph, image, input_sizes[-1], setting)[0] for image in images]
        accuracy, by_size = judge(results)
        costs = np.array([_costs(graph, images, size, setting) for size in input_sizes])
        device, edge, size = (tuple(float(v) for v in column) for column in costs.T)
        actions.append(Action(setting, accuracy, by_size, device, edge, size))
    return tuple(actions)


def _costs(
    graph: Graph, images: Sequence[Image], input_size: int, setting: Setting
) -> tuple[float, float, float]:
    """Median milliseconds on the robot and on the worker, and mean bytes."""
    rows = []
    for image in images[: _TIMED + 1]:
        small = image
        if max(image.shape[:2]) != input_size:
            small = cv2.resize(image, (input_size, input_size), interpolation=cv2.INTER_AREA)  # type: ignore[assignment]
        rows.append(_through(graph, small, input_size, setting)[1:])
    # The first is slower, as nothing is in the caches.
    device, edge, size = np.array(rows[1:] or rows).T
    return (
        round(float(np.median(device)), 3),
        round(float(np.median(edge)), 3),
        round(float(size.mean())),
    )


def _through(
    graph: Graph, image: Image, input_size: int, setting: Setting
) -> tuple[Any, float, float, int]:
    """A picture's result, milliseconds of the processor on robot and worker, and bytes between."""
    begun = time.process_time()
    if not setting.sends:
        result = graph.whole(image, input_size, setting.exit)
        return result, (time.process_time() - begun) * 1e3, 0.0, 0
    if setting.sends_features:
        data = graph.head(image, input_size, setting)
    else:
        data = bytes(encode_jpeg(image, setting.quality))
    sent = time.process_time()
    if setting.sends_features:
        result = graph.finished(data)
    else:
        result = graph.whole(decode_compressed(data), input_size, setting.exit)
    done = time.process_time()
    return result, (sent - begun) * 1e3, (done - sent) * 1e3, len(data)


def detector_table(halves: Halves, crops: Crops, pictures: int = 72) -> ActionTable:
    """The table of a detector.

    Args:
        halves: on one thread, reporting detections of little confidence.
        crops: of scenes that nothing was trained on; those of the larger side.
        pictures: most of them.
    """
    chosen = np.linspace(0, len(crops) - 1, min(pictures, len(crops))).astype(int)
    images = [crops.image(k) for k in chosen]
    truths = [GroundTruth.of(crops.boxes[k], crops.class_ids[k]) for k in chosen]
    sizes = crops.side // 2, crops.side
    actions = measure(
        DetectorGraph(halves),
        detector_settings(halves),
        images,
        lambda found: _detections_judged(found, truths),
        sizes,
    )
    return ActionTable(
        "detector",
        halves.staged.model.name,
        halves.model_hash,
        machine(),
        sizes,
        SIZE_EDGES,
        actions,
    )


def _detections_judged(
    found: Sequence[Detections], truths: Sequence[GroundTruth]
) -> tuple[float, tuple[float, ...]]:
    """mAP50 of all, and of objects of each size alone, the others neither asked for nor false."""
    edges = (0.0, *SIZE_EDGES, np.inf)
    by_size = []
    for low, high in pairwise(edges):
        own = [
            replace(t, ignore=t.ignore | ~((low <= _sizes(t)) & (_sizes(t) < high))) for t in truths
        ]
        within = [
            f.take(np.flatnonzero((f_sizes >= 0.7 * low) & (f_sizes < 1.4 * high)))
            for f, f_sizes in ((f, _sizes(f)) for f in found)
        ]
        by_size.append(_map50(within, own))
    return _map50(found, truths), tuple(by_size)


def _sizes(of: Detections | GroundTruth) -> NDArray[np.float64]:
    sides = (of.xyxy[:, 2:] - of.xyxy[:, :2]).astype(np.float64)
    return np.asarray(np.sqrt(sides.prod(axis=1)))


def _map50(found: Sequence[Detections], truths: Sequence[GroundTruth]) -> float:
    return round(evaluate_coco(found, truths, CLASSES).map50 or 0.0, 4)


def alexnet_table(halves: ClassifierHalves, pictures: Pictures, most: int = 600) -> ActionTable:
    """The table of AlexNet; accuracy is top-1.

    Args:
        halves: on one thread.
        pictures: that it was not trained on.
        most: of them.
    """
    chosen = np.linspace(0, len(pictures) - 1, min(most, len(pictures))).astype(int)
    wanted = pictures.class_ids[chosen]

    def judge(found: list[Any]) -> tuple[float, None]:
        return round(float(np.mean(np.array(found) == wanted)), 4), None

    settings = [
        setting
        for exit in halves.exits
        for setting in settings_of(exit, _narrow_cuts(halves, exit))
    ]
    actions = measure(halves, settings, list(pictures.images[chosen]), judge, (SIDE,))
    return ActionTable(ALEXNET, ALEXNET, halves.staged.model_hash, machine(), (SIDE,), (), actions)


def _narrow_cuts(halves: ClassifierHalves, exit: str) -> list[int]:
    """Cuts with less alive than at any cut before them."""
    found, least = [], float("inf")
    for cut in halves.cuts[exit]:
        shapes = halves.staged.shapes(cut, exit).values()
        alive = sum(float(np.prod(shape)) for shape in shapes)
        if alive < least:
            found.append(cut)
            least = alive
    return found


def measure_detector(network: str, folder: Path, pictures: int, out: Path | None = None) -> Path:
    """Measure a detector's table and write it, by default beside its weights; gives the file.

    Args:
        network: weights as ``load_model`` takes them.
        folder: of pictures that nothing was trained on; drawn where they are not there.
        pictures: most of them.
        out: file for the table.

    Raises:
        InputError: the network cannot be cut, or a file cannot be used.
    """
    model = load_model(network, confidence=CONFIDENCE, threads=1)
    assert model.path is not None
    table = detector_table(Halves.of(model), held_out(folder)[-1], pictures)
    return _written(table, out or table_path(model.path))


def measure_alexnet(folder: Path, pictures: int, out: Path | None = None) -> Path:
    """Measure the table of the AlexNet that comes with the package; see ``measure_detector``."""
    torch.set_num_threads(1)
    crops = held_out(folder)[0]
    things = of_scenes(crops, _PER_CLASS, seed=0)
    table = alexnet_table(ClassifierHalves(load_alexnet()), things, pictures)
    return _written(table, out or table_path(ALEXNET_WEIGHTS))


def _written(table: ActionTable, path: Path) -> Path:
    table.write(path)
    return path


def table_path(weights: Path) -> Path:
    """Where the table of a network's file is looked for."""
    return weights.with_name(f"{weights.stem}.coinference.json")


def save_plot(table: ActionTable, path: Path) -> None:
    """Accuracy over bytes at the largest input, one panel per exit, features beside JPEG."""
    from matplotlib.figure import Figure

    exits = list(dict.fromkeys(setting.exit for setting in table.settings))
    figure = Figure(figsize=(4 * len(exits), 3.6), layout="constrained")
    panels = figure.subplots(1, len(exits), sharey=True, squeeze=False)[0]
    for axes, exit in zip(panels, reversed(exits), strict=True):
        own = [action for action in table.actions if action.setting.exit == exit]
        for cut in sorted({action.setting.cut for action in own if action.setting.sends}):
            line = sorted((a.bytes[-1] / 1e3, a.accuracy) for a in own if a.setting.cut == cut)
            label = "JPEG" if cut == 0 else f"cut {cut}"
            axes.plot(*zip(*line, strict=True), "k.--" if cut == 0 else ".-", label=label)
        alone = [action.accuracy for action in own if not action.setting.sends]
        axes.axhline(alone[0], color="0.7", lw=0.8)
        axes.set_xscale("log")
        axes.set_xlabel("kB per picture")
        axes.set_title(f"exit {exit}", fontsize=10)
        axes.legend(fontsize=8)
    panels[0].set_ylabel("accuracy")
    figure.savefig(path, dpi=110)

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
from typing import Any, NamedTuple, Protocol

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from re_pose_ros.coinference.alexnet import SIDE
from re_pose_ros.coinference.classifier import GRAPH as ALEXNET
from re_pose_ros.coinference.classifier import ClassifierHalves
from re_pose_ros.coinference.halves import Halves
from re_pose_ros.coinference.profile import Action, ActionTable
from re_pose_ros.coinference.setting import Setting
from re_pose_ros.detection.model import load_model
from re_pose_ros.detections import Detections
from re_pose_ros.evaluation import evaluate_coco
from re_pose_ros.ground_truth import GroundTruth
from re_pose_ros.image_codec import decode_compressed, encode_jpeg
from re_pose_ros.provenance import machine
from re_pose_ros.scenes import CLASSES
from re_pose_ros.training.alexnet import load_for
from re_pose_ros.training.crops import Crops
from re_pose_ros.training.distil import CONFIDENCE, held_out
from re_pose_ros.training.packs import packed
from re_pose_ros.training.pictures import Pictures, cifar10, of_scenes
from re_pose_ros.training.settings_scope import Scope, classifier_settings, detector_settings
from re_pose_ros.tuning.choosing import table_path

Image = NDArray[np.uint8]

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
            times and bytes at the others.
        judge: of their results.
        input_sizes: rising.
    """
    few = images[: _TIMED + 1]
    actions = []
    for setting in tqdm(settings, unit="setting", disable=None):
        passes = {
            side: [_through(graph, _scaled(image, side), side, setting) for image in few]
            for side in input_sizes[:-1]
        }
        passes[input_sizes[-1]] = [
            _through(graph, image, input_sizes[-1], setting) for image in images
        ]
        accuracy, by_size = judge([done.result for done in passes[input_sizes[-1]]])
        costs = np.array([_costs(passes[side][: len(few)]) for side in input_sizes])
        device, edge, size = (tuple(float(v) for v in column) for column in costs.T)
        actions.append(Action(setting, accuracy, by_size, device, edge, size))
    return tuple(actions)


class _Pass(NamedTuple):
    """A picture's result, milliseconds of the processor on robot and worker, and bytes between."""

    result: Any
    device_ms: float
    edge_ms: float
    bytes: int


def _costs(passes: Sequence[_Pass]) -> tuple[float, float, float]:
    """Median milliseconds on the robot and on the worker, and mean bytes."""
    # The first is slower, as nothing is in the caches.
    device, edge, size = np.array([done[1:] for done in passes[1:] or passes]).T
    return (
        round(float(np.median(device)), 3),
        round(float(np.median(edge)), 3),
        round(float(size.mean())),
    )


def _scaled(image: Image, side: int) -> Image:
    return np.asarray(cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA), np.uint8)


def _through(graph: Graph, image: Image, input_size: int, setting: Setting) -> _Pass:
    begun = time.process_time()
    if not setting.sends:
        result = graph.whole(image, input_size, setting.exit)
        return _Pass(result, (time.process_time() - begun) * 1e3, 0.0, 0)
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
    return _Pass(result, (sent - begun) * 1e3, (done - sent) * 1e3, len(data))


def detector_table(halves: Halves, crops: Crops, pictures: int, scope: Scope) -> ActionTable:
    """The table of a detector.

    Args:
        halves: on one thread, reporting detections of little confidence.
        crops: of scenes that nothing was trained on; those of the larger side.
        pictures: most of them.
        scope: which settings.

    Raises InputError for what the network does not have.
    """
    halves = replace(halves, per_channel=scope.per_channel)
    chosen = np.linspace(0, len(crops) - 1, min(pictures, len(crops))).astype(int)
    images = [crops.image(k) for k in chosen]
    truths = [GroundTruth.of(crops.boxes[k], crops.class_ids[k]) for k in chosen]
    sizes = crops.side // 2, crops.side
    actions = measure(
        DetectorGraph(halves),
        detector_settings(halves, scope),
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


def alexnet_table(
    halves: ClassifierHalves, pictures: Pictures, most: int, scope: Scope
) -> ActionTable:
    """The table of AlexNet; accuracy is top-1.

    Args:
        halves: on one thread.
        pictures: that it was not trained on.
        most: of them.
        scope: which settings.

    Raises InputError for what the network does not have.
    """
    halves = replace(halves, per_channel=scope.per_channel)
    chosen = np.linspace(0, len(pictures) - 1, min(most, len(pictures))).astype(int)
    wanted = pictures.class_ids[chosen]

    def judge(found: list[Any]) -> tuple[float, None]:
        return round(float(np.mean(np.array(found) == wanted)), 4), None

    actions = measure(
        halves, classifier_settings(halves, scope), list(pictures.images[chosen]), judge, (SIDE,)
    )
    return ActionTable(ALEXNET, ALEXNET, halves.staged.model_hash, machine(), (SIDE,), (), actions)


def measure_detector(
    network: str, folder: Path, pictures: int, scope: Scope, out: Path | None = None
) -> Path:
    """Measure a detector's table and write it, by default beside its weights; gives the file.

    Args:
        network: weights as ``load_model`` takes them.
        folder: of pictures that nothing was trained on; drawn where they are not there.
        pictures: most of them.
        scope: which settings.
        out: file for the table.

    Raises:
        InputError: the network cannot be cut, or a file cannot be used.
    """
    model = load_model(network, confidence=CONFIDENCE, threads=1)
    assert model.path is not None
    table = detector_table(Halves.of(model), held_out(folder)[-1], pictures, scope)
    return _written(table, out or table_path(model.path))


def measure_alexnet(
    weights: Path, data: str, folder: Path, pictures: int, scope: Scope, out: Path | None = None
) -> Path:
    """Measure the table of an AlexNet; see ``measure_detector``.

    Args:
        weights: of it.
        data: ``scenes``, ``cifar10``, or a folder as ``packed`` takes it; its test pictures count.
        folder: of pictures of scenes; CIFAR-10 is looked for, and downloaded, beside it.
        pictures: most of them.
        scope: which settings.
        out: file for the table.

    Raises:
        InputError: a file cannot be used, or the pictures are not of the network's classes.
    """
    torch.set_num_threads(1)
    if data == "scenes":
        things = of_scenes(held_out(folder)[0], _PER_CLASS, seed=0)
    elif data == "cifar10":
        things = cifar10(folder.parent / "cifar10")[1]
    else:
        things = packed(Path(data))[1]
    table = alexnet_table(ClassifierHalves(load_for(weights, things)), things, pictures, scope)
    return _written(table, out or table_path(weights))


def _written(table: ActionTable, path: Path) -> Path:
    table.write(path)
    return path

"""A detection network behind one small interface.

PyTorch checkpoints (``.pt``) are pickles: loading one runs what it contains. Load only files from a
source that you trust, or set ``ULTRALYTICS_SAFE_LOAD=true``, which accepts known classes only.
"""

from __future__ import annotations

import difflib
import os
import re
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from re_pose_ros.detection.memory import keep_freed_memory
from re_pose_ros.detection.networks import (
    download,
    is_published,
    layered_network,
    load_predictor,
    prepare_environment,
)
from re_pose_ros.detection.preprocess import canvas_size, letterbox, placement, to_image
from re_pose_ros.detections import Detections
from re_pose_ros.errors import InputError

Predict = Callable[[NDArray[np.uint8]], list[NDArray[np.float32]]]
"""(B, H, W, 3) BGR to B arrays of (N, 6): x1, y1, x2, y2, confidence, class id; input pixels."""

Suppress = Callable[[Any, tuple[int, int]], list[NDArray[np.float32]]]
"""What a network gave for a batch, and the input's (width, height), to what ``Predict`` gives."""

EMBEDDED = ("scene-n", "scene-s")
"""Networks that come with the package, trained on its generated scenes; the first is faster."""

MAX_BATCH = 8
"""Images per pass of a network; bounds the memory that a worker with many slots needs."""

_WEIGHTS = Path(__file__).resolve().parents[1] / "weights"

# pip packages whose import name differs; others are called as they are imported
_PACKAGES = {
    "ai_edge_litert": "ai-edge-litert",
    "paddle": "paddlepaddle",
    "rknnlite": "rknn-toolkit-lite2",
}

_EXPORT_FOLDER = re.compile(
    r"_(openvino|saved|paddle|ncnn|imx|rknn|executorch|axelera|deepx|hailo|ascend|xilinx)_model$"
)


@dataclass(frozen=True, slots=True, eq=False)
class Model:
    """A loaded network.

    Attributes:
        name: what variants call it, as yolo11n.
        labels: class names by class id.
        stride: sides of the network's input are multiples of it.
        fixed_size: (width, height) of the only input that an exported model takes, or None.
        max_batch: images per pass.
        device: where it runs, as cpu or cuda:0.
        predict: the network with its non-maximum suppression.
        path: the file or folder that it was loaded from, or None.
        network: the torch module of a detection network that consists of layers, or None.
        suppress: the non-maximum suppression alone, where there is ``network``.
    """

    name: str
    labels: tuple[str, ...]
    stride: int
    fixed_size: tuple[int, int] | None
    max_batch: int
    device: str
    predict: Predict
    path: Path | None = None
    network: Any = None
    suppress: Suppress | None = None

    def canvas(self, image_size: tuple[int, int], input_size: int) -> tuple[int, int]:
        """The (width, height) of the network's input for an image of (width, height)."""
        return canvas_size(image_size, input_size, self.stride, self.fixed_size)

    def detect(self, images: Sequence[NDArray[np.uint8]], input_size: int) -> list[Detections]:
        """Objects of each image, in the order of ``images``.

        An image's result does not depend on the others: only inputs of the same shape share a
        batch, and each is padded to its own shape.

        Args:
            images: (H, W, 3) uint8 BGR each, of any sizes.
            input_size: the longer side on the network's input; a fixed-size model has its own.

        Returns:
            Per image its boxes in the image's own pixels, clipped to it.
        """
        inputs = [letterbox(image, input_size, self.stride, self.fixed_size) for image in images]
        results = [Detections.empty()] * len(images)
        for batch in _batches([array.shape for array, _, _ in inputs], self.max_batch):
            outputs = self.predict(np.stack([inputs[i][0] for i in batch]))
            for i, rows in zip(batch, outputs, strict=True):
                height, width = images[i].shape[:2]
                results[i] = self.detections(rows, (width, height), input_size)
        return results

    def detections(
        self, rows: NDArray[np.float32], image_size: tuple[int, int], input_size: int
    ) -> Detections:
        """One image's rows, as ``predict`` gives them, in the pixels of the image.

        Args:
            rows: (N, 6) in pixels of the letterboxed input.
            image_size: (width, height) of the image.
            input_size: what it was letterboxed for.
        """
        scale, pad = placement(image_size, input_size, self.stride, self.fixed_size)
        boxes = to_image(rows[:, :4], scale, pad, image_size)
        found = Detections.of(boxes, rows[:, 4], rows[:, 5])
        return found.take(np.flatnonzero((boxes[:, 2:] > boxes[:, :2]).all(axis=1)))


def load_model(
    weights: str,
    *,
    device: str = "cpu",
    confidence: float = 0.25,
    iou: float = 0.7,
    classes: Sequence[str | int] = (),
    max_detections: int = 300,
    threads: int = 0,
) -> Model:
    """Load any model that ultralytics loads for detection, segmentation or pose; boxes are used.

    Args:
        weights: a file or folder (``.pt``, ``.onnx``, ``.engine``, ``.tflite``,
            ``*_openvino_model/`` ...); one of ``EMBEDDED``; or the bare name of published
            weights (``yolo11n.pt``), which are downloaded once into ``~/.cache/re_pose_ros``
            (``XDG_CACHE_HOME`` is heeded).
        device: ``cpu``, ``cuda``, ``cuda:1`` or what else ultralytics takes. Formats that do not
            run on it fall back to the CPU; see ``Model.device``.
        confidence: least confidence of a detection, in [0, 1].
        iou: intersection over union above which the weaker of two boxes of a class is dropped.
        classes: names or ids of the classes to keep; empty keeps all.
        max_detections: most objects per image.
        threads: CPU threads of torch, for the whole process; 0 leaves ultralytics' choice (all
            cores but one, at most 8). Other runtimes than torch have their own.

    Raises:
        InputError: the model, its runtime, the device or an option is not usable.
    """
    _check_options(confidence, iou, max_detections, threads)
    prepare_environment()
    try:
        path = find_weights(weights)
        import torch

        _check_device(device)
        options = {
            "conf": confidence,
            "iou": iou,
            "max_det": max_detections,
            "device": device,
            "mode": "predict",
            "save": False,
            "verbose": False,
            "save_dir": tempfile.gettempdir(),  # unused; without it ultralytics searches ./runs
        }
        predictor = load_predictor(path, options)
        backend = predictor.model
        labels = tuple(backend.names[i] for i in range(len(backend.names)))
        predictor.args.classes = class_ids(classes, labels) or None
        if threads:
            torch.set_num_threads(threads)
        keep_freed_memory()
        fixed_size = _fixed_size(backend)
        network = layered_network(predictor)
        model = Model(
            name=model_name(path),
            labels=labels,
            stride=max(int(backend.stride), 32),  # ultralytics takes tensors in multiples of 32
            fixed_size=fixed_size,
            max_batch=MAX_BATCH if fixed_size is None else max(int(backend.batch), 1),
            device=str(predictor.device),
            predict=_predict_function(predictor),
            path=path,
            network=network,
            suppress=None if network is None else _suppress_function(predictor),
        )
        side = 2 * model.stride
        model.detect([np.zeros((side, side, 3), np.uint8)], side)
    except InputError:
        raise
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        raise InputError(
            f"model '{weights}' needs a Python package that is missing: "
            f"pip install {_PACKAGES.get(package, package)}"
        ) from error
    except Exception as error:  # each of the twenty runtimes has exceptions of its own
        raise InputError(f"model '{weights}' cannot be used: {_one_line(error)}") from error
    return model


def class_ids(classes: Sequence[str | int], labels: Sequence[str]) -> list[int]:
    """Ids of the classes given by name or id, sorted; raises InputError for an unknown one."""
    known = {label: i for i, label in reversed(list(enumerate(labels)))}
    chosen = set()
    for item in classes:
        index = known.get(str(item))
        if index is None and re.fullmatch(r"[0-9]{1,6}", str(item)):
            index = int(item)
        if index is None or index >= len(labels):
            near = difflib.get_close_matches(str(item), labels, n=3)
            some = ", ".join(list(dict.fromkeys([*near, *labels]))[:5])
            raise InputError(f"the model has no class '{item}'; it has {len(labels)}, as {some}")
        chosen.add(index)
    return sorted(chosen)


def model_name(path: Path) -> str:
    """``yolo11n`` of yolo11n.pt, yolo11n.onnx, yolo11n_openvino_model/; fit for a variant."""
    name = _EXPORT_FOLDER.sub("", path.name) if path.is_dir() else path.stem
    return re.sub(r"[@\s]+", "_", name)


def _batches(shapes: Sequence[tuple[int, ...]], limit: int) -> Iterator[list[int]]:
    groups: dict[tuple[int, ...], list[int]] = {}
    for i, shape in enumerate(shapes):
        groups.setdefault(shape, []).append(i)
    for group in groups.values():
        for start in range(0, len(group), limit):
            yield group[start : start + limit]


def _check_options(confidence: float, iou: float, max_detections: int, threads: int) -> None:
    for name, value in (("confidence", confidence), ("iou", iou)):
        if not 0 <= value <= 1:
            raise InputError(f"{name} is {value}; it has to be between 0 and 1")
    if max_detections < 1:
        raise InputError(f"max_detections is {max_detections}; it has to be at least 1")
    if threads < 0:
        raise InputError(f"threads is {threads}; it has to be 0 or more")


def find_weights(weights: str) -> Path:
    """The file or folder of ``weights``, downloaded where it is the bare name of published ones.

    Raises InputError where there is none; see ``load_model``.
    """
    if not weights.strip():
        raise InputError(
            "no model is given; give the path of a model file, or a name as yolo11n.pt"
        )
    path = Path(weights).expanduser()
    if path.suffix.lower() in (".yaml", ".yml"):
        raise InputError(f"'{weights}' describes a network without weights; give a weights file")
    if path.exists():
        return path
    if path.name == weights and path.stem in EMBEDDED and path.suffix in ("", ".pt"):
        return _WEIGHTS / f"{path.stem}.pt"
    if path.name != weights or path.suffix != ".pt":
        raise InputError(f"model '{weights}' does not exist; give the path of a model file")
    cache = os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser()
    cached = Path(cache) / "re_pose_ros" / weights
    if cached.exists():
        return cached
    if not is_published(weights):
        raise InputError(
            f"model '{weights}' does not exist and ultralytics publishes none of that name; "
            f"give the path of a model file"
        )
    try:
        download(cached)
    except Exception as error:  # no network, no rights, disk full: the way out is the same
        raise InputError(
            f"model '{weights}' is not here and its download failed ({_one_line(error)}); "
            f"get the file elsewhere and give its path"
        ) from error
    return cached


def _check_device(device: str) -> None:
    import torch

    if not device.startswith("cuda") and not device[:1].isdigit():
        return
    if not torch.cuda.is_available():
        raise InputError(f"device '{device}' is asked for, but there is no CUDA here; use cpu")
    index = device.removeprefix("cuda").removeprefix(":") or "0"
    if not index.isdigit() or int(index) >= torch.cuda.device_count():
        raise InputError(
            f"there is no device '{device}'; CUDA devices are 0 to {torch.cuda.device_count() - 1}"
        )


def _fixed_size(backend: Any) -> tuple[int, int] | None:
    size = getattr(backend, "imgsz", None)  # (height, width) from an export's metadata
    if size is None or getattr(backend, "dynamic", False):
        return None
    height, width = (size, size) if isinstance(size, int) else size
    return int(width), int(height)


def to_tensor(batch: NDArray[np.uint8], device: str = "cpu") -> Any:
    """Letterboxed images (B, H, W, 3) BGR as networks take them: (B, 3, H, W) RGB in 0 to 1.

    Channels lie together in memory (torch's ``channels_last``), which is the faster order.
    """
    import torch

    # OpenCV swaps channels many times as fast as torch's flip.
    rgb = cv2.cvtColor(batch.reshape(-1, *batch.shape[2:]), cv2.COLOR_BGR2RGB)
    pixels = torch.from_numpy(rgb.reshape(batch.shape)).to(device)
    return pixels.permute(0, 3, 1, 2).float().div_(255)


def _predict_function(predictor: Any) -> Predict:
    """The predictor on tensors, for which ultralytics leaves resizing and padding to the caller."""
    import torch

    def predict(batch: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
        with torch.inference_mode():
            results = predictor(to_tensor(batch, predictor.device))
            return [result.boxes.data.cpu().numpy() for result in results]

    return predict


def _suppress_function(predictor: Any) -> Suppress:
    """What the predictor does behind its network."""
    import torch

    def suppress(output: Any, size: tuple[int, int]) -> list[NDArray[np.float32]]:
        with torch.inference_mode():
            scores = output[0] if isinstance(output, (list, tuple)) else output
            # Only the images' shapes are asked for, so that their content may be absent.
            image = np.broadcast_to(np.uint8(0), (size[1], size[0], 3))
            shape = torch.empty((len(scores), 3, size[1], size[0]), device="meta")
            predictor.batch = ([""] * len(scores), [], [])
            results = predictor.postprocess(output, shape, [image] * len(scores))
            return [result.boxes.data.cpu().numpy() for result in results]

    return suppress


def _one_line(error: Exception) -> str:
    """The first sentence of a library's message, without its decoration."""
    text = str(error).replace("\u2014", "-")
    text = re.sub(r"\x1b\[[0-9;]*m|[^\x20-\x7e\n]", "", text).strip()
    first = re.split(r"\.?\n|\. ", text.removeprefix("ERROR").strip())[0]
    return " ".join(first.split())[:200] or type(error).__name__

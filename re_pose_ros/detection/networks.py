"""ultralytics: predictors, new networks, their loss and their files.

This is the only module that imports ultralytics, which is licensed under the AGPL-3.0; who
distributes it, or offers it over a network, has to meet that licence. It is imported when the first
network is needed, told never to install packages, to stay quiet and to send no usage statistics.
"""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from collections.abc import Sequence
from copy import deepcopy
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import yaml

from re_pose_ros.errors import InputError

_TASKS = ("detect", "segment", "pose")  # what gives upright boxes


def prepare_environment() -> None:
    """What ultralytics reads from the environment once, when it is imported.

    Offline, it looks nothing up and sends no statistics; downloads that we ask for still work.
    """
    os.environ.setdefault("YOLO_AUTOINSTALL", "false")
    os.environ.setdefault("YOLO_VERBOSE", "false")
    os.environ.setdefault("YOLO_OFFLINE", "true")
    home = os.path.expanduser("~")  # Path's raises where there is no home
    if "YOLO_CONFIG_DIR" not in os.environ and not os.access(home, os.W_OK):
        folder = tempfile.mkdtemp(prefix="re_pose_ros_")
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        os.environ["YOLO_CONFIG_DIR"] = folder


def is_published(name: str) -> bool:
    """Whether ultralytics publishes weights of that file name."""
    from ultralytics.utils import downloads

    return name in downloads.GITHUB_ASSETS_NAMES


def download(path: Path) -> None:
    """Get published weights to ``path``; raises what the network or the disk raise."""
    from ultralytics.utils import downloads

    downloads.attempt_download_asset(path, progress=False)


def load_predictor(path: Path, options: dict[str, Any]) -> Any:
    """An ultralytics predictor with its network in place.

    Raises:
        InputError: the network is for another task or other images; besides, whatever the
            libraries behind the format raise.
    """
    from ultralytics import YOLO
    from ultralytics.utils.events import events

    events.enabled = False  # where ultralytics was imported before us, with the network in reach
    yolo = YOLO(str(path))
    if yolo.task not in _TASKS:
        raise InputError(
            f"model '{path}' is for the task '{yolo.task}'; use one for {', '.join(_TASKS)}"
        )
    predictor_class = yolo.task_map[yolo.task]["predictor"]
    predictor = predictor_class(overrides={**options, "task": yolo.task, "model": str(path)})
    predictor.setup_model(yolo.model, verbose=False)
    channels = int(getattr(predictor.model, "channels", 3))
    if channels != 3:
        raise InputError(f"model '{path}' takes {channels} channels; use one for BGR images")
    return predictor


def layered_network(predictor: Any) -> Any:
    """The torch module of a predictor whose network detects by a sequence of layers, or None."""
    from ultralytics.nn.tasks import DetectionModel

    network = getattr(predictor.model, "model", None)
    is_layered = isinstance(network, DetectionModel) and predictor.args.task == "detect"
    return network if is_layered else None


def has_tiles() -> bool:
    """Whether this ultralytics cuts large images into tiles by itself (``tile=``)."""
    spec = find_spec("ultralytics")
    if spec is None or spec.origin is None:
        return False
    defaults = Path(spec.origin).parent / "cfg" / "default.yaml"  # importing it takes seconds
    return "tile" in yaml.safe_load(defaults.read_text(encoding="utf-8"))


def new_network(width: float, labels: Sequence[str]) -> Any:
    """A YOLO11 with random weights, in training mode, as a torch module.

    Args:
        width: factor of the channels; yolo11n has 0.25.
        labels: class names by class id.
    """
    prepare_environment()
    from ultralytics.cfg import get_cfg
    from ultralytics.nn.tasks import DetectionModel, yaml_model_load

    config = yaml_model_load("yolo11n.yaml")
    config["scales"] = {"n": [0.5, width, 1024]}
    network = DetectionModel(config, ch=3, nc=len(labels), verbose=False)
    network.names = dict(enumerate(labels))
    network.args = get_cfg()  # gains of the loss
    return network.train()


def as_teacher(network: Any) -> Any:
    """A loaded network, frozen, giving the raw outputs that ``detection_loss`` takes.

    What it gives is ``boxes`` (B, 4 * bins, A), ``scores`` (B, classes, A) and ``feats`` of all A
    anchors, before decoding.
    """
    from ultralytics.cfg import get_cfg

    network = deepcopy(network).eval().requires_grad_(False)
    network.model[-1].training = True
    network.criterion = None
    network.args = get_cfg()
    return network


def detection_loss(network: Any, outputs: Any, targets: dict[str, Any]) -> Any:
    """The loss of YOLO11 (box, class and distribution focal) of a batch, per image.

    Args:
        network: as ``new_network`` or ``as_teacher`` makes it.
        outputs: what it, or a head like its own, gave in training mode, in float32.
        targets: of all N objects of the batch: ``batch_idx`` (N,), ``cls`` (N, 1) and ``bboxes``
            (N, 4), centre and size in shares of the picture.
    """
    parts, _ = network.loss(targets, outputs)
    return parts.sum() / len(outputs["scores"])


def moving_average(network: Any) -> Any:
    """A copy of ``network`` (its ``ema``) that follows it smoothly, by ``update(network)``."""
    from ultralytics.utils.torch_utils import ModelEMA

    return ModelEMA(network)


def save_network(network: Any, path: Path) -> None:
    """Write ``network`` in half precision, so that ultralytics loads it for any of its modes."""
    import torch

    copy = deepcopy(network).eval().half().to(memory_format=torch.contiguous_format)
    copy.criterion = None
    for parameter in copy.parameters():
        parameter.requires_grad = False
    copy.args = {"task": "detect", "imgsz": 640}
    torch.save({"model": copy, "ema": None, "train_args": dict(copy.args)}, path)

"""What is trained to imitate a frozen detection network: pictures, losses, measurements."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from re_pose_ros.detection.model import Model, load_model, to_tensor
from re_pose_ros.detection.networks import as_teacher, detection_loss
from re_pose_ros.detections import Detections
from re_pose_ros.errors import InputError
from re_pose_ros.evaluation import evaluate_coco
from re_pose_ros.ground_truth import GroundTruth
from re_pose_ros.scenes import CLASSES, SceneSpec
from re_pose_ros.scenes.kinds import KINDS
from re_pose_ros.training.crops import Crops, collect, crops_of
from re_pose_ros.training.detector import batch

HELD_OUT_SEEDS = tuple(range(931, 935))
"""Of the scenes that what was trained is measured on, each in every kind."""

CONFIDENCE = 0.05
"""From which on detections count there."""

_CLASS_GAIN, _BOX_GAIN = 1.0, 1.5  # of distillation, beside the detection loss


@dataclass(frozen=True, slots=True)
class DistilSettings:
    """What determines trained parts of a network, but for the arithmetic of the machine.

    Attributes:
        network: as ``load_model`` takes it.
        seed: of the scenes, the first weights and the order.
        scenes: how many generated scenes the crops are from.
        iterations: batches, each of 16 crops of 320 or 4 of 640 pixels.
        learning_rate: of AdamW at its highest; it falls as a cosine.
        bfloat16: compute in bfloat16 where that is precise enough; twice as fast on newer CPUs.
    """

    network: str = "scene-n"
    seed: int = 0
    scenes: int = 180
    iterations: int = 3000
    learning_rate: float = 2e-3
    bfloat16: bool = True

    def __post_init__(self) -> None:
        if not 0 <= self.seed <= 1000:
            raise InputError(f"seed {self.seed} is not between 0 and 1000")
        if not 1 <= self.scenes <= 100_000:
            raise InputError(f"scenes is {self.scenes}; it has to be between 1 and 100000")
        if self.iterations < 1:
            raise InputError(f"iterations is {self.iterations}; it has to be at least 1")
        if not 0 < self.learning_rate < 1:
            raise InputError(f"learning rate {self.learning_rate} is not between 0 and 1")


@dataclass(frozen=True, slots=True, eq=False)
class Teacher:
    """A frozen network, and the pictures it is imitated on.

    Attributes:
        model: as it was loaded.
        network: frozen, giving raw outputs (``as_teacher``).
        small: crops of 320 pixels.
        large: crops of 640 pixels.
        settings: of the training.
        device: of torch.
    """

    model: Model
    network: Any
    small: Crops
    large: Crops
    settings: DistilSettings
    device: str

    def batch(self, iteration: int) -> tuple[Any, dict[str, Any]]:
        """Pictures (B, 3, H, W) and targets of a batch, see ``detection_loss``."""
        import torch

        images, targets = batch(self.small, self.large, iteration, self.settings.seed)
        pixels = to_tensor(images, self.device)
        return pixels.contiguous(memory_format=torch.channels_last), targets

    def arithmetic(self) -> Any:
        """A context in which torch computes as the settings say."""
        import torch

        kind = torch.device(self.device).type
        return torch.autocast(kind, torch.bfloat16, enabled=self.settings.bfloat16)

    def truth_loss(self, given: dict[str, Any], targets: dict[str, Any]) -> Any:
        """The detection loss, or 0 where the network's classes are not the crops'."""
        if self.model.labels != CLASSES:
            return 0.0
        return detection_loss(self.network, given, targets)


def make_teacher(
    settings: DistilSettings, crops: Path, *, processes: int = 0, device: str = "cpu"
) -> Teacher:
    """Load the network and draw the pictures; those that are in ``crops`` are not drawn anew.

    Raises:
        InputError: the network or the folder cannot be used.
    """
    import torch

    cv2.setNumThreads(1)
    model = load_model(settings.network, device=device, confidence=CONFIDENCE)
    if model.network is None:
        raise InputError(
            f"model '{settings.network}' has no layers to cut; use a .pt for detection"
        )
    processes = processes or len(os.sched_getaffinity(0))
    small, large = collect(crops, settings.scenes, settings.seed, processes)
    network = as_teacher(model.network).to(memory_format=torch.channels_last)
    return Teacher(model, network, small, large, settings, device)


def in_float(outputs: Any) -> dict[str, Any]:
    """Raw outputs of a head in float32."""
    return {
        name: [t.float() for t in value] if isinstance(value, list) else value.float()
        for name, value in outputs.items()
    }


def imitation_loss(given: dict[str, Any], wanted: dict[str, Any]) -> Any:
    """How far raw outputs are from the frozen network's.

    Distillation (Hinton et al., 2015), anchor by anchor: cross entropy of the classes'
    probabilities, and divergence of the distributions of the boxes' sides (as localisation
    distillation, Zheng et al., CVPR 2022), weighted by the frozen network's greatest probability
    at that anchor. Both are divided by the sum of these weights, as the detection loss is by the
    sum of its targets. The gains are ours.
    """
    from torch.nn import functional

    probability = wanted["scores"].sigmoid()
    weight = probability.amax(1)
    amount = weight.sum().clamp(min=1.0)
    classes = functional.binary_cross_entropy_with_logits(
        given["scores"], probability, reduction="sum"
    )
    side = (*weight.shape[:1], 4, -1, weight.shape[1])
    divergence = functional.kl_div(
        given["boxes"].view(side).log_softmax(2),
        wanted["boxes"].view(side).log_softmax(2),
        reduction="none",
        log_target=True,
    )
    boxes = (divergence.sum(2).mean(1) * weight).sum()
    return (_CLASS_GAIN * classes + _BOX_GAIN * boxes) / amount


def held_out(folder: Path, processes: int = 0) -> tuple[Crops, Crops]:
    """Crops of scenes that nothing is trained on; those that are in ``folder`` are not made anew.

    Raises InputError where the folder cannot be used.
    """
    specs = [SceneSpec(kind, seed) for seed in HELD_OUT_SEEDS for kind in sorted(KINDS)]
    return crops_of(folder, specs, HELD_OUT_SEEDS[0], processes or len(os.sched_getaffinity(0)))


def measure(detect: Callable[[Any], Detections], crops: Crops, limit: int) -> dict[str, Any]:
    """mAP50 and mAP of ``detect`` on the first ``limit`` crops.

    Args:
        detect: a picture (H, W, 3) BGR to its detections.
        crops: with their objects.
        limit: spread evenly over the crops.
    """
    chosen = np.linspace(0, len(crops) - 1, min(limit, len(crops))).astype(int)
    found = [detect(crops.image(k)) for k in chosen]
    truths = [GroundTruth.of(crops.boxes[k], crops.class_ids[k]) for k in chosen]
    metrics = evaluate_coco(found, truths, CLASSES)
    return {
        "map50": _rounded(metrics.map50),
        "map": _rounded(metrics.map),
        "pictures": len(chosen),
        "objects": metrics.counts.truths,
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)

"""Train the embedded detectors from nothing, on crops of generated scenes."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from re_pose_ros.detection.networks import (
    detection_loss,
    moving_average,
    new_network,
    save_network,
)
from re_pose_ros.errors import InputError
from re_pose_ros.scenes import CLASSES
from re_pose_ros.training.crops import Crops, collect
from re_pose_ros.training.resumable import weight_groups

WIDTHS = {"scene-n": 0.125, "scene-s": 0.25}
"""The networks: YOLO11 with so many of its channels (yolo11n has 0.25)."""

_BATCH = {320: 16, 640: 4}  # about as many pixels each
_LARGE_EVERY = 5
_WARM_UP = 300
_CLIP = 10.0


@dataclass(frozen=True, slots=True)
class TrainSettings:
    """What determines a trained network, but for the arithmetic of the machine.

    Attributes:
        network: one of ``WIDTHS``.
        seed: of the scenes, the first weights and the order.
        scenes: how many generated scenes the crops are from.
        iterations: batches, each of 16 crops of 320 or 4 of 640 pixels.
        learning_rate: of AdamW at its highest; it falls as a cosine.
        bfloat16: compute in bfloat16 where that is precise enough; twice as fast on newer CPUs.
    """

    network: str
    seed: int = 0
    scenes: int = 180
    iterations: int = 8000
    learning_rate: float = 2e-3
    bfloat16: bool = True

    def __post_init__(self) -> None:
        if self.network not in WIDTHS:
            raise InputError(f"network '{self.network}' is none of {', '.join(WIDTHS)}")
        if not 0 <= self.seed <= 1000:
            raise InputError(f"seed {self.seed} is not between 0 and 1000")
        if not 1 <= self.scenes <= 100_000:
            raise InputError(f"scenes is {self.scenes}; it has to be between 1 and 100000")
        if self.iterations < 1:
            raise InputError(f"iterations is {self.iterations}; it has to be at least 1")
        if not 0 < self.learning_rate < 1:
            raise InputError(f"learning rate {self.learning_rate} is not between 0 and 1")


@dataclass(slots=True)
class _State:
    """All that goes on changing, saved together so that a run can be resumed."""

    network: Any
    average: Any
    optimizer: Any
    iteration: int = 0

    def save(self, path: Path, settings: TrainSettings) -> None:
        import torch

        content = {
            "settings": asdict(settings),
            "iteration": self.iteration,
            "network": self.network.state_dict(),
            "average": self.average.ema.state_dict(),
            "updates": self.average.updates,
            "optimizer": self.optimizer.state_dict(),
        }
        partial = path.with_suffix(".part")
        torch.save(content, partial)
        partial.replace(path)

    def load(self, path: Path, settings: TrainSettings) -> None:
        import torch

        try:
            content = torch.load(path, weights_only=True)
            before, now = content["settings"], asdict(settings)
            del before["iterations"], now["iterations"]  # more may be asked for than at first
        except Exception as error:  # torch has no common exception for damaged files
            raise InputError(f"{path} is no checkpoint; delete it to start anew") from error
        for name, value in now.items():
            if before.get(name) != value:
                raise InputError(
                    f"{path} was trained with {name} = {before.get(name)}, now {value} is asked "
                    f"for; use the same, or another folder"
                )
        self.network.load_state_dict(content["network"])
        self.average.ema.load_state_dict(content["average"])
        self.average.updates = content["updates"]
        self.optimizer.load_state_dict(content["optimizer"])
        self.iteration = content["iteration"]


def train_detector(
    settings: TrainSettings,
    folder: Path,
    *,
    processes: int = 0,
    device: str = "cpu",
    save_every: int = 200,
    on_batch: Callable[[int], None] = lambda iteration: None,
) -> Path:
    """Train one network; an interrupted run goes on where its last checkpoint is.

    Args:
        settings: what to train.
        folder: for crops (shared by all networks), checkpoints and the result.
        processes: for drawing scenes; 0 is one per core.
        device: for torch.
        save_every: iterations from checkpoint to checkpoint.
        on_batch: called with the number of batches done.

    Returns:
        The weights, in ultralytics' format.

    Raises:
        InputError: the folder, a file in it or the device cannot be used.
    """
    import torch

    processes = processes or len(os.sched_getaffinity(0))
    small, large = collect(folder / "crops", settings.scenes, settings.seed, processes)
    torch.manual_seed(settings.seed)
    network = new_network(WIDTHS[settings.network], CLASSES).to(
        device, memory_format=torch.channels_last
    )
    average = moving_average(network)
    optimizer = torch.optim.AdamW(
        weight_groups(network), lr=settings.learning_rate, betas=(0.9, 0.99)
    )
    state = _State(network, average, optimizer)
    checkpoint = folder / f"{settings.network}.checkpoint"
    if checkpoint.exists():
        state.load(checkpoint, settings)
    cv2.setNumThreads(1)
    with tqdm(
        total=settings.iterations, initial=state.iteration, desc=settings.network, unit="batch"
    ) as progress:
        smooth = 0.0
        while state.iteration < settings.iterations:
            for group in optimizer.param_groups:
                group["lr"] = _learning_rate(state.iteration, settings)
            images, targets = batch(small, large, state.iteration, settings.seed)
            loss = _step(state, images, targets, settings.bfloat16, device)
            average.update(network)
            state.iteration += 1
            smooth = loss if not smooth else 0.98 * smooth + 0.02 * loss
            progress.set_postfix(loss=f"{smooth:.3f}", refresh=False)
            progress.update()
            if state.iteration % save_every == 0 or state.iteration == settings.iterations:
                state.save(checkpoint, settings)
            on_batch(state.iteration)
    path = folder / f"{settings.network}.pt"
    save_network(average.ema, path)
    return path


def _learning_rate(iteration: int, settings: TrainSettings) -> float:
    """A linear warm-up, then a cosine down to a hundredth."""
    if iteration < _WARM_UP:
        return settings.learning_rate * (iteration + 1) / _WARM_UP
    share = iteration / settings.iterations
    return settings.learning_rate * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * share)))


def _step(
    state: _State, images: NDArray[np.uint8], targets: dict[str, Any], bfloat16: bool, device: str
) -> float:
    import torch

    pixels = torch.from_numpy(images).to(device).permute(0, 3, 1, 2).flip(1).float().div_(255)
    pixels = pixels.contiguous(memory_format=torch.channels_last)
    with torch.autocast(torch.device(device).type, torch.bfloat16, enabled=bfloat16):
        outputs = state.network(pixels)
    outputs = {
        name: [t.float() for t in value] if isinstance(value, list) else value.float()
        for name, value in outputs.items()
    }
    loss = detection_loss(state.network, outputs, targets)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(state.network.parameters(), _CLIP)
    state.optimizer.step()
    state.optimizer.zero_grad(set_to_none=True)
    return float(loss.detach())


def batch(
    small: Crops, large: Crops, iteration: int, seed: int
) -> tuple[NDArray[np.uint8], dict[str, Any]]:
    """The batch of an iteration: images (B, side, side, 3) BGR, and targets as torch tensors."""
    import torch

    turn, place = divmod(iteration, _LARGE_EVERY)
    is_large = place == _LARGE_EVERY - 1
    crops = large if is_large else small
    rng = np.random.default_rng([seed, iteration])
    number = turn if is_large else turn * (_LARGE_EVERY - 1) + place
    chosen = _members(len(crops), number, _BATCH[crops.side], seed)
    images, boxes, owners, classes = [], [], [], []
    for k, index in enumerate(chosen):
        image, found = crops.image(index), crops.boxes[index].copy()
        if rng.random() < 0.5:
            image = image[:, ::-1]
            found[:, [0, 2]] = crops.side - found[:, [2, 0]]
        images.append(_relit(image, rng))
        boxes.append(found)
        owners.append(np.full(len(found), k))
        classes.append(crops.class_ids[index])
    corners = torch.from_numpy(np.concatenate(boxes) / crops.side)
    centre, sides = (corners[:, :2] + corners[:, 2:]) / 2, corners[:, 2:] - corners[:, :2]
    return np.stack(images), {
        "batch_idx": torch.from_numpy(np.concatenate(owners)).float(),
        "cls": torch.from_numpy(np.concatenate(classes)).float()[:, None],
        "bboxes": torch.cat([centre, sides], dim=1).float(),
    }


def _members(count: int, number: int, size: int, seed: int) -> list[int]:
    """The pictures of a batch; every one is taken once before any is taken again."""
    turn, start = divmod(number * size, count)
    order = np.random.default_rng([seed, turn, count]).permutation(count)
    if start + size > count:
        following = np.random.default_rng([seed, turn + 1, count]).permutation(count)
        order = np.concatenate([order, following])
    return [int(k) for k in order[start : start + size]]


def _relit(image: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Another brightness, contrast and tint."""
    gain = rng.uniform(0.75, 1.25) * rng.uniform(0.94, 1.06, 3)
    offset = rng.uniform(-20, 20)
    table = (np.arange(256)[:, None] * gain + offset).clip(0, 255).astype(np.uint8)
    return np.asarray(cv2.LUT(np.ascontiguousarray(image), table[None]), np.uint8)

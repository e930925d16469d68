"""Train the multi-branch AlexNet, all exits at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from re_pose_ros.errors import InputError
from re_pose_ros.training.pictures import Pictures
from re_pose_ros.training.resumable import Course, train

if TYPE_CHECKING:
    from re_pose_ros.coinference.alexnet import StagedClassifier

_SHIFT = 3  # pixels that a picture is moved by at most


@dataclass(frozen=True, slots=True)
class AlexNetTraining:
    """What determines a trained AlexNet, but for its pictures and the machine's arithmetic.

    Attributes:
        data: what the pictures are called in reports.
        seed: of the first weights and the order.
        iterations: batches.
        batch: pictures in each.
        learning_rate: of AdamW at its highest; it falls as a cosine.
        bfloat16: compute in bfloat16 where that is precise enough; twice as fast on newer CPUs.
    """

    data: str
    seed: int = 0
    iterations: int = 3000
    batch: int = 128
    learning_rate: float = 2e-3
    bfloat16: bool = True

    def __post_init__(self) -> None:
        if not 0 <= self.seed <= 1000:
            raise InputError(f"seed {self.seed} is not between 0 and 1000")
        if self.iterations < 1:
            raise InputError(f"iterations is {self.iterations}; it has to be at least 1")
        if not 1 <= self.batch <= 10_000:
            raise InputError(f"batch is {self.batch}; it has to be between 1 and 10000")
        if not 0 < self.learning_rate < 1:
            raise InputError(f"learning rate {self.learning_rate} is not between 0 and 1")


def train_alexnet(
    settings: AlexNetTraining,
    pictures: Pictures,
    folder: Path,
    *,
    device: str = "cpu",
    save_every: int = 100,
    on_batch: Callable[[int], None] = lambda iteration: None,
) -> Path:
    """Train; an interrupted run goes on where its last checkpoint is.

    The loss is the sum of the exits' cross entropies (BranchyNet, section III, with equal weights).

    Args:
        settings: what to train.
        pictures: to train on.
        folder: for the checkpoint and the result.
        device: of torch.
        save_every: batches from checkpoint to checkpoint.
        on_batch: called with the number of batches done.

    Returns:
        The file of the weights.

    Raises:
        InputError: the checkpoint cannot be used.
    """
    import torch

    from re_pose_ros.coinference.alexnet import AlexNet, normalised, save_alexnet

    mean, deviation = statistics(pictures)
    torch.manual_seed(settings.seed)
    network = AlexNet(len(pictures.labels)).to(device, memory_format=torch.channels_last).train()
    kind = torch.device(device).type

    def loss_of(iteration: int) -> Any:
        torch.manual_seed(settings.seed * 1_000_003 + iteration)  # of dropout
        images, class_ids = _batch(pictures, settings, iteration)
        wanted = torch.from_numpy(class_ids).to(device)
        given = normalised(images, mean, deviation).to(device, memory_format=torch.channels_last)
        with torch.autocast(kind, torch.bfloat16, enabled=settings.bfloat16):
            outputs = network(given)
        return sum(torch.nn.functional.cross_entropy(logits.float(), wanted) for logits in outputs)

    course = Course(settings.iterations, settings.learning_rate, save_every=save_every)
    known = {k: v for k, v in asdict(settings).items() if k != "iterations"}
    known["pictures"] = len(pictures)
    average, curve = train(network, loss_of, course, folder / "alexnet.checkpoint", known, on_batch)
    path = folder / "alexnet.safetensors"
    training = {**asdict(settings), "pictures": len(pictures), "loss": curve}
    save_alexnet(path, average, pictures.labels, (mean, deviation), training)
    return path


def top1(path: Path, pictures: Pictures) -> dict[str, float]:
    """By exit, the share of the pictures whose likeliest class is the right one.

    Args:
        path: of the weights.
        pictures: of the same classes, none that were trained on.

    Raises:
        InputError: the file cannot be used, or has other classes.
    """
    classifier = load_for(path, pictures)
    right = {exit.name: 0 for exit in classifier.network.exits}
    for start in range(0, len(pictures), 500):
        batch = classifier.picture(list(pictures.images[start : start + 500]))
        truth = pictures.class_ids[start : start + 500]
        for name in right:
            right[name] += int((classifier.classes(classifier.run(batch, name)) == truth).sum())
    return {name: round(count / len(pictures), 4) for name, count in right.items()}


def load_for(path: Path, pictures: Pictures) -> StagedClassifier:
    """The AlexNet of a file; raises InputError where it, or its classes, are not for pictures."""
    from re_pose_ros.coinference.alexnet import load_alexnet

    classifier = load_alexnet(path)
    if classifier.labels != pictures.labels:
        raise InputError(
            f"{path} has the classes {', '.join(classifier.labels)}; the pictures show "
            f"{', '.join(pictures.labels)}"
        )
    return classifier


def statistics(pictures: Pictures) -> tuple[list[float], list[float]]:
    """Mean and standard deviation of all pixels, RGB in 0 to 1."""
    pixels = pictures.images.reshape(-1, 3)[:, ::-1] / np.float64(255)
    return (
        [round(float(v), 4) for v in pixels.mean(axis=0)],
        [round(float(v), 4) for v in pixels.std(axis=0)],
    )


def _batch(
    pictures: Pictures, settings: AlexNetTraining, iteration: int
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Pictures moved a little, half of them mirrored, each with its class."""
    rng = np.random.default_rng([settings.seed, iteration])
    chosen = rng.integers(0, len(pictures), settings.batch)
    images = []
    for image in pictures.images[chosen]:
        padded = np.pad(image, ((_SHIFT, _SHIFT), (_SHIFT, _SHIFT), (0, 0)), "reflect")
        y, x = rng.integers(0, 2 * _SHIFT + 1, 2)
        moved = padded[y : y + image.shape[0], x : x + image.shape[1]]
        images.append(moved[:, ::-1] if rng.random() < 0.5 else moved)
    return np.stack(images), pictures.class_ids[chosen]

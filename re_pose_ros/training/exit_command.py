"""``train exits``: what is trained, on what, and its report."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from re_pose_ros.errors import InputError
from re_pose_ros.training import exit_report
from re_pose_ros.training.crops import collect
from re_pose_ros.training.distil import DistilSettings, held_out, make_teacher
from re_pose_ros.training.packs import packed
from re_pose_ros.training.pictures import Pictures, cifar10, of_scenes

PARTS = ("exits", "bottlenecks")
"""Of a detector."""

_ITERATIONS = {"exits": 2000, "bottlenecks": 1500, "alexnet": 3000}
_LEARNING_RATES = {"exits": 2e-3, "bottlenecks": 1e-3}
_PER_CLASS, _TEST_PER_CLASS = 4000, 400


@dataclass(frozen=True, slots=True)
class ExitOptions:
    """What all parts have in common.

    Attributes:
        seed: of the scenes, the first weights and the order.
        scenes: how many generated scenes the pictures are from.
        iterations: batches; 0 is as many as the part needs.
        processes: for drawing scenes; 0 is one per core.
        device: for torch.
        bfloat16: compute in bfloat16 where that is precise enough.
        crops: folder of training pictures.
        out: folder of checkpoints, weights, reports and held-out pictures.
    """

    seed: int
    scenes: int
    iterations: int
    processes: int
    device: str
    bfloat16: bool
    crops: Path
    out: Path

    def iterations_of(self, part: str) -> int:
        """How many batches a part is trained for."""
        return self.iterations or _ITERATIONS[part]


def make_detector(network: str, parts: Sequence[str], options: ExitOptions) -> Path:
    """Train the parts of a detector that are named, and report on all that are there.

    Returns:
        The report, as text.

    Raises:
        InputError: an option, a file or the network cannot be used.
    """
    from re_pose_ros.coinference.bottleneck import bottlenecks_path
    from re_pose_ros.coinference.exit_heads import exits_path
    from re_pose_ros.training.bottlenecks import train_bottlenecks
    from re_pose_ros.training.exits import train_exits

    unknown = [part for part in parts if part not in PARTS]
    if unknown or not parts:
        raise InputError(f"part '{(unknown or [''])[0]}' is none of {', '.join(PARTS)}")
    _make(options.out)
    for part in parts:
        settings = DistilSettings(
            network=network,
            seed=options.seed,
            scenes=options.scenes,
            iterations=options.iterations_of(part),
            learning_rate=_LEARNING_RATES[part],
            bfloat16=options.bfloat16,
        )
        teacher = make_teacher(
            settings, options.crops, processes=options.processes, device=options.device
        )
        train = train_exits if part == "exits" else train_bottlenecks
        train(teacher, options.out)
    crops = held_out(options.out / "held_out", options.processes)
    weights = teacher.model.path
    assert weights is not None
    made = {
        part: path(options.out / weights.name)
        for part, path in (("exits", exits_path), ("bottlenecks", bottlenecks_path))
    }
    found = {part: path for part, path in made.items() if path.exists()}
    result = exit_report.detector_report(
        network, found.get("exits"), found.get("bottlenecks"), crops
    )
    training = {part: _training(path, part) for part, path in found.items()}
    return exit_report.write(result, training, options.out)


def make_alexnet(data: str, options: ExitOptions) -> Path:
    """Train AlexNet and report on it.

    Args:
        data: ``cifar10``, ``scenes``, ``auto`` for the first that can be had, or a folder as
            ``packed`` takes it.
        options: what to train.

    Returns:
        The report, as text.

    Raises:
        InputError: an option, a file or the data cannot be used.
    """
    from re_pose_ros.training.alexnet import AlexNetTraining, top1, train_alexnet

    _make(options.out)
    name, train, test = pictures(data, options)
    settings = AlexNetTraining(
        data=name,
        seed=options.seed,
        iterations=options.iterations_of("alexnet"),
        bfloat16=options.bfloat16,
    )
    path = train_alexnet(settings, train, options.out, device=options.device)
    counts = {"train": len(train), "test": len(test)}
    result = exit_report.alexnet_report(path, name, counts, top1(path, test))
    return exit_report.write(result, {"alexnet": _training(path, "alexnet")}, options.out)


def pictures(data: str, options: ExitOptions) -> tuple[str, Pictures, Pictures]:
    """What the data are called, pictures to train on and pictures to measure on.

    Raises:
        InputError: the data cannot be had.
    """
    if data in ("auto", "cifar10"):
        try:
            return "CIFAR-10", *cifar10(options.out / "cifar10")
        except InputError:
            if data == "cifar10":
                raise
    elif data != "scenes":
        return Path(data).name, *packed(Path(data))
    processes = options.processes or len(os.sched_getaffinity(0))
    crops = collect(options.crops, options.scenes, options.seed, processes)[0]
    others = held_out(options.out / "held_out", options.processes)[0]
    return (
        "generated scenes",
        of_scenes(crops, _PER_CLASS, options.seed),
        of_scenes(others, _TEST_PER_CLASS, options.seed),
    )


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{folder} cannot be made: {error.strerror}") from error


def _training(path: Path, kind: str) -> dict[str, Any]:
    """How weights were made, as their file says: settings and the first and last smoothed loss."""
    from re_pose_ros.coinference.weights import about

    made = dict(about(path, kind)["training"])
    curve = made.pop("loss")
    if curve:
        made["loss"] = f"{curve[0][1]} to {curve[-1][1]}"
    return made

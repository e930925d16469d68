"""How good the embedded detectors are, on scenes that they were never trained on."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from re_pose_ros.detection.model import load_model
from re_pose_ros.evaluation import Metrics, evaluate_coco
from re_pose_ros.partition.base import PartitionSettings
from re_pose_ros.pipeline import Pipeline
from re_pose_ros.provenance import commit, machine
from re_pose_ros.scenes import CLASSES, Scene, SceneSpec
from re_pose_ros.scenes.kinds import KINDS
from re_pose_ros.training.crops import FIRST_SEED

SEEDS = tuple(range(901, 911))
"""Of the report's scenes, one frame of each kind for every seed."""

CONFIDENCE = 0.05

_FRAME = 100
_TILES = PartitionSettings(tile_size=640, overlap=0.2, full_pass=True)
_METHODS: dict[str, tuple[str, PartitionSettings, int]] = {
    "tiles_640": ("uniform", _TILES, 640),
    "whole_1280": ("whole", PartitionSettings(whole_size=1280), 1280),
    "whole_640": ("whole", PartitionSettings(whole_size=640), 640),
}


def report(
    weights: Sequence[Path],
    training: Mapping[str, Mapping[str, Any]],
    seeds: Sequence[int] = SEEDS,
) -> dict[str, Any]:
    """Accuracy of each network by method, class and object size on 4K frames.

    Args:
        weights: files of networks with the scenes' classes.
        training: by network, how it was made.
        seeds: of the scenes; none may be one that is trained on.

    Raises:
        InputError: a file cannot be loaded.
        ValueError: a seed that is for training.
    """
    if any(seed >= FIRST_SEED for seed in seeds):
        raise ValueError(f"seeds from {FIRST_SEED} on are trained on")
    models = [load_model(str(path), confidence=CONFIDENCE) for path in weights]
    pipelines = {
        (model.name, method): Pipeline(
            [model], partitioner=kind, partition=settings, input_sizes=[size], slots=64
        )
        for model in models
        for method, (kind, settings, size) in _METHODS.items()
    }
    found: dict[tuple[str, str], list[Any]] = {key: [] for key in pipelines}
    truths = []
    frames = tqdm(_specs(seeds), "reporting", len(seeds) * len(KINDS), unit="frame")
    for spec in frames:
        image, truth = Scene(spec).render(_FRAME)
        truths.append(truth)
        for key, pipeline in pipelines.items():
            found[key].append(pipeline.detect(image))
    return {
        "data": "scenes plaza, street and yard, 3840x2160, "
        f"seeds {min(seeds)} to {max(seeds)}, frame {_FRAME} of each",
        "confidence": CONFIDENCE,
        "machine": machine(),
        "commit": commit(),
        "training": {name: dict(made) for name, made in training.items()},
        "networks": {
            model.name: {
                method: _figures(evaluate_coco(found[model.name, method], truths, CLASSES))
                for method in _METHODS
            }
            for model in models
        },
    }


def write(result: dict[str, Any], folder: Path) -> None:
    """``report.json`` and, for reading, ``README.md``."""
    (folder / "report.json").write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    (folder / "README.md").write_text(_markdown(result), encoding="utf-8")


def _specs(seeds: Sequence[int]) -> Iterator[SceneSpec]:
    for seed in seeds:
        for kind in sorted(KINDS):
            yield SceneSpec(kind, seed)


def _figures(metrics: Metrics) -> dict[str, Any]:
    def rounded(value: float | None) -> float | None:
        return None if value is None else round(value, 4)

    names = ("map50", "map", "ap_small", "ap_medium", "ap_large", "precision", "recall")
    return {name: rounded(getattr(metrics, name)) for name in names} | {
        "ap50_by_class": {name: rounded(c.ap50) for name, c in metrics.per_class.items()},
        "objects": metrics.counts.truths,
    }


def _said(made: Mapping[str, Any]) -> str:
    return ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in made.items())


def _markdown(result: dict[str, Any]) -> str:
    sizes = ("map50", "map", "ap_small", "ap_medium", "ap_large")
    head = ["network", "looks at", "mAP50", "mAP", "AP to 32 px", "to 96 px", "larger", *CLASSES]
    rows = [
        [name, method, *(figures[size] for size in sizes), *figures["ap50_by_class"].values()]
        for name, methods in result["networks"].items()
        for method, figures in methods.items()
    ]
    cells = [
        [f"{cell:.3f}" if isinstance(cell, float) else str(cell or "-") for cell in row]
        for row in rows
    ]
    lines = ["| " + " | ".join(row) + " |" for row in [head, ["---"] * len(head), *cells]]
    return (
        "# Embedded detectors\n\n"
        "Trained from nothing by `python -m re_pose_ros train detector` on generated scenes, in\n"
        "the format of ultralytics (AGPL-3.0). Measured on scenes that they were not trained on:\n"
        f"{result['data']}; confidence from {result['confidence']} on. The last columns are AP50\n"
        "by class. `tiles_640`: native tiles of 640 pixels and the whole frame, as SAHI does.\n\n"
        + "\n".join(lines)
        + "\n\nMade with:\n\n"
        + "\n".join(f"- `{name}`: {_said(made)}" for name, made in result["training"].items())
        + "\n"
    )

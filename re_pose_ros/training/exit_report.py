"""How good exits and bottlenecks are, on scenes that nothing was trained on."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from re_pose_ros.coinference.entropy import encode
from re_pose_ros.coinference.quantise import dequantise, quantise
from re_pose_ros.coinference.setting import BITS
from re_pose_ros.detection.model import Model, load_model
from re_pose_ros.detections import Detections
from re_pose_ros.image_codec import decode_compressed, encode_jpeg
from re_pose_ros.provenance import commit, machine
from re_pose_ros.training.crops import Crops
from re_pose_ros.training.distil import CONFIDENCE, HELD_OUT_SEEDS, measure

QUALITIES = (80, 60, 40, 20)
"""Of the JPEG files that bottlenecks are compared with."""


def detector_report(
    weights: str,
    exits: Path | None,
    bottlenecks: Path | None,
    crops: Sequence[Crops],
    *,
    pictures: int = 144,
) -> dict[str, Any]:
    """mAP50 of every exit, and bytes and mAP50 of every bottleneck beside JPEG.

    Args:
        weights: of the network, as ``load_model`` takes it.
        exits: file of exits, or None for those beside the network, if any.
        bottlenecks: file of bottlenecks, ditto.
        crops: of scenes that were not trained on; the last are those that are sent.
        pictures: most of each.

    Raises:
        InputError: a file cannot be used.
    """
    from re_pose_ros.coinference.detector import staged_detector

    model = load_model(weights, confidence=CONFIDENCE)
    staged = staged_detector(model, exits=exits, bottlenecks=bottlenecks)
    result: dict[str, Any] = {
        "network": model.name,
        "data": f"crops of scenes plaza, street and yard, seeds {min(HELD_OUT_SEEDS)} to "
        f"{max(HELD_OUT_SEEDS)}",
        "confidence": CONFIDENCE,
        "machine": machine(),
        "commit": commit(),
        "exits": {
            exit.name: {
                str(part.side): measure(_leaving(staged, exit.name, part.side), part, pictures)
                for part in crops
            }
            for exit in staged.network.exits
        },
    }
    sent = crops[-1]
    result["sent_at"] = sent.side
    if staged.bottlenecks:
        result["jpeg"] = {str(q): _jpeg(model, q, sent, pictures) for q in QUALITIES}
        result["bottlenecks"] = {
            str(b.shape.stage + 1): {
                "code": b.shape.code,
                "stride": b.shape.stride,
                "bits": {str(k): _bottleneck(staged, b, k, sent, pictures) for k in BITS},
            }
            for b in staged.bottlenecks.values()
        }
    return result


def alexnet_report(path: Path, data: str, counts: Mapping[str, int], accuracy: Any) -> Any:
    """Top-1 accuracy of every exit, for JSON.

    Args:
        path: of the weights.
        data: what the pictures are called.
        counts: pictures for training and for measuring.
        accuracy: as ``top1`` gives it.
    """
    return {
        "network": "alexnet",
        "data": data,
        "pictures": dict(counts),
        "bytes": path.stat().st_size,
        "machine": machine(),
        "commit": commit(),
        "top1": accuracy,
    }


def write(result: Mapping[str, Any], training: Mapping[str, Any], folder: Path) -> Path:
    """``<network>.exits.report.json`` and, for reading, ``<network>.exits.md``; gives the latter.

    Args:
        result: a report.
        training: by part, how it was made.
        folder: where to.
    """
    name = result["network"]
    content = json.dumps({**result, "training": training}, indent=2) + "\n"
    (folder / f"{name}.exits.report.json").write_text(content, encoding="utf-8")
    path = folder / f"{name}.exits.md"
    path.write_text(_markdown(result, training), encoding="utf-8")
    return path


def _leaving(staged: Any, exit: str, side: int) -> Any:
    def detect(image: NDArray[np.uint8]) -> Detections:
        output = staged.run(staged.picture([image], side), exit)
        found: Detections = staged.detections(output, [(side, side)], side)[0]
        return found

    return detect


def _bottleneck(staged: Any, bottleneck: Any, bits: int, crops: Crops, pictures: int) -> Any:
    import torch

    from re_pose_ros.coinference.layers import FULL

    stage, side = bottleneck.shape.stage, crops.side
    sizes = []

    def detect(image: NDArray[np.uint8]) -> Detections:
        values = staged.head(staged.picture([image], side), stage + 1, FULL)
        code = quantise(values[stage][0].numpy(), bits)
        sizes.append(len(encode(code.codes, bits)))
        back = {stage: torch.from_numpy(dequantise(code))[None]}
        output = staged.tail(back, stage + 1, FULL)
        found: Detections = staged.detections(output, [(side, side)], side)[0]
        return found

    accuracy = measure(detect, crops, pictures)
    return {"bytes": round(float(np.mean(sizes))), **accuracy}


def _jpeg(model: Model, quality: int, crops: Crops, pictures: int) -> dict[str, Any]:
    sizes = []

    def detect(image: NDArray[np.uint8]) -> Detections:
        data = bytes(encode_jpeg(image, quality))
        sizes.append(len(data))
        return model.detect([decode_compressed(data)], crops.side)[0]

    accuracy = measure(detect, crops, pictures)
    return {"bytes": round(float(np.mean(sizes))), **accuracy}


def _markdown(result: Mapping[str, Any], training: Mapping[str, Any]) -> str:
    lines = [f"# Exits of {result['network']}", ""]
    if "top1" in result:
        counts = result["pictures"]
        lines += [f"Top-1 accuracy on {counts['test']} pictures of {result['data']}.", ""]
        lines += _table(["exit", "top-1"], [[n, f"{a:.3f}"] for n, a in result["top1"].items()])
    else:
        lines += _detector_lines(result)
    lines += ["", "Trained by `python -m re_pose_ros train exits` with:", ""]
    lines += [
        f"- {part}: " + ", ".join(f"{k.replace('_', ' ')} {v}" for k, v in made.items())
        for part, made in training.items()
    ]
    return "\n".join(lines) + "\n"


def _detector_lines(result: Mapping[str, Any]) -> list[str]:
    sides = list(next(iter(result["exits"].values())))
    head = ["exit", *(f"mAP50 at {side}" for side in sides), *(f"mAP at {s}" for s in sides)]
    rows = [
        [name, *(f"{at[s]['map50']:.3f}" for s in sides), *(f"{at[s]['map']:.3f}" for s in sides)]
        for name, at in result["exits"].items()
    ]
    lines = [f"On {result['data']}; confidence from {result['confidence']} on.", ""]
    lines += _table(head, rows)
    if "bottlenecks" not in result:
        return lines
    rows = [
        [f"JPEG, quality {q}", str(r["bytes"]), f"{r['map50']:.3f}"]
        for q, r in result["jpeg"].items()
    ]
    rows += [
        [f"cut {cut}, {bits} bits", str(r["bytes"]), f"{r['map50']:.3f}"]
        for cut, made in result["bottlenecks"].items()
        for bits, r in made["bits"].items()
    ]
    what = f"What is sent of a picture of {result['sent_at']} pixels, to the exit `full`:"
    return [*lines, "", what, "", *_table(["sent", "bytes", "mAP50"], rows)]


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return ["| " + " | ".join(row) + " |" for row in [head, ["---"] * len(head), *rows]]

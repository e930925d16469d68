"""What a worker can do and how long it takes: measured, published and kept as JSON."""

from __future__ import annotations

import json
import math
import platform
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from re_pose_ros.detection.worker import Request, Worker
from re_pose_ros.errors import InputError
from re_pose_ros.geometry import whole
from re_pose_ros.plan import Variant

VERSION = 1


@dataclass(frozen=True, slots=True)
class VariantProfile:
    """One variant on one worker.

    Attributes:
        variant: the network and its input size.
        time_ms: median time for one block, with resizing and non-maximum suppression.
        batch_ms: median time for that many blocks at once, where it was measured.
    """

    variant: Variant
    time_ms: float
    batch_ms: Mapping[int, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Profile:
    """A worker's variants and their times.

    Attributes:
        worker: its name, or that of its machine.
        device: where the networks run, as cpu.
        labels: class names by class id.
        variants: at least one, each once; the first is not special.
    """

    worker: str
    device: str
    labels: tuple[str, ...]
    variants: tuple[VariantProfile, ...]

    @property
    def models(self) -> tuple[str, ...]:
        """Names of the networks, in the order of the variants."""
        return tuple(dict.fromkeys(entry.variant.model for entry in self.variants))

    def find(self, variant: Variant) -> VariantProfile | None:
        """The entry of ``variant``; None where the worker does not have it."""
        return next((entry for entry in self.variants if entry.variant == variant), None)


def measure(
    worker: Worker,
    *,
    name: str = "",
    batches: Sequence[int] = (),
    repeats: int = 5,
    warmup: int = 2,
    block_aspect: float = 16 / 9,
) -> Profile:
    """Time each variant of ``worker`` on noise.

    Args:
        worker: the networks.
        name: the profile's ``worker``; the machine's name where it is empty.
        batches: numbers of blocks to time together, each at least 1; none by default.
        repeats: runs of which the median is taken.
        warmup: runs before them that are not counted.
        block_aspect: width over height of the blocks.
    """

    def median_ms(variant: Variant, count: int) -> float:
        width = variant.input_size if block_aspect >= 1 else variant.input_size * block_aspect
        shape = (max(round(width / block_aspect), 1), max(round(width), 1), 3)
        image = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
        requests = [Request(image, whole(shape[1], shape[0]), variant)] * count
        times = []
        for _ in range(warmup + repeats):
            start = time.perf_counter()
            worker.process(requests)
            times.append((time.perf_counter() - start) * 1e3)
        return float(np.median(times[warmup:]))

    entries = tuple(
        VariantProfile(
            variant,
            median_ms(variant, 1),
            {count: median_ms(variant, count) for count in batches},
        )
        for variant in worker.variants
    )
    return Profile(name or platform.node() or "worker", worker.device, worker.labels, entries)


def to_json(profile: Profile) -> str:
    """One line of JSON; times in milliseconds."""
    return json.dumps(
        {
            "version": VERSION,
            "worker": profile.worker,
            "device": profile.device,
            "labels": list(profile.labels),
            "variants": [
                {
                    "variant": str(entry.variant),
                    "time_ms": entry.time_ms,
                    "batch_ms": {str(count): ms for count, ms in entry.batch_ms.items()},
                }
                for entry in profile.variants
            ],
        }
    )


def from_json(text: str) -> Profile:
    """Read what ``to_json`` wrote; raises InputError for anything else."""
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"the profile is no JSON: {error}") from error
    version = data.get("version") if isinstance(data, dict) else None
    if isinstance(version, int) and version != VERSION:
        raise InputError(f"the profile is of version {version}, this software reads {VERSION}")
    fields = _object(data, "profile", ("version", "worker", "device", "labels", "variants"))
    if type(version) is not int:
        raise InputError("the profile's version is no number; measure it anew")
    variants = tuple(_variant_profile(item) for item in _list(fields["variants"], "variants"))
    if not variants:
        raise InputError("the profile has no variants; measure it anew")
    if len({entry.variant for entry in variants}) != len(variants):
        raise InputError("the profile names a variant twice; measure it anew")
    return Profile(
        _text(fields["worker"], "worker"),
        _text(fields["device"], "device"),
        tuple(_text(label, "labels") for label in _list(fields["labels"], "labels")),
        variants,
    )


def _variant_profile(item: object) -> VariantProfile:
    fields = _object(item, "variant", ("variant", "time_ms", "batch_ms"))
    name = _text(fields["variant"], "variant")
    try:
        variant = Variant.parse(name)
    except ValueError as error:
        raise InputError(f"the profile's {name!r} is no variant as yolo11n@320") from error
    batches = fields["batch_ms"]
    if not isinstance(batches, dict):
        raise InputError(f"the profile's batch_ms of {variant} is no object")
    return VariantProfile(
        variant,
        _milliseconds(fields["time_ms"], f"time_ms of {variant}"),
        {
            _count(key): _milliseconds(value, f"batch_ms of {variant}")
            for key, value in batches.items()
        },
    )


def _object(value: object, what: str, names: tuple[str, ...]) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise InputError(f"the profile's {what} is no object but {type(value).__name__}")
    for name in names:
        if name not in value:
            raise InputError(f"the profile's {what} lacks the field '{name}'; measure it anew")
    unknown = sorted(set(value) - set(names))
    if unknown:
        raise InputError(f"the profile's {what} has the unknown field {unknown[0]!r}")
    return value


def _list(value: object, what: str) -> list[Any]:
    if not isinstance(value, list):
        raise InputError(f"the profile's {what} is no list but {type(value).__name__}")
    return value


def _text(value: object, what: str) -> str:
    if not isinstance(value, str):
        raise InputError(f"the profile's {what} is no text but {type(value).__name__}")
    return value


def _milliseconds(value: object, what: str) -> float:
    if type(value) not in (int, float) or not 0 < value < math.inf:  # type: ignore[operator]
        raise InputError(f"the profile's {what} is no positive number")
    try:
        return float(value)  # type: ignore[arg-type]
    except OverflowError as error:
        raise InputError(f"the profile's {what} is out of range") from error


def _count(key: str) -> int:
    if not (key.isascii() and key.isdigit() and len(key) <= 4 and key[0] != "0"):
        raise InputError(f"the profile's batch_ms has the key {key!r}; expected a count, as '4'")
    return int(key)

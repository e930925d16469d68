"""What a worker can do: how long it takes and how well it sees, published and kept as JSON."""

from __future__ import annotations

import json
import math
import platform
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from dataclasses import fields as dataclass_fields
from pathlib import Path
from typing import Any

import numpy as np

from re_pose_ros.detection.size_accuracy import SizeAccuracy
from re_pose_ros.detection.worker import Request, Worker
from re_pose_ros.errors import InputError
from re_pose_ros.geometry import whole
from re_pose_ros.plan import Variant

VERSION = 2

_GREY = 114


@dataclass(frozen=True, slots=True)
class VariantProfile:
    """One variant on one worker.

    Attributes:
        variant: the network and its input size.
        time_ms: median time for one block, with resizing and non-maximum suppression.
        batch_ms: median time for that many blocks at once, where it was measured.
        accuracy: by object size; None where it is not known.
    """

    variant: Variant
    time_ms: float
    batch_ms: Mapping[int, float] = field(default_factory=dict)
    accuracy: SizeAccuracy | None = None


@dataclass(frozen=True, slots=True)
class Profile:
    """A worker's variants, their times and, where it was measured, their accuracy.

    Times hold for the machine they were measured on, accuracy for the network anywhere.

    Attributes:
        worker: its name, or that of its machine.
        device: where the networks run, as cpu.
        labels: class names by class id.
        variants: at least one, each once; the first is not special.
        data: what the accuracy was measured on; empty without.
        hashes: of the networks that go on from features, by name: what features are checked by.
    """

    worker: str
    device: str
    labels: tuple[str, ...]
    variants: tuple[VariantProfile, ...]
    data: tuple[str, ...] = ()
    hashes: Mapping[str, str] = field(default_factory=dict)

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
    """Time each variant of ``worker`` on an empty picture.

    Noise would not do: a network finds things in it, and suppressing them takes longer than the
    network itself.

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
        image = np.full(shape, _GREY, np.uint8)
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


def with_accuracy(profile: Profile, known: Profile, path: Path | str) -> Profile:
    """``profile`` with the accuracy that ``known``, read from ``path``, has for its variants.

    A variant that ``known`` lacks takes that of the nearest input size of the same network, since
    sizes count in input pixels; one whose network it lacks stays as it is.

    Raises:
        InputError: the labels differ, or ``known`` has accuracy for none of the networks.
    """
    if known.labels != profile.labels:
        raise InputError(
            f"profile {path} is for the classes {_some(known.labels)}, the model has "
            f"{_some(profile.labels)}; measure it anew"
        )

    def joined(entry: VariantProfile) -> VariantProfile:
        size = math.log(entry.variant.input_size)
        nearest = min(
            (e for e in known.variants if e.accuracy and e.variant.model == entry.variant.model),
            key=lambda e: (abs(math.log(e.variant.input_size) - size), e.variant),
            default=None,
        )
        return entry if nearest is None else replace(entry, accuracy=nearest.accuracy)

    entries = tuple(map(joined, profile.variants))
    if all(entry is before for entry, before in zip(entries, profile.variants, strict=True)):
        raise InputError(
            f"profile {path} has no accuracy of {', '.join(profile.models)} but of "
            f"{', '.join(known.models)}; measure it anew"
        )
    return replace(profile, variants=entries, data=tuple(dict.fromkeys(profile.data + known.data)))


def known_accuracy(profile: Profile, worker: Worker, file: str) -> tuple[Profile, list[str]]:
    """``profile`` with the accuracy that is known of ``worker``'s networks.

    It is taken from ``file``, or where that is empty from the files beside the weights, which may
    be missing. Accuracy is worth having but nothing stands still without it, so that files which
    cannot be used are told and left out.

    Returns:
        The profile, and one line per file that cannot be used.
    """
    if file:
        paths = [Path(file).expanduser()]
    else:
        beside = [profile_beside(model.path) for model in worker.models if model.path]
        paths = [path for path in beside if path.exists()]
    problems = []
    for path in paths:
        try:
            profile = with_accuracy(profile, read_profile(path), path)
        except InputError as error:
            problems.append(str(error))
    return profile, problems


def read_profile(path: Path) -> Profile:
    """A profile from its file; InputError names the file."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise InputError(f"profile {path} does not exist") from None
    except (OSError, UnicodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text"
        raise InputError(f"profile {path} cannot be read: {reason}") from error
    try:
        return from_json(text)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def write_profile(path: Path, profile: Profile) -> None:
    """Write ``profile`` where ``read_profile`` finds it; InputError where that is not possible."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(to_json(profile) + "\n", encoding="utf-8")
    except OSError as error:
        raise InputError(f"profile {path} cannot be written: {error.strerror}") from error


def profile_beside(weights: Path) -> Path:
    """Where the profile of a weights file or folder is looked for: ``<stem>.profile.json``."""
    return weights.with_name(f"{weights.stem}.profile.json")


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
                    "accuracy": None if entry.accuracy is None else asdict(entry.accuracy),
                }
                for entry in profile.variants
            ],
            "data": list(profile.data),
            **({"hashes": dict(profile.hashes)} if profile.hashes else {}),
        }
    )


def from_json(text: str) -> Profile:
    """Read what ``to_json`` wrote; raises InputError for anything else."""
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"the profile is no JSON: {error}") from error
    version = data.get("version") if isinstance(data, dict) else None
    if type(version) is int and version != VERSION:
        raise InputError(
            f"the profile is of version {version}, this software reads {VERSION}; measure it anew"
        )
    hashes = data.pop("hashes", {}) if isinstance(data, dict) else {}
    names = ("version", "worker", "device", "labels", "variants", "data")
    fields = _object(data, "profile", names)
    if not isinstance(hashes, dict):
        raise InputError("the profile's hashes cannot be used; measure it anew")
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
        tuple(_text(name, "data") for name in _list(fields["data"], "data")),
        {str(model): _text(found, "hashes") for model, found in hashes.items()},
    )


def _variant_profile(item: object) -> VariantProfile:
    fields = _object(item, "variant", ("variant", "time_ms", "batch_ms", "accuracy"))
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
        None if fields["accuracy"] is None else _accuracy(fields["accuracy"], variant),
    )


def _accuracy(item: object, variant: Variant) -> SizeAccuracy:
    what = f"accuracy of {variant}"
    names = tuple(field.name for field in dataclass_fields(SizeAccuracy))
    fields = _object(item, what, names)
    lists = {name: _list(fields[name], what) for name in ("edges", "recall", "ap", "count")}
    numbers = [*lists["edges"], *lists["count"], fields["false_positives"], fields["confidence"]]
    numbers += [v for v in (*lists["recall"], *lists["ap"]) if v is not None]
    if any(type(v) not in (int, float) or not abs(v) < 1e12 for v in numbers):
        raise InputError(f"the profile's {what} holds something that is no number")
    if any(type(v) is not int for v in (*lists["count"], fields["crops"])):
        raise InputError(f"the profile's {what} counts something by no whole number")
    try:
        return SizeAccuracy(
            tuple(map(float, lists["edges"])),
            tuple(None if v is None else float(v) for v in lists["recall"]),
            tuple(None if v is None else float(v) for v in lists["ap"]),
            tuple(lists["count"]),
            float(fields["false_positives"]),
            fields["crops"],
            float(fields["confidence"]),
        )
    except ValueError as error:
        raise InputError(f"the profile's {what} cannot be used: {error}") from error


def _some(labels: Sequence[str]) -> str:
    return ", ".join(labels[:5]) + (", ..." if len(labels) > 5 else "")


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

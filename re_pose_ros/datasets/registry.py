"""From what the user names to a dataset."""

from __future__ import annotations

import inspect
import os
import re
from collections.abc import Callable
from pathlib import Path
from urllib.parse import parse_qsl

from re_pose_ros.bags.reading import is_bag
from re_pose_ros.datasets.bag import read_bag
from re_pose_ros.datasets.coco import find_annotation_files, read_coco
from re_pose_ros.datasets.dataset import Dataset
from re_pose_ros.datasets.mot import read_mot
from re_pose_ros.datasets.visdrone import read_visdrone
from re_pose_ros.datasets.yolo import read_yolo
from re_pose_ros.errors import InputError

FORMATS: dict[str, Callable[..., Dataset]] = {
    "visdrone": read_visdrone,
    "mot": read_mot,
    "coco": read_coco,
    "yolo": read_yolo,
    "bag": read_bag,
}
"""Reader by format; their keyword arguments are the options of ``open_dataset``."""

_PREFIX = re.compile(rf"({'|'.join(FORMATS)}):(.*)", re.DOTALL)
_FILES = {".json": "coco", ".yaml": "yolo", ".yml": "yolo", ".txt": "mot"}


def open_dataset(
    spec: str | Path, *, start: int = 0, count: int = 0, step: int = 1, **options: str
) -> Dataset:
    """Read the annotations of a dataset; images are read when it is iterated.

    Args:
        spec: a folder or file, with its format before it where the content does not tell
            (``visdrone:``, ``mot:``, ``coco:``, ``yolo:``, ``bag:``) and options behind it, as
            ``yolo:photos?names=car,bus&count=100``.
        start: first frame.
        count: at most so many frames; 0 is all.
        step: every so many frames.
        options: of the format's reader; see ``FORMATS``.

    Raises:
        InputError: something is missing, malformed or not known; the message names file and line.
    """
    text, _, query = str(spec).partition("?")
    match = _PREFIX.fullmatch(text)
    name, place = (match[1], match[2]) if match else ("", text)
    if not place or "\0" in place:
        raise InputError(f"'{spec}' names no dataset; give a folder or file")
    path = Path(place).expanduser()
    if not os.path.exists(path):
        raise InputError(f"dataset {path} does not exist")
    given: dict[str, str | int] = {"start": start, "count": count, "step": step, **options}
    given |= dict(parse_qsl(query, keep_blank_values=True))
    start, count, step = (_whole_number(given, key) for key in ("start", "count", "step"))
    name = name or _format_of(path)
    reader = FORMATS[name]
    known = [
        p.name for p in inspect.signature(reader).parameters.values() if p.kind is p.KEYWORD_ONLY
    ]
    if unknown := given.keys() - set(known):
        every = ", ".join([*known, "start", "count", "step"])
        raise InputError(f"{name} datasets have no option '{min(unknown)}'; they have {every}")
    dataset = reader(path, **given)
    if not dataset.frames:
        raise InputError(f"dataset {path} has no frames")
    if start >= len(dataset):
        raise InputError(f"dataset {path} has {len(dataset)} frames; start {start} is behind them")
    if (start, count, step) == (0, 0, 1):
        return dataset
    end = start + count * step if count else None
    return dataset.select(slice(start, end, step))


def _whole_number(given: dict[str, str | int], key: str) -> int:
    text = str(given.pop(key))
    least = 1 if key == "step" else 0
    if not re.fullmatch(r"[0-9]{1,9}", text) or int(text) < least:
        raise InputError(f"{key} is '{text}'; it has to be a whole number from {least} on")
    return int(text)


def _format_of(path: Path) -> str:
    if is_bag(path):
        return "bag"
    suffix = path.suffix.lower()
    name = _FILES.get(suffix, "") if path.is_file() else _format_of_folder(path)
    if not name:
        prefixes = ", ".join(f"{f}:" for f in FORMATS)
        raise InputError(f"{path} is of no known format; say which by one of {prefixes} before it")
    return name


def _format_of_folder(path: Path) -> str:
    def has(*names: str) -> bool:
        return all((path / name).is_dir() for name in names)

    if has("gt") or any(path.glob("*/gt/gt.txt")):
        return "mot"
    if (path / "data.yaml").is_file() or has("images", "labels"):
        return "yolo"
    if any((path / "annotations").glob("*.txt")) and (has("images") or has("sequences")):
        return "visdrone"
    if find_annotation_files(path):
        return "coco"
    return "yolo" if any(path.glob("*.txt")) else ""

"""From what the user names to a dataset."""

from __future__ import annotations

import inspect
import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from urllib.parse import parse_qsl, urlencode

from re_pose_ros.bags.reading import is_bag
from re_pose_ros.datasets.bag import has_truth, read_bag
from re_pose_ros.datasets.coco import find_annotation_files, read_coco
from re_pose_ros.datasets.dataset import AnnotatedFrames, Dataset
from re_pose_ros.datasets.joined import join
from re_pose_ros.datasets.mot import read_mot
from re_pose_ros.datasets.scene import SceneFrames
from re_pose_ros.datasets.text import IMAGE_SUFFIXES
from re_pose_ros.datasets.visdrone import read_visdrone
from re_pose_ros.datasets.yolo import read_yolo
from re_pose_ros.errors import InputError
from re_pose_ros.scenes import parse_spec

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
) -> AnnotatedFrames:
    """Read the annotations of a dataset; images are read, or drawn, when it is iterated.

    Args:
        spec: a folder or file, with its format before it where the content does not tell
            (``visdrone:``, ``mot:``, ``coco:``, ``yolo:``, ``bag:``) and options behind it, as
            ``yolo:photos?names=car,bus&count=100``; or a generated scene, as
            ``scene:plaza?seed=1&size=3840x2160&frames=150&step=5``, whose ``frames`` are what
            the other three choose from.
        start: first frame.
        count: at most so many frames; 0 is all.
        step: every so many frames.
        options: of the format's reader; see ``FORMATS``.

    Raises:
        InputError: something is missing, malformed or not known; the message names file and line.
    """
    text, _, query = str(spec).partition("?")
    given: dict[str, str | int] = {"start": start, "count": count, "step": step, **options}
    given |= dict(parse_qsl(query, keep_blank_values=True))
    start, count, step = (_whole_number(given, key) for key in ("start", "count", "step"))
    frames = _open_scene(text, query, given) if text.startswith("scene:") else _open(text, given)
    if not len(frames):
        raise InputError(f"dataset {text} has no frames")
    if start >= len(frames):
        raise InputError(f"dataset {text} has {len(frames)} frames; start {start} is behind them")
    if (start, count, step) == (0, 0, 1):
        return frames
    end = start + count * step if count else None
    return frames.select(slice(start, end, step))


def open_datasets(specs: Sequence[str | Path]) -> AnnotatedFrames:
    """Several datasets of the same classes as one, in the given order.

    Args:
        specs: as of ``open_dataset``, at least one.

    Raises:
        InputError: as of ``open_dataset``, or classes that differ.
    """
    return join([open_dataset(spec) for spec in specs])


def _open(text: str, given: dict[str, str | int]) -> Dataset:
    match = _PREFIX.fullmatch(text)
    name, place = (match[1], match[2]) if match else ("", text)
    if not place or "\0" in place:
        raise InputError(f"'{text}' names no dataset; give a folder, a file or a scene")
    path = Path(place).expanduser()
    if not os.path.exists(path):
        raise InputError(f"dataset {path} does not exist")
    name = name or _format_of(path)
    reader = FORMATS[name]
    known = [
        p.name for p in inspect.signature(reader).parameters.values() if p.kind is p.KEYWORD_ONLY
    ]
    if unknown := given.keys() - set(known):
        every = ", ".join([*known, "start", "count", "step"])
        raise InputError(f"{name} datasets have no option '{min(unknown)}'; they have {every}")
    return reader(path, **given)


def _open_scene(text: str, query: str, given: dict[str, str | int]) -> SceneFrames:
    """``query`` only tells whether a key is there twice, which ``given`` cannot."""
    keys = [key for key, _ in parse_qsl(query, keep_blank_values=True)]
    if doubled := {key for key in keys if keys.count(key) > 1}:
        raise InputError(f"scene option '{min(doubled)}' is given twice")
    if query and not keys:
        raise InputError(f"scene options '{query}' are not key=value")
    name = f"{text}?{urlencode(given)}" if given else text
    spec = parse_spec(name)
    return SceneFrames(name, spec, range(spec.frames))


def _whole_number(given: dict[str, str | int], key: str) -> int:
    text = str(given.pop(key))
    least = 1 if key == "step" else 0
    if not re.fullmatch(r"[0-9]{1,9}", text) or int(text) < least:
        raise InputError(f"{key} is '{text}'; it has to be a whole number from {least} on")
    return int(text)


def is_dataset(spec: str) -> bool:
    """Whether ``open_dataset`` is to be asked: False for videos, plain images, bags without truth.

    Raises:
        InputError: it is a bag that cannot be read.
    """
    text, _, query = spec.partition("?")
    if text.startswith("scene:") or _PREFIX.fullmatch(text):
        return True
    path = Path(text).expanduser()
    if not text or "\0" in text or not os.path.exists(path):
        return False
    if is_bag(path):
        return "ground_truth" in dict(parse_qsl(query)) or has_truth(path)
    return bool(_known_format(path))


def _known_format(path: Path) -> str:
    """Empty for what is no dataset."""
    if path.is_file():
        return _FILES.get(path.suffix.lower(), "")
    return _format_of_folder(path)


def _format_of(path: Path) -> str:
    if is_bag(path):
        return "bag"
    name = _known_format(path)
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
    files = list(path.iterdir())
    images = {file.stem for file in files if file.suffix.lower() in IMAGE_SUFFIXES}
    return "yolo" if any(f.suffix == ".txt" and f.stem in images for f in files) else ""

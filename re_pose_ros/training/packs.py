"""Small pictures packed into a few files of numpy."""

from __future__ import annotations

import json
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from re_pose_ros.coinference.alexnet import SIDE
from re_pose_ros.errors import InputError
from re_pose_ros.image_codec import decode_compressed
from re_pose_ros.training.pictures import Pictures


def packed(folder: Path) -> tuple[Pictures, Pictures]:
    """Pictures for training and for measuring of ``train*.npz`` and ``test*.npz``.

    Each file has ``labels`` (N,), whole numbers from 0 on, and either ``images`` (N, 32, 32, 3)
    uint8 RGB, or ``data`` (bytes,) uint8 and ``offsets`` (N + 1,): files as OpenCV reads them
    (JPEG, PNG), one behind the other, the k-th from ``offsets[k]`` to ``offsets[k + 1]``. Several
    files of a part are joined in the order of their names. ``classes.json`` may list the classes'
    names; without it they are called by their numbers. Pictures may be in any order.

    Raises:
        InputError: there are no such files, or one of them is not like that.
    """
    parts = []
    for name in ("train", "test"):
        paths = sorted(folder.glob(f"{name}*.npz"))
        if not paths:
            raise InputError(
                f"{folder} holds no pictures as {name}*.npz; docs/coinference.md says how to pack"
            )
        images, class_ids = zip(*map(_unpacked, paths), strict=True)
        parts.append((np.concatenate(images), np.concatenate(class_ids)))
    count = 1 + max(int(class_ids.max()) for _, class_ids in parts)
    labels = _labels(folder / "classes.json", count)
    train, test = (Pictures(images, class_ids, labels) for images, class_ids in parts)
    return train, test


def _unpacked(path: Path) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    arrays = _arrays(path)
    for name in ("labels", "images") if "images" in arrays else ("labels", "data", "offsets"):
        if name not in arrays:
            raise InputError(f"{path} has no array '{name}'; it needs labels, data and offsets")
    labels = arrays["labels"].ravel()
    if labels.dtype.kind not in "iu" or not labels.size or labels.min() < 0:
        raise InputError(f"{path}: labels have to be whole numbers from 0 on, at least one")
    if "images" in arrays:
        images = arrays["images"]
        if images.dtype != np.uint8 or images.shape != (len(labels), SIDE, SIDE, 3):
            raise InputError(
                f"{path}: images are {images.shape} {images.dtype}; {len(labels)} labels need "
                f"{(len(labels), SIDE, SIDE, 3)} uint8"
            )
        images = images[..., ::-1]
    else:
        images = _decoded(path, arrays["data"], arrays["offsets"], len(labels))
    return np.ascontiguousarray(images), labels.astype(np.int64)


def _arrays(path: Path) -> dict[str, NDArray[Any]]:
    try:
        with path.open("rb") as opened, zipfile.ZipFile(opened):
            opened.seek(0)
            with np.load(opened) as file:
                return {name: file[name] for name in file.files}
    except (OSError, EOFError, ValueError, zipfile.BadZipFile, zlib.error) as error:
        raise InputError(f"{path} cannot be read as npz with plain arrays; pack it anew") from error


def _decoded(
    path: Path, data: NDArray[Any], offsets: NDArray[Any], count: int
) -> NDArray[np.uint8]:
    if data.dtype != np.uint8 or data.ndim != 1:
        raise InputError(f"{path}: data is {data.shape} {data.dtype}; it has to be (bytes,) uint8")
    if offsets.dtype.kind not in "iu" or offsets.shape != (count + 1,):
        raise InputError(
            f"{path}: offsets are {offsets.shape} {offsets.dtype}; {count} labels need "
            f"{count + 1} whole numbers"
        )
    ends = offsets.astype(np.int64)
    if ends[0] < 0 or ends[-1] > len(data) or (np.diff(ends) <= 0).any():
        raise InputError(f"{path}: offsets have to rise within the {len(data)} bytes of data")
    images = np.empty((count, SIDE, SIDE, 3), np.uint8)
    for k in range(count):
        try:
            image = decode_compressed(data[ends[k] : ends[k + 1]])
        except InputError as error:
            raise InputError(f"{path}: picture {k}: {error}") from error
        if image.shape != images.shape[1:]:
            height, width = image.shape[:2]
            raise InputError(
                f"{path}: picture {k} is {width}x{height}; AlexNet takes {SIDE}x{SIDE}"
            )
        images[k] = image
    return images


def _labels(path: Path, count: int) -> tuple[str, ...]:
    """The names in ``path``, or numbers where it is not there; at least ``count``."""
    if not path.exists():
        return tuple(map(str, range(count)))
    try:
        names = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path} is no JSON; it has to be a list of names") from error
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise InputError(f"{path} has to be a list of names")
    if len(names) < count:
        raise InputError(f"{path} names {len(names)} classes; the labels go up to {count - 1}")
    return tuple(names)

"""What the readers of annotation text share: rows of numbers, folders, image files."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from re_pose_ros.errors import InputError

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp")
MAX_PIXEL = 1e6
"""Coordinates from here on are taken for garbage."""

_MAX_ID = 2**31 - 1
_EXIF_ORIENTATION = 0x0112


def read_text(path: Path) -> str:
    """A UTF-8 text file; raises InputError where there is none."""
    try:
        return path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is no UTF-8 text (byte {error.start})") from error


class Row:
    """The numbers of one line of an annotation file; what is wrong is told with file and line."""

    def __init__(self, path: Path, line: int, values: Sequence[float]) -> None:
        self.path = path
        self.line = line
        self.values = values

    def fail(self, problem: str) -> InputError:
        """An error to raise that says where the problem is."""
        return InputError(f"{self.path}, line {self.line}: {problem}")

    def integer(self, column: int, name: str, least: int = 0, most: int = _MAX_ID) -> int:
        """A whole number in [least, most]."""
        value = self.values[column]
        if value != int(value) or not least <= value <= most:
            bound = f"from {least} on" if most == _MAX_ID else f"from {least} to {most}"
            raise self.fail(f"{name} is {value:g}; it has to be a whole number {bound}")
        return int(value)

    def corners(self, column: int) -> tuple[float, float, float, float]:
        """The box of left, top, width, height, which may have no area."""
        left, top, width, height = self.values[column : column + 4]
        if width < 0 or height < 0 or max(abs(left), abs(top), width, height) >= MAX_PIXEL:
            raise self.fail(f"{left:g},{top:g},{width:g},{height:g} is no box in pixels")
        return left, top, left + width, top + height


def read_rows(path: Path, columns: tuple[int, int], separator: str | None = ",") -> list[Row]:
    """The lines of numbers in ``path``; empty lines and a separator at the end are fine.

    Args:
        path: the annotation file.
        columns: least and greatest number of numbers in a line.
        separator: between them; None is white space.

    Raises:
        InputError: no such file, or a line that is something else.
    """
    rows = []
    for number, line in enumerate(read_text(path).splitlines(), 1):
        text = line.strip()
        if separator:
            text = text.removesuffix(separator)
        if not text:
            continue
        try:
            values = [float(cell) for cell in text.split(separator)]
        except ValueError:
            raise InputError(
                f"{path}, line {number}: '{_short(text)}' is no row of numbers"
            ) from None
        if not all(map(math.isfinite, values)):
            raise InputError(f"{path}, line {number}: '{_short(text)}' has a number without value")
        if not columns[0] <= len(values) <= columns[1]:
            least, most = columns
            expected = str(least) if least == most else f"{least} to {most}"
            raise InputError(f"{path}, line {number}: {len(values)} columns, {expected} expected")
        rows.append(Row(path, number, values))
    return rows


def _short(text: str) -> str:
    return text if len(text) <= 40 else f"{text[:40]}..."


def natural(path: Path) -> list[tuple[int, int, str]]:
    """Sort key under which ``2.png`` comes before ``10.png``."""
    parts = re.findall(r"\d+|\D+", path.as_posix())
    return [(0, int(p), p) if p.isascii() and p.isdecimal() else (1, 0, p) for p in parts]


def image_files(folder: Path, *, below: bool = False) -> list[Path]:
    """The images in ``folder``, or also in the folders ``below`` it, in natural order.

    Raises:
        InputError: no such folder, or no image there.
    """
    if not os.path.isdir(folder):  # unlike Path's, also for names that cannot be
        raise InputError(f"folder {folder} does not exist")
    found = folder.rglob("*") if below else folder.iterdir()
    files = [f for f in found if f.suffix.lower() in IMAGE_SUFFIXES and f.is_file()]
    if not files:
        raise InputError(f"folder {folder} has no images ({', '.join(IMAGE_SUFFIXES)})")
    return sorted(files, key=natural)


def rows_by_frame(rows: Sequence[Row], files: Sequence[Path]) -> list[list[Row]]:
    """The rows of each image of a sequence; the first column is the number of the frame.

    Images are numbered by their names where these are numbers from 1 on, else in their order from
    1. Rows without an image are left out.

    Raises:
        InputError: no row has an image.
    """
    stems = [file.stem for file in files]
    numbers = [int(stem) for stem in stems if stem.isascii() and stem.isdecimal()]
    if len(set(numbers)) < len(files) or min(numbers) < 1:
        numbers = list(range(1, len(files) + 1))
    by_number: dict[int, list[Row]] = {number: [] for number in numbers}
    for row in rows:
        by_number.get(row.integer(0, "frame", 1), []).append(row)
    grouped = [by_number[number] for number in numbers]
    if rows and not any(grouped):
        raise rows[0].fail(f"neither this frame nor a later one is among the {len(files)} images")
    return grouped


def subfolders(folder: Path) -> list[Path]:
    return sorted((f for f in folder.iterdir() if f.is_dir()), key=natural)


def image_size(path: Path) -> tuple[int, int]:
    """(width, height) in pixels as decoded, from the file's header.

    Raises:
        InputError: no readable image.
    """
    try:
        with Image.open(path) as image:
            width, height = image.size
            turned = image.getexif().get(_EXIF_ORIENTATION, 1) in (5, 6, 7, 8)
    except (OSError, UnidentifiedImageError, ValueError, SyntaxError) as error:
        raise InputError(f"image {path} cannot be read") from error
    return (height, width) if turned else (width, height)


def clip(boxes: NDArray[Any], size: tuple[int, int]) -> NDArray[Any]:
    """Boxes (N, 4) cut to a frame of ``size`` (width, height); those outside have no area left."""
    return boxes.clip(0, np.tile(size, 2).astype(boxes.dtype))


def list_of_names(text: str | Sequence[str]) -> tuple[str, ...]:
    """Names given as a list or separated by commas; raises InputError where one is twice."""
    names = tuple(n.strip() for n in (text.split(",") if isinstance(text, str) else text))
    if len(set(names)) < len(names) or not all(names):
        raise InputError(f"names '{','.join(names)}' have an empty or a double one")
    return names

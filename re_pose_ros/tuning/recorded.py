"""Recorded traces: CSV files with a column of times."""

from __future__ import annotations

import csv
import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from re_pose_ros.errors import InputError

LINK_COLUMNS = ("mbit_s", "rtt_ms")
LOAD_COLUMNS = ("utilisation",)


@dataclass(frozen=True, slots=True, eq=False)
class Recorded:
    """What was recorded over some time.

    Attributes:
        time_s: (R,) rising, R at least 2.
        values: (R, C) one column per quantity; each row holds until the next.
    """

    time_s: NDArray[np.float64]
    values: NDArray[np.float64]

    def at(self, time_s: ArrayLike) -> NDArray[np.float64]:
        """The values (..., C) at times (...) in seconds since the first row.

        It begins anew when it is over; the last row holds as long as the rows before it do on
        average.
        """
        since = self.time_s - self.time_s[0]
        whole = since[-1] * len(since) / (len(since) - 1)
        place = np.mod(np.asarray(time_s, np.float64), whole)
        return np.asarray(self.values[np.searchsorted(since, place, side="right") - 1])


@dataclass(frozen=True, slots=True, eq=False)
class Recordings:
    """Recorded traces of links and of machines' loads, in the order in which they were given."""

    links: tuple[Recorded, ...] = ()
    loads: tuple[Recorded, ...] = ()

    @classmethod
    def read(cls, links: Sequence[Path] = (), loads: Sequence[Path] = ()) -> Recordings:
        """Those of files; raises InputError as ``read_link`` and ``read_load`` do."""
        return cls(tuple(map(read_link, links)), tuple(map(read_load, loads)))

    @property
    def digest(self) -> str:
        """Eight hexadecimal digits that tell recordings apart; empty where there are none."""
        if not self.links and not self.loads:
            return ""
        found = hashlib.sha256()
        for kind in (self.links, self.loads):
            for trace in kind:
                found.update(np.column_stack([trace.time_s, trace.values]).tobytes() + b"|")
            found.update(b"/")
        return found.hexdigest()[:8]


def read_link(path: Path) -> Recorded:
    """A link's trace: CSV with the header ``time_s,mbit_s,rtt_ms``.

    Bandwidth in 10^6 bits per second, 0 where the link is cut; round-trip time in milliseconds.

    Raises InputError, with file and line, for anything else.
    """
    return _read(path, LINK_COLUMNS)


def read_load(path: Path) -> Recorded:
    """A trace of a machine's load: CSV with the header ``time_s,utilisation``.

    Utilisation is the share of the processor's time that others take, from 0 to below 1.

    Raises InputError, with file and line, for anything else.
    """
    found = _read(path, LOAD_COLUMNS)
    wrong = np.flatnonzero(found.values[:, 0] >= 1)
    if wrong.size:
        raise InputError(f"trace {path}, row {wrong[0] + 1}: utilisation is not below 1")
    return found


def _read(path: Path, columns: Sequence[str]) -> Recorded:
    header = ("time_s", *columns)
    try:
        with path.open(encoding="utf-8", newline="") as file:
            lines = [(row, k) for k, row in enumerate(csv.reader(file), 1) if row]
    except FileNotFoundError:
        raise InputError(f"trace {path} does not exist") from None
    except (OSError, UnicodeError, csv.Error) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no CSV text"
        raise InputError(f"trace {path} cannot be read: {reason}") from error
    if not lines or tuple(name.strip() for name in lines[0][0]) != header:
        raise InputError(f"trace {path} does not begin with the line {','.join(header)}")
    rows = [_numbers(path, line, row, header) for row, line in lines[1:]]
    if len(rows) < 2:
        raise InputError(f"trace {path} has {len(rows)} rows; at least 2 are needed")
    table = np.array(rows, np.float64)
    late = np.flatnonzero(np.diff(table[:, 0]) <= 0)
    if late.size:
        line = lines[int(late[0]) + 2][1]
        raise InputError(f"trace {path}, line {line}: time_s does not rise")
    return Recorded(table[:, 0], table[:, 1:])


def _numbers(path: Path, line: int, row: Sequence[str], header: Sequence[str]) -> list[float]:
    if len(row) != len(header):
        raise InputError(f"trace {path}, line {line}: {len(row)} values instead of {len(header)}")
    found = []
    for text, name in zip(row, header, strict=True):
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not (math.isfinite(value) and (value >= 0 or name == "time_s")):
            raise InputError(
                f"trace {path}, line {line}: {name} is {text.strip()!r}, expected a number"
                + ("" if name == "time_s" else " from 0 on")
            )
        found.append(value)
    return found

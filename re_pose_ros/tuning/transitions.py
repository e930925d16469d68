"""A file of what decisions led to, bounded, for a policy to be trained on."""

from __future__ import annotations

import json
import math
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from re_pose_ros.coinference.profile import ActionTable
from re_pose_ros.errors import InputError
from re_pose_ros.tuning.sensing import HISTORY
from re_pose_ros.tuning.state import COLUMNS, Rows, width
from re_pose_ros.tuning.told import WorkerOutcome

_FORMAT = 1


@dataclass(frozen=True, slots=True, eq=False)
class Transition:
    """One worker's part of a frame.

    Attributes:
        worker: its name; the next state is that of its next transition.
        stamp_ns: of the frame.
        state: (F,) as measured before it.
        last: the setting before, by number.
        action: the setting that it went by.
        latency_ms: infinite where an answer did not come in time.
        size: bytes sent.
    """

    worker: str
    stamp_ns: int
    state: Rows
    last: int
    action: int
    latency_ms: float
    size: int


class TransitionLog:
    """Lines of JSON, the first of which names the settings and the columns of a state.

    A full file gets the suffix ``.old`` and takes the place of the one before it, so that there
    are never more than twice ``limit`` transitions.
    """

    def __init__(self, path: Path, table: ActionTable, limit: int) -> None:
        """Go on with the file, or begin one; InputError where it cannot be written."""
        self._path, self._limit = path, limit
        self._head = json.dumps(_head(table))
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            before = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
            self._count = len(before) - 1
            if not before or before[0] != self._head:
                self._begin(keep=bool(before))
        except (OSError, UnicodeError) as error:
            raise InputError(f"transitions {path} cannot be written: {error}") from error

    def add(self, transition: Transition) -> None:
        """Write one; InputError where that fails."""
        line = json.dumps(
            {
                "worker": transition.worker,
                "stamp_ns": transition.stamp_ns,
                "state": [round(value, 6) for value in transition.state.tolist()],
                "last": transition.last,
                "action": transition.action,
                "latency_ms": None if math.isinf(transition.latency_ms) else transition.latency_ms,
                "bytes": transition.size,
            }
        )
        try:
            if self._count >= self._limit:
                self._begin(keep=True)
            with self._path.open("a", encoding="utf-8") as file:
                file.write(line + "\n")
        except OSError as error:
            raise InputError(f"transitions {self._path} cannot be written: {error}") from error
        self._count += 1

    def _begin(self, *, keep: bool) -> None:
        if keep:
            self._path.replace(self._path.with_name(self._path.name + ".old"))
        self._path.write_text(self._head + "\n", encoding="utf-8")
        self._count = 0


def read_transitions(path: Path, table: ActionTable) -> Iterator[Transition]:
    """The transitions of one file, oldest first; a last line that was broken off is left out.

    Raises InputError where the file cannot be read, or is of other settings than the table's.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeError) as error:
        raise InputError(f"transitions {path} cannot be read: {error}") from error
    if not lines or lines[0] != json.dumps(_head(table)):
        raise InputError(f"transitions {path} are of other settings than those of {table.model}")
    for number, line in enumerate(lines[1:], 2):
        try:
            found = _transition(json.loads(line), table)
        except (ValueError, KeyError, TypeError) as error:
            if number == len(lines):
                return
            raise InputError(f"transitions {path}: line {number} is damaged") from error
        yield found


def _head(table: ActionTable) -> dict[str, Any]:
    return {
        "format": _FORMAT,
        "model": table.model,
        "settings": list(map(str, table.settings)),
        "size_edges": list(table.size_edges),
        "columns": list(COLUMNS),
    }


def _transition(data: dict[str, Any], table: ActionTable) -> Transition:
    state = np.array(data["state"], np.float64)
    if state.shape != (width(table),):
        raise ValueError(f"a state of {state.shape}")
    latency = data["latency_ms"]
    return Transition(
        str(data["worker"]),
        int(data["stamp_ns"]),
        state,
        int(data["last"]),
        int(data["action"]),
        math.inf if latency is None else float(latency),
        int(data["bytes"]),
    )


class Story:
    """Puts together in which state each worker's part of a frame went by which setting."""

    def __init__(self, log: TransitionLog) -> None:
        self._log = log
        self._states: dict[str, Rows] = {}
        self._frames: OrderedDict[int, dict[str, Rows]] = OrderedDict()
        self._last: dict[str, int] = {}

    def decided(self, worker: str, state: Rows) -> None:
        """A setting was chosen, or kept, for a worker in a state (F,)."""
        self._states[worker] = state

    def planned(self, stamp_ns: int) -> None:
        """A frame goes by what was decided last."""
        self._frames[stamp_ns] = dict(self._states)
        while len(self._frames) > HISTORY:
            self._frames.popitem(last=False)

    def happened(self, outcomes: Iterable[WorkerOutcome]) -> None:
        """Write down what came of frames; InputError where that fails."""
        for came in outcomes:
            state = self._frames.get(came.stamp_ns, {}).get(came.worker)
            last = self._last.get(came.worker)
            self._last[came.worker] = came.setting
            if state is not None and last is not None:
                self._log.add(
                    Transition(
                        came.worker,
                        came.stamp_ns,
                        state,
                        last,
                        came.setting,
                        came.latency_ms,
                        came.size,
                    )
                )

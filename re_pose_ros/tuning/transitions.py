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
from re_pose_ros.tuning.state import COLUMNS, Bools, Rows, width
from re_pose_ros.tuning.told import WorkerOutcome

_FORMAT = 2


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
        deadline_ms: that the latency is judged by; that in the state may be shorter by a margin.
        allowed: (A,) which settings could have been chosen.
    """

    worker: str
    stamp_ns: int
    state: Rows
    last: int
    action: int
    latency_ms: float
    size: int
    deadline_ms: float
    allowed: Bools


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
                "deadline_ms": round(transition.deadline_ms, 3),
                "allowed": np.packbits(transition.allowed).tobytes().hex(),
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
            self._path.replace(_older(self._path))
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


def read_kept(path: Path, table: ActionTable) -> list[Transition]:
    """All transitions that a ``TransitionLog`` keeps, those of the older file first.

    An older file of other settings counts for nothing. Raises InputError as ``read_transitions``.
    """
    found = list(read_transitions(path, table))
    try:
        older = list(read_transitions(_older(path), table))
    except InputError:
        older = []
    # While it was read one file may have become the other.
    known = {(entry.worker, entry.stamp_ns) for entry in found}
    return [entry for entry in older if (entry.worker, entry.stamp_ns) not in known] + found


def _older(path: Path) -> Path:
    return path.with_name(path.name + ".old")


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
    bits = np.unpackbits(np.frombuffer(bytes.fromhex(data["allowed"]), np.uint8))
    allowed, actions = bits[: len(table.actions)].astype(np.bool_), range(len(table.actions))
    if len(allowed) != len(actions) or int(data["action"]) not in actions:
        raise ValueError("an action that is not there")
    return Transition(
        str(data["worker"]),
        int(data["stamp_ns"]),
        state,
        int(data["last"]),
        int(data["action"]),
        math.inf if latency is None else float(latency),
        int(data["bytes"]),
        float(data["deadline_ms"]),
        allowed,
    )


@dataclass(frozen=True, slots=True, eq=False)
class Choice:
    """What a setting was chosen by.

    Attributes:
        state: (F,) as measured.
        deadline_ms: that what comes of it is judged by.
        allowed: (A,) what could be chosen.
    """

    state: Rows
    deadline_ms: float
    allowed: Bools


class Story:
    """Puts together in which state each worker's part of a frame went by which setting."""

    def __init__(self, log: TransitionLog) -> None:
        self._log = log
        self._choices: dict[str, Choice] = {}
        self._frames: OrderedDict[int, dict[str, Choice]] = OrderedDict()
        self._last: dict[str, int] = {}

    def decided(self, worker: str, choice: Choice) -> None:
        """A setting was chosen, or kept, for a worker."""
        self._choices[worker] = choice

    def planned(self, stamp_ns: int) -> None:
        """A frame goes by what was decided last."""
        self._frames[stamp_ns] = dict(self._choices)
        while len(self._frames) > HISTORY:
            self._frames.popitem(last=False)

    def happened(self, outcomes: Iterable[WorkerOutcome]) -> list[Transition]:
        """Write down what came of frames, and tell it; InputError where writing fails."""
        found = []
        for came in outcomes:
            choice = self._frames.get(came.stamp_ns, {}).get(came.worker)
            last = self._last.get(came.worker)
            self._last[came.worker] = came.setting
            if choice is not None and last is not None:
                transition = Transition(
                    came.worker,
                    came.stamp_ns,
                    choice.state,
                    last,
                    came.setting,
                    came.latency_ms,
                    came.size,
                    choice.deadline_ms,
                    choice.allowed,
                )
                self._log.add(transition)
                found.append(transition)
        return found

"""What each setting costs and how well it sees, measured on the real graph and kept as JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from re_pose_ros.coinference.setting import DEVICE, Setting
from re_pose_ros.errors import InputError

FORMAT = 1

Floats = NDArray[np.float64]

_PER_SIZE = ("device_ms", "edge_ms", "bytes")
_ACTION = ("exit", "cut", "bits", "quality", "accuracy", "accuracy_by_size", *_PER_SIZE)
_HEAD = ("graph", "model", "model_hash", "machine", "input_sizes", "size_edges")
_TABLE = ("format", *_HEAD, "actions")


@dataclass(frozen=True, slots=True)
class Action:
    """One setting as it was measured.

    Attributes:
        setting: what was measured.
        accuracy: in [0, 1], over all objects: mAP50 of a detector, top-1 of a classifier.
        accuracy_by_size: the same by object size, smallest first; None where objects have none.
        device_ms: on the robot, with encoding, per input size.
        edge_ms: on the worker, with decoding, per input size; 0 where there is none.
        bytes: sent, with the envelope, per input size; 0 where nothing is.
    """

    setting: Setting
    accuracy: float
    accuracy_by_size: tuple[float, ...] | None
    device_ms: tuple[float, ...]
    edge_ms: tuple[float, ...]
    bytes: tuple[float, ...]


class Costs(NamedTuple):
    """Of every action on the measuring machine; each (..., A).

    Attributes:
        device_ms: on the robot.
        edge_ms: on the worker.
        bits: sent, 8 per byte.
    """

    device_ms: Floats
    edge_ms: Floats
    bits: Floats


@dataclass(frozen=True)
class ActionTable:
    """The settings that a tuner chooses from, in the order of its actions.

    Times hold for one thread of the machine they were measured on.

    Attributes:
        graph: ``detector``, ``alexnet``, ...
        model: name of the network.
        model_hash: of its weights, SHA-256 in hexadecimal digits.
        machine: what it was measured on.
        input_sizes: (S,) rising; sides of the network's input in pixels.
        size_edges: (K - 1,) rising; object sizes in input pixels between the K classes of
            ``accuracy_by_size``.
        actions: (A,) each setting once, at least one of them with the cut ``DEVICE``.

    Raises InputError where these do not fit together.
    """

    graph: str
    model: str
    model_hash: str
    machine: Mapping[str, Any]
    input_sizes: tuple[int, ...]
    size_edges: tuple[float, ...]
    actions: tuple[Action, ...]

    def __post_init__(self) -> None:
        _check_rising(self.input_sizes, "input_sizes")
        _check_rising(self.size_edges, "size_edges")
        if not self.input_sizes:
            raise InputError("the table of actions has no input_sizes; measure it anew")
        for action in self.actions:
            _check_action(action, len(self.input_sizes), len(self.size_edges) + 1)
        if len({action.setting for action in self.actions}) != len(self.actions):
            raise InputError("the table of actions names a setting twice; measure it anew")
        if all(action.setting.sends for action in self.actions):
            raise InputError("the table of actions lacks a setting that runs on the robot alone")

    @cached_property
    def settings(self) -> tuple[Setting, ...]:
        """(A,) in the order of the actions."""
        return tuple(action.setting for action in self.actions)

    @cached_property
    def sends(self) -> NDArray[np.bool_]:
        """(A,) whether a worker takes part."""
        return np.array([setting.sends for setting in self.settings])

    @cached_property
    def sends_features(self) -> NDArray[np.bool_]:
        """(A,) whether features are sent."""
        return np.array([setting.sends_features for setting in self.settings])

    @cached_property
    def fallback(self) -> int:
        """The action that the robot does fastest alone, for while nothing else is known."""
        return min(
            np.flatnonzero(~self.sends).tolist(), key=lambda a: self.actions[a].device_ms[-1]
        )

    @cached_property
    def accuracy_by_size(self) -> Floats:
        """(A, K); the accuracy over all objects in each column where sizes have none."""
        return np.array(
            [
                action.accuracy_by_size or (action.accuracy,) * (len(self.size_edges) + 1)
                for action in self.actions
            ],
            np.float64,
        )

    @cached_property
    def _costs(self) -> tuple[Floats, Floats, Floats]:
        """Squares of the input sizes (S,); costs (S, 3, A); what they rise by per square pixel."""
        areas = np.array(self.input_sizes, np.float64) ** 2
        costs = np.array([(a.device_ms, a.edge_ms, a.bytes) for a in self.actions], np.float64)
        costs = costs.transpose(2, 1, 0) * np.array([1.0, 1.0, 8.0])[:, None]
        rise = np.zeros_like(costs)
        rise[:-1] = np.diff(costs, axis=0) / np.diff(areas)[:, None, None]
        rise[-1] = rise[-2] if len(areas) > 1 else 0.0
        return areas, costs, rise

    def costs(self, input_size: ArrayLike) -> Costs:
        """Costs at ``input_size`` (...) in pixels, measured or not.

        Linear in the area of the input between the sizes that were measured and, never falling
        below 0, beyond the largest; those of the smallest below it.
        """
        areas, costs, rise = self._costs
        area = np.maximum(np.square(np.asarray(input_size, np.float64)), areas[0])
        below = np.minimum(areas.searchsorted(area, side="right") - 1, len(areas) - 1)
        found = costs[below] + rise[below] * (area - areas[below])[..., None, None]
        np.maximum(found, 0.0, out=found)
        return Costs(found[..., 0, :], found[..., 1, :], found[..., 2, :])

    def index(self, setting: Setting) -> int:
        """Which action ``setting`` is; InputError where it is none."""
        try:
            return self.settings.index(setting)
        except ValueError:
            raise InputError(f"setting {setting} is not in the table of {self.model}") from None

    def only(self, wanted: Callable[[Setting], bool]) -> ActionTable:
        """The table of those settings that are wanted; InputError as for any other table."""
        return replace(self, actions=tuple(a for a in self.actions if wanted(a.setting)))

    @classmethod
    def read(cls, path: Path) -> ActionTable:
        """A table from its file; InputError names the file and what is wrong."""
        try:
            text = path.read_text(encoding="utf-8")
        except FileNotFoundError:
            raise InputError(f"table of actions {path} does not exist") from None
        except (OSError, UnicodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is no text"
            raise InputError(f"table of actions {path} cannot be read: {reason}") from error
        try:
            return cls.from_json(text)
        except InputError as error:
            raise InputError(f"{path}: {error}") from error

    def write(self, path: Path) -> None:
        """Write the table where ``read`` finds it; InputError where that is not possible."""
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(self.to_json(), encoding="utf-8")
        except OSError as error:
            raise InputError(
                f"table of actions {path} cannot be written: {error.strerror}"
            ) from error

    def to_json(self) -> str:
        """JSON with a line per action, as ``from_json`` reads it."""
        head = {
            "format": FORMAT,
            "graph": self.graph,
            "model": self.model,
            "model_hash": self.model_hash,
            "machine": dict(self.machine),
            "input_sizes": list(self.input_sizes),
            "size_edges": list(self.size_edges),
        }
        lines = ",\n".join("  " + json.dumps(_action_object(action)) for action in self.actions)
        return f'{json.dumps(head)[:-1]}, "actions": [\n{lines}\n]}}\n'

    @classmethod
    def from_json(cls, text: str) -> ActionTable:
        """Read what ``to_json`` wrote; InputError for anything else."""
        try:
            data = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise InputError(f"the table of actions is no JSON: {error}") from error
        number = data.get("format") if isinstance(data, dict) else None
        if type(number) is int and number != FORMAT:
            raise InputError(
                f"the table of actions has format {number}, this software reads {FORMAT}; "
                "measure it anew"
            )
        fields = _object(data, "table of actions", _TABLE)
        if number != FORMAT:
            raise InputError("the table of actions: format is no whole number; measure it anew")
        if not isinstance(fields["machine"], dict):
            raise InputError("the table of actions: machine is no object")
        return cls(
            _text(fields["graph"], "graph"),
            _text(fields["model"], "model"),
            _text(fields["model_hash"], "model_hash"),
            fields["machine"],
            tuple(_whole(v, "input_sizes") for v in _list(fields["input_sizes"], "input_sizes")),
            _numbers(fields["size_edges"], "size_edges"),
            tuple(_read_action(item) for item in _list(fields["actions"], "actions")),
        )


def _action_object(action: Action) -> dict[str, Any]:
    setting, by_size = action.setting, action.accuracy_by_size
    return {
        "exit": setting.exit,
        "cut": setting.cut,
        "bits": setting.bits,
        "quality": setting.quality,
        "accuracy": action.accuracy,
        "accuracy_by_size": None if by_size is None else list(by_size),
        "device_ms": list(action.device_ms),
        "edge_ms": list(action.edge_ms),
        "bytes": list(action.bytes),
    }


def _read_action(item: object) -> Action:
    fields = _object(item, "action", _ACTION)
    setting = Setting(
        _text(fields["exit"], "exit"),
        *(_whole(fields[name], name) for name in ("cut", "bits", "quality")),
    )
    by_size = fields["accuracy_by_size"]
    return Action(
        setting,
        _number(fields["accuracy"], f"accuracy of {setting}"),
        None if by_size is None else _numbers(by_size, f"accuracy_by_size of {setting}"),
        *(_numbers(fields[name], f"{name} of {setting}") for name in _PER_SIZE),
    )


def _check_rising(values: Sequence[float], what: str) -> None:
    if any(a >= b for a, b in zip((0, *values), values, strict=False)):
        raise InputError(f"the table of actions: {what} does not rise from above 0")


def _check_action(action: Action, sizes: int, classes: int) -> None:
    setting = action.setting
    by_size = action.accuracy_by_size
    shares = (action.accuracy, *(by_size or ()))
    if not all(0 <= value <= 1 for value in shares):
        raise InputError(f"the table of actions: an accuracy of {setting} is not in [0, 1]")
    if by_size is not None and len(by_size) != classes:
        raise InputError(
            f"the table of actions: {setting} has accuracy for {len(by_size)} sizes of objects "
            f"instead of {classes}"
        )
    for name in _PER_SIZE:
        values: tuple[float, ...] = getattr(action, name)
        if len(values) != sizes:
            raise InputError(
                f"the table of actions: {name} of {setting} has {len(values)} values for "
                f"{sizes} input sizes"
            )
        if not all(0 <= value < math.inf for value in values):
            raise InputError(f"the table of actions: {name} of {setting} is negative or no number")
    if setting.cut == DEVICE and any((*action.edge_ms, *action.bytes)):
        raise InputError(f"the table of actions: {setting} sends nothing, but costs a worker")
    if setting.cut != DEVICE and not all(action.bytes):
        raise InputError(f"the table of actions: {setting} sends 0 bytes; measure it anew")


def _object(value: object, what: str, names: Iterable[str]) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise InputError(f"the {what} is no object but {type(value).__name__}")
    for name in names:
        if name not in value:
            raise InputError(f"the {what} lacks the field '{name}'; measure it anew")
    unknown = sorted(set(value) - set(names))
    if unknown:
        raise InputError(f"the {what} has the unknown field {unknown[0]!r}")
    return value


def _list(value: object, what: str) -> list[Any]:
    if not isinstance(value, list):
        raise InputError(f"the table of actions: {what} is no list but {type(value).__name__}")
    return value


def _text(value: object, what: str) -> str:
    if not (isinstance(value, str) and value):
        raise InputError(f"the table of actions: {what} is no text")
    return value


def _whole(value: object, what: str) -> int:
    if not (type(value) is int and abs(value) < 2**31):
        raise InputError(f"the table of actions: {what} is no whole number")
    return value


def _number(value: object, what: str) -> float:
    if type(value) not in (int, float) or not abs(value) < 1e15:  # type: ignore[arg-type]
        raise InputError(f"the table of actions: {what} is no number")
    return float(value)  # type: ignore[arg-type]


def _numbers(value: object, what: str) -> tuple[float, ...]:
    return tuple(_number(item, what) for item in _list(value, what))

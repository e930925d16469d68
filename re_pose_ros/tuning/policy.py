"""A learned policy, on numpy alone."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from re_pose_ros.coinference.profile import ActionTable
from re_pose_ros.errors import InputError
from re_pose_ros.tuning.observation import Observations, length, observe
from re_pose_ros.tuning.state import Actions, Bools, Rows

Arrays = Mapping[str, NDArray[Any]]

Floats = NDArray[np.float32]


def _relu(values: Floats) -> Floats:
    return np.maximum(values, np.float32(0))


def _tanh(values: Floats) -> Floats:
    return np.tanh(values)


_ACTIVATIONS = {"relu": _relu, "tanh": _tanh}

_UNREADABLE = (
    OSError,
    EOFError,
    MemoryError,
    NotImplementedError,
    SyntaxError,
    TypeError,
    ValueError,
    zipfile.BadZipFile,
    zlib.error,
)
"""What numpy raises on damaged files."""


class Policy:
    """The action that an actor of linear layers prefers among those that may be taken.

    A policy belongs to the settings that it was trained with, in their order; costs and accuracy
    may have been measured anew. See ``rules.Chooser``.
    """

    sees_truth = False

    def __init__(self, arrays: Arrays, table: ActionTable) -> None:
        """Take the actor's arrays.

        Args:
            arrays: ``actor.<k>.weight`` (outputs, inputs) and ``actor.<k>.bias`` (outputs,) of each
                layer from 0 on, ``activation`` after each but the last, ``relu`` or ``tanh``, and
                ``settings`` (A,) as text.
            table: the actions.

        Raises InputError where the arrays are not that, or are for other settings.
        """
        self._table = table
        settings = arrays.get("settings")
        if settings is None or settings.dtype.kind != "U":
            raise InputError("the tuner's policy does not say which settings it is for")
        here = list(map(str, table.settings))
        if settings.tolist() != here:
            raise InputError(
                f"the tuner's policy is for other settings than those of {table.model}; train one "
                "with: python -m re_pose_ros train tuner"
            )
        name = str(arrays.get("activation", ""))
        if name not in _ACTIVATIONS:
            raise InputError(f"the tuner's policy has the activation '{name}'; use relu or tanh")
        self._activation = _ACTIVATIONS[name]
        self._layers = _layers(arrays, length(table), len(here))

    @classmethod
    def load(cls, path: Path, table: ActionTable) -> Policy:
        """Read what ``save_policy`` wrote.

        Raises InputError where the file is missing, holds something else, or a policy for other
        settings than the table's.
        """
        try:
            with np.load(path, allow_pickle=False) as arrays:
                content = dict(arrays)
        except FileNotFoundError:
            raise InputError(f"the tuner's policy {path} does not exist") from None
        except _UNREADABLE as error:
            raise InputError(f"the tuner's policy {path} cannot be read: {error}") from error
        try:
            return cls(content, table)
        except InputError as error:
            raise InputError(f"{path}: {error}") from error

    def preferences(self, observations: Observations) -> Floats:
        """Logits (..., A) of observations (..., D)."""
        values = observations
        for weight, bias in self._layers[:-1]:
            values = self._activation(values @ weight + bias)
        weight, bias = self._layers[-1]
        return values @ weight + bias

    def choose(self, measured: Rows, last: Actions, masks: Bools) -> Actions:
        """The preferred action (N,) that the masks (N, A) allow."""
        found = self.preferences(observe(self._table, measured, last, masks))
        return np.asarray(np.where(masks, found, -np.inf).argmax(axis=-1))


def save_policy(path: Path, arrays: Arrays, table: ActionTable) -> None:
    """Write an actor for ``Policy.load``.

    Args:
        path: ends in ``.npz``.
        arrays: as ``Policy`` takes them but for ``settings``, which are the table's.
        table: the actions that it was trained with.

    Raises InputError where the arrays are no such policy, or the file cannot be written.
    """
    content = {**arrays, "settings": np.array(list(map(str, table.settings)))}
    Policy(content, table)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            np.savez(file, allow_pickle=False, **content)
    except OSError as error:
        raise InputError(f"the tuner's policy {path} cannot be written: {error}") from error


def _layers(arrays: Arrays, inputs: int, outputs: int) -> Sequence[tuple[Floats, Floats]]:
    """Transposed weights and biases; InputError where they do not fit together."""
    count = sum(name.endswith(".weight") for name in arrays)
    layers, before = [], inputs
    for k in range(max(count, 1)):
        weight, bias = (arrays.get(f"actor.{k}.{part}") for part in ("weight", "bias"))
        if weight is None or bias is None:
            raise InputError(f"the tuner's policy lacks the layer 'actor.{k}'")
        after = outputs if k == count - 1 else weight.shape[0] if weight.ndim else 0
        if weight.shape != (after, before) or bias.shape != (after,):
            raise InputError(
                f"layer 'actor.{k}' of the tuner's policy is {weight.shape} and {bias.shape}, "
                f"expected {(after, before)} and {(after,)}; train it anew"
            )
        for values in (weight, bias):
            if values.dtype.kind != "f" or not np.isfinite(values).all():
                raise InputError(f"layer 'actor.{k}' of the tuner's policy is not finite")
        layers.append((np.ascontiguousarray(weight.T, np.float32), bias.astype(np.float32)))
        before = after
    return layers

"""The learned policy that refines groups, on numpy alone."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from re_pose_ros.errors import InputError
from re_pose_ros.partition.refine import (
    ACTIONS,
    FRAME_FEATURES,
    GAINS,
    GROUP_FEATURES,
    MOST,
    State,
)

SHIPPED = Path(__file__).resolve().parent.parent / "weights" / "partitioner.npz"
"""The policy that the package has."""

HIDDEN = 64
SHAPES: dict[str, tuple[int, ...]] = {
    "group.0": (GROUP_FEATURES + FRAME_FEATURES, HIDDEN),
    "group.1": (HIDDEN, HIDDEN),
    "all.0": (2 * HIDDEN + FRAME_FEATURES, HIDDEN),
    "choice.0": (2 * HIDDEN, HIDDEN),
    "choice.1": (HIDDEN, 2),
    "stop.0": (HIDDEN, 1),
}
"""Inputs and outputs of the policy's layers; each has a weight (outputs, inputs) and a bias."""
GAIN = "gain"
"""Name of the two factors by which what merging and what splitting gains is preferred."""

Features = NDArray[np.float32]


class Agent:
    """A policy for ``policies.followed``: the most probable action in every state.

    Each group is described by the same small network, together with the frame; mean and greatest of
    these descriptions tell about the whole; from both come the preferences for merging and for
    splitting each group, and for stopping. So the order of the groups does not matter (deep sets,
    Zaheer et al., NeurIPS 2017), and there may be any number of them. On top comes what each change
    gains at the present price of time, times a learned factor; that alone would be greedy.
    """

    def __init__(self, tensors: Mapping[str, NDArray[np.float32]]) -> None:
        """Raises InputError where these are not the policy's weights and biases."""
        self._layers = {}
        for name, (inputs, outputs) in SHAPES.items():
            weight, bias = tensors.get(f"{name}.weight"), tensors.get(f"{name}.bias")
            if weight is None or bias is None:
                raise InputError(f"the partitioner's policy lacks the layer '{name}'")
            if weight.shape != (outputs, inputs) or bias.shape != (outputs,):
                raise InputError(
                    f"layer '{name}' of the partitioner's policy is {weight.shape} and "
                    f"{bias.shape}, expected {(outputs, inputs)} and {(outputs,)}; train it anew"
                )
            if not (np.isfinite(weight).all() and np.isfinite(bias).all()):
                raise InputError(f"layer '{name}' of the partitioner's policy is not finite")
            self._layers[name] = np.ascontiguousarray(weight.T), bias
        gain = tensors.get(GAIN)
        if gain is None or gain.shape != (2,) or not np.isfinite(gain).all():
            raise InputError("the partitioner's policy has no two factors 'gain'; train it anew")
        self._gain = gain

    @classmethod
    def load(cls, path: Path = SHIPPED) -> Agent:
        """Raises InputError where the file is missing or holds something else."""
        try:
            with np.load(path, allow_pickle=False) as arrays:
                return cls(dict(arrays))
        except FileNotFoundError:
            raise InputError(f"the partitioner's policy {path} does not exist") from None
        except (OSError, EOFError, TypeError, ValueError, zipfile.BadZipFile) as error:
            reason = " ".join(str(error).split())
            raise InputError(f"the partitioner's policy {path} cannot be read: {reason}") from error

    def __call__(self, state: State, step: int) -> int:
        rows, frame = state.observed(step)
        count = min(len(state.groups), MOST)
        logits = self.preferences(rows[:count].clip(-10, 10), frame.clip(-10, 10))
        preference = np.full(ACTIONS, -np.inf, np.float32)
        preference[0] = logits[0]
        preference[1 : 1 + count] = logits[1 : 1 + count]
        preference[1 + MOST : 1 + MOST + count] = logits[1 + count :]
        preference[~state.possible()] = -np.inf
        return int(preference.argmax())

    def preferences(self, rows: Features, frame: Features) -> Features:
        """Logits for K groups: stop, K merges, K splits; shape (1 + 2 K,).

        Args:
            rows: (K, GROUP_FEATURES), K at least 1.
            frame: (FRAME_FEATURES,).
        """
        seen = np.empty((len(rows), GROUP_FEATURES + FRAME_FEATURES), np.float32)
        seen[:, :GROUP_FEATURES], seen[:, GROUP_FEATURES:] = rows, frame
        both = np.empty((len(rows), 2 * HIDDEN), np.float32)
        own = np.tanh(self._apply("group.0", seen))
        own = np.tanh(self._apply("group.1", own), out=both[:, :HIDDEN])
        pooled = np.concatenate([own.mean(axis=0), own.max(axis=0), frame])
        both[:, HIDDEN:] = whole = np.tanh(self._apply("all.0", pooled))
        choice = self._apply("choice.1", np.tanh(self._apply("choice.0", both)))
        choice += self._gain * rows[:, GAINS]
        stop = self._apply("stop.0", whole)
        return np.concatenate([stop, choice[:, 0], choice[:, 1]]).astype(np.float32)

    def _apply(self, name: str, values: Features) -> Features:
        weight, bias = self._layers[name]
        return values @ weight + bias

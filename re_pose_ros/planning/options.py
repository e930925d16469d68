"""What there is to choose from in one frame, what is wanted of it, and what was chosen."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from re_pose_ros.errors import InputError

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

OBJECTIVES = ("accuracy", "latency", "balanced")
"""Names of the objectives; see ``Objective``."""


@dataclass(frozen=True, slots=True)
class Objective:
    """What an assignment is to be best in; loads stay within the budget for all of them.

    The makespan is the time at which the last block is done.

    Attributes:
        name: ``accuracy``: the greatest value, then the least makespan. ``latency``: the least
            makespan at which the value is at least ``share`` of the greatest, then the greatest
            value that was found at it. ``balanced``: the greatest value minus ``price`` times the
            makespan.
        share: latency: in (0, 1].
        price: balanced: value per millisecond, not negative.

    Raises InputError for a value outside its range.
    """

    name: str = "accuracy"
    share: float = 0.95
    price: float = 0.0

    def __post_init__(self) -> None:
        if self.name not in OBJECTIVES:
            raise InputError(f"objective '{self.name}' is unknown; use {', '.join(OBJECTIVES)}")
        if not 0 < self.share <= 1:
            raise InputError(f"objective share = {self.share} is not in (0, 1]")
        if not 0 <= self.price < np.inf:
            raise InputError(f"objective price = {self.price} is not in [0, inf)")


@dataclass(frozen=True, slots=True, eq=False)
class Options:
    """The choices of one frame: B blocks, V variants, W workers.

    Attributes:
        value: (B, V) worth of looking at a block with a variant, finite and not negative; a block
            that is not sent is worth 0.
        time_ms: (W, B, V) what it takes, positive; inf where the worker does not have the variant.
        budget_ms: when the last worker has to be done, not negative.
        offset_ms: (W,) when each worker is free, not negative; inf for one that takes nothing.
        slots: (W,) how many blocks each takes, not negative.
        required: (B,) blocks to be sent before all others, whatever they are worth.

    Raises ValueError where shapes or ranges are not these.
    """

    value: Floats
    time_ms: Floats
    budget_ms: float
    offset_ms: Floats
    slots: Integers
    required: NDArray[np.bool_]

    def __post_init__(self) -> None:
        shape = np.shape(self.time_ms)
        if len(shape) != 3:
            raise ValueError(f"time_ms is of shape {shape}, expected (workers, blocks, variants)")
        expected = {
            "value": shape[1:],
            "offset_ms": shape[:1],
            "slots": shape[:1],
            "required": shape[1:2],
        }
        for name, wanted in expected.items():
            if np.shape(getattr(self, name)) != wanted:
                raise ValueError(
                    f"{name} is of shape {np.shape(getattr(self, name))}, not {wanted}"
                )
        if not (np.isfinite(self.value) & (self.value >= 0)).all():
            raise ValueError("values must be finite and not negative")
        if not (self.time_ms > 0).all():
            raise ValueError("times must be positive")
        if not (self.offset_ms >= 0).all() or (self.slots < 0).any():
            raise ValueError("offsets and slots must not be negative")
        if not 0 <= self.budget_ms < np.inf:
            raise ValueError(f"the budget must be finite and not negative, got {self.budget_ms}")

    @classmethod
    def of(
        cls,
        value: object,
        time_ms: object,
        budget_ms: float,
        *,
        offset_ms: object = 0.0,
        slots: object = 1 << 30,
        required: object = False,
    ) -> Options:
        """Options from anything that numpy makes arrays of; the last three may be one number."""
        time = np.asarray(time_ms, np.float64)
        if time.ndim != 3:
            raise ValueError(f"time_ms is of shape {time.shape}, not (workers, blocks, variants)")
        workers, blocks, _ = time.shape
        return cls(
            np.asarray(value, np.float64),
            time,
            float(budget_ms),
            np.broadcast_to(np.asarray(offset_ms, np.float64), (workers,)),
            np.broadcast_to(np.asarray(slots, np.int64), (workers,)),
            np.broadcast_to(np.asarray(required, np.bool_), (blocks,)),
        )


@dataclass(frozen=True, slots=True, eq=False)
class Assignment:
    """Which blocks are sent, with which variant, to whom.

    Attributes:
        variant: (B,) index of the variant; -1 for a block that is not sent.
        worker: (B,) index of the worker; -1 for a block that is not sent.
        value: sum of the values of what is sent.
        makespan_ms: when the last block is done, offsets included; 0 where nothing is sent.
        value_bound: no assignment within the budget that sends as many required blocks is worth
            more.
        optimal: whether it is proved that none is better in the objective.
        over_budget: whether a required block is done after the budget, since none could be in it.
    """

    variant: Integers
    worker: Integers
    value: float
    makespan_ms: float
    value_bound: float
    optimal: bool
    over_budget: bool = False

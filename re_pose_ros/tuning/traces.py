"""Everything that happens to robot, link and worker in an episode, whatever the tuner does."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from re_pose_ros.errors import InputError

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Traces:
    """N traces of T blocks; arrays are (T, N) where nothing else is said.

    Attributes:
        bandwidth_mbit_s: of the link, above 0 even where it is cut.
        rtt_ms: round-trip time.
        connected: whether there is a link.
        robot_load: how many times as long things take on the robot as in the table of actions:
            its speed and what else it does.
        edge_load: the same for the worker.
        edge_wait_ms: what a block waits at the worker for those of others.
        input_size: side of the network's input for the block.
        shares: (T, N, K) of the objects by class of size.
        deadline_ms: of the block.
        period_ms: (N,) between blocks.
        features: (N,) whether the worker can go on from features.
        noise: errors of what is measured of the bandwidth: its factor.
    """

    bandwidth_mbit_s: Floats
    rtt_ms: Floats
    connected: Bools
    robot_load: Floats
    edge_load: Floats
    edge_wait_ms: Floats
    input_size: Floats
    shares: Floats
    deadline_ms: Floats
    period_ms: Floats
    features: Bools
    noise: Floats

    @property
    def steps(self) -> int:
        """T."""
        return len(self.rtt_ms)

    @property
    def count(self) -> int:
        """N."""
        return self.rtt_ms.shape[1]

    def select(self, which: NDArray[np.intp] | slice) -> Traces:
        """Some of the traces, in the order of ``which``."""
        values = {entry.name: getattr(self, entry.name) for entry in fields(self)}
        per_trace = ("period_ms", "features")
        return Traces(**{k: v[which] if k in per_trace else v[:, which] for k, v in values.items()})


def joined(parts: list[Traces]) -> Traces:
    """All traces of the parts, which are equally long; InputError where they are not."""
    if len({part.steps for part in parts}) != 1:
        raise InputError("traces of different lengths cannot be joined")
    names = [entry.name for entry in fields(Traces)]
    return Traces(
        **{
            name: np.concatenate(
                [getattr(part, name) for part in parts],
                axis=0 if name in ("period_ms", "features") else 1,
            )
            for name in names
        }
    )

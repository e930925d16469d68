"""How long each action takes in a state.

A block passes robot, link and worker one after the other, and waits at each until it is done with
the block before it:

    robot  = max(0, robot busy) + device_ms * robot load
    link   = max(robot, link busy) + 8 bytes / bandwidth
    worker = max(link + rtt / 2, worker busy) + wait + edge_ms * worker load
    latency = worker + rtt / 2, or robot where nothing is sent

With nothing else under way this is the sum of its parts. ``wait`` is for the blocks of others at
the worker. Bandwidth, loads and round-trip time are taken to stay as they are during a block. The
formulas are ours.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from re_pose_ros.coinference.profile import ActionTable, Costs
from re_pose_ros.tuning.state import COLUMNS, Rows, possible

Floats = NDArray[np.float64]

_BANDWIDTH, _RTT = COLUMNS["bandwidth_mbit_s"], COLUMNS["rtt_ms"]
_ROBOT_LOAD, _EDGE_LOAD = COLUMNS["robot_load"], COLUMNS["edge_load"]
_ROBOT, _LINK, _EDGE = (COLUMNS[f"{name}_busy_ms"] for name in ("robot", "link", "edge"))
_WAIT, _DEADLINE, _PERIOD = (COLUMNS[f"{name}_ms"] for name in ("edge_wait", "deadline", "period"))


class Timing(NamedTuple):
    """When each part would be done with the block, in ms from having it; each (..., A).

    Attributes:
        robot: computing and encoding.
        link: sending; for actions that send nothing it has no meaning, as ``edge``.
        edge: decoding and computing.
        latency: the result is there; infinite where the action cannot be done.
    """

    robot: Floats
    link: Floats
    edge: Floats
    latency: Floats


def timing(table: ActionTable, rows: Rows, costs: Costs | None = None) -> Timing:
    """Timing of every action.

    Args:
        table: the actions.
        rows: (..., F) states.
        costs: of the rows' input sizes, where they are known already; (..., A).
    """
    column = rows[..., None]
    if costs is None:
        costs = table.costs(rows[..., COLUMNS["input_size"]])
    half = column[..., _RTT, :] / 2
    robot = np.maximum(column[..., _ROBOT, :], 0.0) + costs.device_ms * column[..., _ROBOT_LOAD, :]
    link = np.maximum(robot, column[..., _LINK, :])
    link += costs.bits / (1e3 * column[..., _BANDWIDTH, :])
    edge = np.maximum(link + half, column[..., _EDGE, :])
    edge += column[..., _WAIT, :] + costs.edge_ms * column[..., _EDGE_LOAD, :]
    latency = np.where(table.sends, edge + half, robot)
    latency[~possible(table, rows)] = np.inf
    return Timing(robot, link, edge, latency)


def latency_ms(table: ActionTable, rows: Rows) -> Floats:
    """(..., A) from having a block to having its result; infinite for what cannot be done."""
    return timing(table, rows).latency


def busy_after(
    rows: Rows, chosen: Timing, sends: NDArray[np.bool_]
) -> tuple[Floats, Floats, Floats]:
    """Until when robot, link and worker are busy when the next block is there, in ms; each (...).

    A block that is late is given up: beyond its deadline nobody is busy with it, and what has not
    begun by then does not begin.

    Args:
        rows: (..., F) states.
        chosen: of the actions that were chosen, each (...).
        sends: (...) whether they send something to a worker that is there.
    """
    deadline, period = rows[..., _DEADLINE], rows[..., _PERIOD]
    half = rows[..., _RTT] / 2
    travels = sends & (chosen.robot < deadline)
    arrives = travels & (chosen.link + half < deadline)
    robot = np.minimum(chosen.robot, deadline)
    link = np.where(travels, np.minimum(chosen.link, deadline), rows[..., _LINK])
    edge = np.where(arrives, np.minimum(chosen.edge, deadline), rows[..., _EDGE])
    return (
        np.maximum(robot - period, 0.0),
        np.maximum(link - period, 0.0),
        np.maximum(edge - period, 0.0),
    )

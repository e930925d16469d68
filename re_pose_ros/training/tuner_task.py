"""What a tuner is trained and judged on: the settings of a graph, its robots and links, its seeds.

Traces are always drawn for the whole table of a graph, so that a policy of fewer settings meets the
same deadlines and links as one of all.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from re_pose_ros.coinference.profile import ActionTable
from re_pose_ros.coinference.setting import Setting
from re_pose_ros.errors import InputError
from re_pose_ros.tuning.recorded import Recordings
from re_pose_ros.tuning.reward import RewardTerms
from re_pose_ros.tuning.scenarios import Range, Scenarios
from re_pose_ros.tuning.selection import useful
from re_pose_ros.tuning.traces import Traces

WEIGHTS = Path(__file__).resolve().parents[1] / "weights"

TABLES = {"detector": "scene-n.coinference.json", "alexnet": "alexnet.coinference.json"}
"""Tables of actions among the weights, by graph."""

BOTTLENECKS = {"detector": (3, 5), "alexnet": ()}
"""Cuts of each graph where what is sent passes a trained bottleneck."""

HELD_OUT_SEED = 900_000_000
"""First seed of the traces that results are reported on; training uses none from here on."""

CHOICE_SEED = 800_000_000
"""First seed of the traces that fixed settings and the shipped policy are chosen on."""

_LOSS = 0.0003  # of the best reward, by leaving settings out
_SELECTION = (200, 200)  # traces, blocks
_SENDING: Range = (0.1, 4.0)  # of the largest picture, over the deadline

_ROBOT_SPEED: dict[str, Range] = {"detector": (1.0, 4.0), "alexnet": (10.0, 40.0)}
"""How many times as long as in the table robots take.

AlexNet takes a millisecond where the tables were measured, less than a message takes; on the
paper's Raspberry Pi the choice is not so simple. Its robots are slower by an assumption of ours.
"""


_REPLAYED = 0.5  # weight of recorded links, beside 1 of all others


@dataclass(frozen=True, slots=True)
class WholeScenarios(Scenarios):
    """Scenarios that are drawn for one table, whatever part of it chooses.

    Attributes:
        whole: the table.
    """

    whole: ActionTable | None = field(default=None, compare=False)

    def draw(self, table: ActionTable, rng: np.random.Generator, count: int, steps: int) -> Traces:
        """As ``Scenarios.draw`` for the whole table."""
        return Scenarios.draw(self, self.whole or table, rng, count, steps)


@dataclass(frozen=True, slots=True, eq=False)
class Task:
    """A graph's settings and what robots, links and workers are like.

    Attributes:
        graph: ``detector`` or ``alexnet``.
        table: all settings.
        part: those that are learned: the useful ones of those that a variant has.
        scenarios: drawn for ``table``.
    """

    graph: str
    table: ActionTable
    part: ActionTable
    scenarios: WholeScenarios

    def traces(self, seed: int, count: int, steps: int) -> Traces:
        """Held-out traces, or those of any other seed."""
        return self.scenarios.draw(self.table, np.random.default_rng(seed), count, steps)


VARIANTS = ("", "no_early_exit", "no_quantisation", "no_bottleneck")
"""What a policy may go without; the first has everything."""


def make_task(
    graph: str,
    variant: str = "",
    table: Path | ActionTable | None = None,
    recordings: Recordings | None = None,
) -> Task:
    """The task of a graph.

    Args:
        graph: of ``TABLES``.
        variant: of ``VARIANTS``: which settings the policy has.
        table: the measured settings; by default those shipped.
        recordings: to be replayed, too: as a third of the links, and as a third of the loads.

    Raises InputError for an unknown name, or a table that cannot be read or is of another graph.
    """
    if graph not in TABLES:
        raise InputError(f"graph '{graph}' is unknown; known: {', '.join(TABLES)}")
    if variant not in VARIANTS:
        raise InputError(f"variant '{variant}' is unknown; known: {', '.join(VARIANTS[1:])}")
    if not isinstance(table, ActionTable):
        table = ActionTable.read(table or WEIGHTS / TABLES[graph])
    if table.graph != graph:
        raise InputError(f"the table of {table.model} is of graph {table.graph}, not {graph}")
    scenarios = _scenarios(table, recordings or Recordings())
    rng = np.random.default_rng(CHOICE_SEED)
    part = useful(settings_of(table, variant), scenarios.draw(table, rng, *_SELECTION), _LOSS)
    return Task(graph, table, part, scenarios)


def task_of(table: ActionTable, part: ActionTable) -> Task:
    """The task of settings that were chosen before; InputError where the graph is unknown."""
    if table.graph not in TABLES:
        raise InputError(f"graph '{table.graph}' is unknown; known: {', '.join(TABLES)}")
    return Task(table.graph, table, part, _scenarios(table, Recordings()))


def _scenarios(table: ActionTable, recordings: Recordings) -> WholeScenarios:
    pictures = [max(a.bytes) for a in table.actions if a.setting.cut == 0]
    largest = max(max(a.bytes) for a in table.actions) / max(pictures)
    return WholeScenarios(
        whole=table,
        recorded=_REPLAYED if recordings.links else 0.0,
        traces=recordings.links,
        load_traces=recordings.loads,
        robot_speed=_ROBOT_SPEED[table.graph],
        sending=(_SENDING[0] * largest, _SENDING[1] * largest),
    )


def training_terms() -> RewardTerms:
    """What policies are trained for: lateness counts twice as much as in what is reported.

    A learned policy weighs being late against accuracy as it is told; being told more keeps it as
    far from the deadline as one that knows all.
    """
    usual = RewardTerms()
    return RewardTerms(usual.latency, 2 * usual.late, usual.later, usual.switch)


def settings_of(table: ActionTable, variant: str) -> ActionTable:
    """The settings that a variant has, useful or not."""
    return table.only(_wanted(table, variant))


def _wanted(table: ActionTable, variant: str) -> Callable[[Setting], bool]:
    deepest = max(table.actions, key=lambda a: a.device_ms[-1] * (not a.setting.sends)).setting.exit
    bottlenecks = BOTTLENECKS[table.graph]
    if variant == "no_early_exit":
        return lambda setting: setting.exit == deepest
    if variant == "no_quantisation":
        return lambda setting: setting.bits in (0, 8)
    if variant == "no_bottleneck":
        return lambda setting: setting.cut not in bottlenecks
    return lambda setting: True

"""The planners of a bench by name: which parts they have, what for, and within which budget."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace

from re_pose_ros.bench.oracle import Oracle
from re_pose_ros.errors import InputError
from re_pose_ros.partition.base import PartitionSettings
from re_pose_ros.partition.re_pose import RePose, RePoseOptions

PARTS = ("agent", "tracking", "knapsack", "perspective")
"""What a planner can be without; greedy has no agent."""

EXAMPLES = (
    "re_pose@<ms>",
    "greedy@<ms>",
    "re_pose_truth",
    *(f"re_pose_no_{part}" for part in PARTS),
    "re_pose_latency",
    "re_pose_balanced",
    "oracle",
)
"""For messages."""

_NAME = re.compile(
    r"(?P<kind>re_pose|greedy|oracle)"
    rf"(?:_no_(?P<without>{'|'.join(PARTS)}))?"
    r"(?P<truth>_truth)?"
    r"(?:_(?P<objective>latency|accuracy|balanced))?"
    r"(?:@(?P<budget>[0-9]{1,6}(?:\.[0-9]{1,3})?))?"
)


@dataclass(frozen=True, slots=True)
class Planner:
    """What a name stands for.

    Attributes:
        kind: ``re_pose``, ``greedy`` or ``oracle``.
        without: the part that it does without, of ``PARTS``; empty for none.
        told: whether it knows the true objects.
        objective: of ``planning.OBJECTIVES``; empty for that of the settings.
        budget_ms: None for that of the settings.
    """

    kind: str
    without: str = ""
    told: bool = False
    objective: str = ""
    budget_ms: float | None = None

    @classmethod
    def parse(cls, name: str) -> Planner | None:
        """None where ``name`` is none of a planner.

        Names are ``re_pose`` or ``greedy``, then ``_no_<part>``, ``_truth``, ``_<objective>`` and
        ``@<milliseconds>``, each of them or not, in this order; or ``oracle`` and the last two.
        """
        match = _NAME.fullmatch(name)
        if match is None or (match["kind"] == "greedy" and match["without"] == "agent"):
            return None
        if match["kind"] == "oracle" and (match["without"] or match["truth"]):
            return None
        budget = float(match["budget"]) if match["budget"] else None
        told = bool(match["truth"]) or match["kind"] == "oracle"
        return cls(match["kind"], match["without"] or "", told, match["objective"] or "", budget)

    def options(self) -> RePoseOptions:
        """The parts that it has; an oracle has all."""
        kept = {part: part != self.without for part in ("tracking", "knapsack", "perspective")}
        if self.kind == "greedy":
            return RePoseOptions("greedy", **kept)
        return RePoseOptions("none" if self.without == "agent" else "agent", **kept)

    def settings(self, partition: PartitionSettings, budget_ms: float | None) -> PartitionSettings:
        """``partition`` with its objective and budget; InputError where one cannot be used.

        Args:
            partition: what holds where the name tells nothing.
            budget_ms: as given beside the name; None where none is.
        """
        if budget_ms is not None and self.budget_ms is not None:
            raise InputError(f"{self.kind}@{self.budget_ms:g} has its budget in its name already")
        budget = self.budget_ms if budget_ms is None else budget_ms
        if budget is not None:
            partition = replace(partition, budget_ms=budget)
        return replace(partition, objective=self.objective) if self.objective else partition

    def make(self, name: str, settings: PartitionSettings, clock: Callable[[], float]) -> RePose:
        """A new planner; ``clock`` gives the seconds that an oracle is not charged."""
        if self.kind == "oracle":
            return Oracle(settings, name, clock)
        return RePose(settings, self.options(), name)

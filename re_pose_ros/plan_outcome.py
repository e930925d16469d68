"""What a planner expected of a frame beside what happened, as topics and reports have it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from re_pose_ros.detections import Detections
from re_pose_ros.geometry import Block
from re_pose_ros.plan import Expectation

FOUND_CONFIDENCE = 0.25
"""Detections of at least this confidence are counted as found objects, as by the profiles' recall
that values are predicted from (``SizeAccuracy.confidence``)."""

FAR_OVER = 1.1
"""Times the budget from which on a frame is far over it."""


@dataclass(frozen=True, slots=True)
class PlanOutcome:
    """One frame.

    Attributes:
        predicted_ms: from having the frame to having its detections, as planned.
        happened_ms: the same as it happened.
        predicted_value: number of objects that were expected to be found.
        happened_value: detections of at least ``FOUND_CONFIDENCE``, right or wrong, since nobody
            on a robot can tell.
        budget_ms: what the frame might take.
        objective: what was planned for; see ``planning.Objective``.
    """

    predicted_ms: float
    happened_ms: float
    predicted_value: float
    happened_value: int
    budget_ms: float
    objective: str

    @classmethod
    def of(cls, expected: Expectation, happened_ms: float, detections: Detections) -> PlanOutcome:
        """``detections`` are the fused ones of the frame."""
        return cls(
            expected.makespan_ms,
            happened_ms,
            expected.value,
            int((detections.confidence >= FOUND_CONFIDENCE).sum()),
            expected.budget_ms,
            expected.objective,
        )

    @property
    def over_budget(self) -> bool:
        return self.happened_ms > self.budget_ms

    def texts(self) -> dict[str, str]:
        """As key-value pairs of a message."""
        return {
            "predicted_ms": f"{self.predicted_ms:.3f}",
            "happened_ms": f"{self.happened_ms:.3f}",
            "predicted_value": f"{self.predicted_value:.3f}",
            "happened_value": str(self.happened_value),
            "budget_ms": f"{self.budget_ms:.3f}",
            "objective": self.objective,
            "over_budget": str(self.over_budget).lower(),
        }

    @classmethod
    def read(cls, texts: Mapping[str, str]) -> PlanOutcome | None:
        """What ``texts`` wrote, among other pairs; None where it is not there."""
        names = ("predicted_ms", "happened_ms", "predicted_value", "happened_value", "budget_ms")
        values = [number(texts.get(name)) for name in names]
        known = [value for value in values if value is not None]
        if len(known) < len(names):
            return None
        predicted_ms, happened_ms, predicted_value, happened_value, budget_ms = known
        return cls(
            predicted_ms,
            happened_ms,
            predicted_value,
            round(happened_value),
            budget_ms,
            texts.get("objective", ""),
        )


def number(text: str | None) -> float | None:
    """A finite number of a message's pair; None where it is none, as others may write there too."""
    try:
        value = math.nan if text is None else float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def blocks_text(blocks: Sequence[Block]) -> str:
    """``x,y,width,height`` of each, with semicolons between."""
    return ";".join(f"{b.x},{b.y},{b.width},{b.height}" for b in blocks)


def read_blocks(text: str) -> tuple[Block, ...]:
    """What ``blocks_text`` wrote; nothing where it is something else."""
    try:
        return tuple(Block(*map(int, item.split(","))) for item in text.split(";") if item)
    except (TypeError, ValueError):
        return ()


def budget_figures(outcomes: Sequence[PlanOutcome]) -> dict[str, Any] | None:
    """How well predictions and budget were kept, as JSON; None without frames.

    ``budget_ms`` and ``objective`` are those of the last frame, shares are of all frames, values
    are means per frame.
    """
    if not outcomes:
        return None
    happened = np.array([outcome.happened_ms for outcome in outcomes])
    budget = np.array([outcome.budget_ms for outcome in outcomes])
    last = outcomes[-1]
    return {
        "budget_ms": last.budget_ms,
        "objective": last.objective,
        "over_budget_share": round(float((happened > budget).mean()), 4),
        "far_over_budget_share": round(float((happened > FAR_OVER * budget).mean()), 4),
        "predicted_ms": _spread([outcome.predicted_ms for outcome in outcomes]),
        "happened_ms": _spread(happened),
        "value_predicted": round(float(np.mean([o.predicted_value for o in outcomes])), 3),
        "value_happened": round(float(np.mean([o.happened_value for o in outcomes])), 3),
    }


def budget_line(figures: Mapping[str, Any]) -> str:
    """``budget_figures`` for people, in one line."""
    predicted, happened = figures["predicted_ms"], figures["happened_ms"]
    return (
        f"{figures['budget_ms']:.0f} ms for {figures['objective']}, "
        f"{figures['over_budget_share']:.1%} of frames over it; "
        f"p50 {happened['p50']:.0f} ms ({predicted['p50']:.0f} predicted), "
        f"{figures['value_happened']:.1f} objects ({figures['value_predicted']:.1f} predicted)"
    )


def _spread(values: object) -> dict[str, float]:
    p50, p95 = np.percentile(np.asarray(values, float), (50, 95))
    return {"p50": round(float(p50), 3), "p95": round(float(p95), 3)}

"""Expectations beside what happened: as text and back, and their figures."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from re_pose_ros.detections import Detections
from re_pose_ros.geometry import Block
from re_pose_ros.plan import Expectation
from re_pose_ros.plan_outcome import (
    FOUND_CONFIDENCE,
    PlanOutcome,
    blocks_text,
    budget_figures,
    budget_line,
    read_blocks,
)

EXPECTED = Expectation(12.5, 61.0, 80.0, "accuracy")


def outcome(happened_ms: float, budget_ms: float = 80.0, found: int = 10) -> PlanOutcome:
    return PlanOutcome(61.0, happened_ms, 12.5, found, budget_ms, "accuracy")


def test_detections_count_from_a_confidence_on() -> None:
    scores = [0.9, FOUND_CONFIDENCE, FOUND_CONFIDENCE - 1e-3, 0.05]
    found = Detections.of([[0, 0, 1, 1]] * 4, scores, [0] * 4)
    made = PlanOutcome.of(EXPECTED, 70.0, found)
    assert made == PlanOutcome(61.0, 70.0, 12.5, 2, 80.0, "accuracy")


def test_at_the_budget_is_not_over_it() -> None:
    assert not outcome(80.0).over_budget and outcome(80.001).over_budget
    assert outcome(80.0).texts()["over_budget"] == "false"
    assert outcome(81.0).texts()["over_budget"] == "true"


milliseconds = st.integers(0, 10**8).map(lambda k: k / 1000)


@given(
    milliseconds,
    milliseconds,
    milliseconds,
    st.integers(0, 10**5),
    milliseconds,
    st.sampled_from(["accuracy", "latency", "balanced"]),
)
def test_texts_are_read_back(
    predicted: float, happened: float, value: float, found: int, budget: float, objective: str
) -> None:
    made = PlanOutcome(predicted, happened, value, found, budget, objective)
    assert PlanOutcome.read(made.texts() | {"partition_ms": "1.0"}) == made


@pytest.mark.parametrize("broken", ["", "soon", "nan", "inf"])
def test_what_is_no_outcome_is_not_read(broken: str) -> None:
    texts = outcome(70.0).texts()
    assert PlanOutcome.read({}) is None
    for name in ("predicted_ms", "happened_ms", "predicted_value", "happened_value", "budget_ms"):
        assert PlanOutcome.read(texts | {name: broken}) is None
        assert PlanOutcome.read({k: v for k, v in texts.items() if k != name}) is None


blocks = st.lists(
    st.builds(
        Block, st.integers(-9, 9999), st.integers(-9, 9999), st.integers(1, 99), st.integers(1, 99)
    ),
    max_size=5,
)


@given(blocks)
def test_blocks_are_read_back(given_blocks: list[Block]) -> None:
    assert read_blocks(blocks_text(given_blocks)) == tuple(given_blocks)


def test_blocks_as_text() -> None:
    assert blocks_text([Block(1, 2, 3, 4), Block(50, 60, 7, 8)]) == "1,2,3,4;50,60,7,8"
    for text in ("1,2,3", "1,2,3,4,5", "1,2,0,4", "a,b,c,d", "1,2,3,4;x"):
        assert read_blocks(text) == ()


def test_figures_of_a_run() -> None:
    assert budget_figures([]) is None
    run = [outcome(ms) for ms in (40.0, 79.0, 81.0, 88.0, 89.0)] + [outcome(60.0, 50.0, 4)]
    figures = budget_figures(run)
    assert figures == {
        "budget_ms": 50.0,
        "objective": "accuracy",
        "over_budget_share": round(4 / 6, 4),
        "far_over_budget_share": round(2 / 6, 4),
        "predicted_ms": {"p50": 61.0, "p95": 61.0},
        "happened_ms": {"p50": 80.0, "p95": 88.75},
        "value_predicted": 12.5,
        "value_happened": 9.0,
    }
    assert json.loads(json.dumps(figures)) == figures
    line = budget_line(figures)
    for part in ("50 ms for accuracy", "66.7% of frames", "80 ms (61 predicted)", "9.0 objects"):
        assert part in line

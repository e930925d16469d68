"""Result of ``bench fine-tuning``: what is compared lived through the same; its figures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="training needs torch")
pytest.importorskip("stable_baselines3", reason="training needs stable-baselines3")

from re_pose_ros.bench.fine_tuning import (
    DRIFTS,
    FineTuningOptions,
    bench_fine_tuning,
    drifted,
    shown,
)
from re_pose_ros.coinference.profile import ActionTable
from re_pose_ros.errors import InputError
from re_pose_ros.training.fine_tuning import FineTuning
from re_pose_ros.training.tuner_task import TABLES, WEIGHTS
from re_pose_ros.tuning.guard import Bound

TABLE = ActionTable.read(WEIGHTS / TABLES["detector"])
EVERY = 260


@pytest.fixture(scope="module")
def content(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    file = tmp_path_factory.mktemp("bench") / "result.json"
    options = FineTuningOptions(
        drifts=("none", "robot_network"),
        robots=2,
        every=EVERY,
        rounds=1,
        how=FineTuning(critic_batches=20, steps=20),
        bound=Bound(window=40),
    )
    found = bench_fine_tuning(options, file=file)
    assert json.loads(file.read_text()) == json.loads(json.dumps(found))
    return found


def test_all_begin_alike_and_the_ceiling_is_the_best(content: dict[str, Any]) -> None:
    for of in content["drifts"].values():
        # Before the first candidate it is the shipped policy.
        assert of["fine_tuned"]["by_round"][0] == of["shipped"]["by_round"][0]
        assert of["oracle"]["reward"] >= of["shipped"]["reward"]
        assert of["candidates"] == 2 and len(of["robots"]) == 2
        assert of["used"] <= of["candidates"] and of["taken_back"] <= of["used"]
        assert 0 <= of["fine_tuned"]["in_time"] <= 1


def test_part_of_what_a_drift_costs_is_mended(content: dict[str, Any]) -> None:
    of = content["drifts"]["robot_network"]
    assert of["shipped"]["reward"] < of["oracle"]["reward"] - 0.2
    assert of["closed"] > 0.3 and of["used"] > 0 and of["worse"] == 0
    assert content["drifts"]["none"]["worse"] == 0


def test_bad_policies_do_not_pass_and_are_taken_back(content: dict[str, Any]) -> None:
    forced = content["forced"]
    assert forced["the shipped one itself"]["loss"] == pytest.approx(0, abs=1e-6)
    for name in ("always the earliest exit", "random weights"):
        assert forced[name]["passed"] == 0
    assert forced["always the earliest exit"]["taken_back"] == 2
    assert "always the earliest exit" in shown(content)


def test_drifts_change_what_they_say() -> None:
    costs = {name: drifted(TABLE, factors).costs(640) for name, factors in DRIFTS.items()}
    usual, pictures = TABLE.costs(640), [setting.cut == 0 for setting in TABLE.settings]
    assert (costs["none"].device_ms == usual.device_ms).all()
    ratio = costs["robot_network"].device_ms / usual.device_ms
    assert ratio[pictures] == pytest.approx(1.0)
    assert ratio[[not p for p in pictures]] == pytest.approx(1.6)
    assert (costs["worker_pictures"].edge_ms[pictures] > usual.edge_ms[pictures]).all()
    assert all((of.bits == usual.bits).all() for of in costs.values())


@pytest.mark.parametrize(
    "changed", [{"drifts": ("x",)}, {"robots": 0}, {"rounds": 0}, {"every": 50}]
)
def test_options_that_make_no_sense_are_refused(changed: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        FineTuningOptions(**changed)


def test_a_file_that_cannot_be_written_is_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError):
        bench_fine_tuning(FineTuningOptions(), file=tmp_path / "file" / "x.json")


def test_the_documentation_has_the_tables_of_the_result() -> None:
    docs = Path(__file__).resolve().parents[1] / "docs"
    result = json.loads((docs / "results" / "2026-11-30_fine_tuning.json").read_text())
    assert shown(result) in (docs / "coinference.md").read_text()

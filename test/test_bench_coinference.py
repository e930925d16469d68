"""Result of ``bench coinference``: what is in it, and that its figures are what they are called."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tuning_cases

pytest.importorskip("torch", reason="training needs torch")
pytest.importorskip("stable_baselines3", reason="training needs stable-baselines3")

from re_pose_ros.__main__ import main
from re_pose_ros.bench import coinference
from re_pose_ros.bench.coinference_figures import by_condition
from re_pose_ros.bench.coinference_view import markdown, read, table
from re_pose_ros.coinference.profile import ActionTable
from re_pose_ros.errors import EXIT_BAD_INPUT, InputError
from re_pose_ros.training import tuner, tuner_start
from re_pose_ros.training.tuner_task import HELD_OUT_SEED, WEIGHTS, make_task
from re_pose_ros.tuning import episodes, rules
from re_pose_ros.tuning.recorded import Recordings

POLICIES = {
    "sac_d",
    "dqn",
    "ppo",
    "best_fixed",
    "greedy",
    "device_only",
    "edge_only",
    "oracle",
}
FIGURES = {"reward", "regret_pct", "deadline_hit", "accuracy", "latency_ms", "bytes", "switches"}


def classifier_table() -> ActionTable:
    whole = tuning_cases.detector_table()
    actions = tuple(
        replace(action, accuracy_by_size=None) for action in whole.actions if action.accuracy < 0.6
    )
    return replace(whole, graph="alexnet", model="alexnet", size_edges=(), actions=actions)


def recordings(folder: Path) -> Recordings:
    """A link that is cut most of the time, and a machine that is busy now and then."""
    link, load = folder / "link.csv", folder / "load.csv"
    link.write_text("time_s,mbit_s,rtt_ms\n0,20,5\n1,0,5\n10,0,5\n")
    load.write_text("time_s,utilisation\n0,0.1\n3,0.7\n")
    return Recordings.read([link], [load])


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Path]:
    folder = tmp_path_factory.mktemp("bench")
    options = coinference.CoinferenceOptions(
        seeds=(0, 1),
        ablation_seeds=(0,),
        traces=9,
        blocks=20,
        trained=folder / "trained",
        steps=128,
        recordings=recordings(folder),
    )
    tables = {"detector": tuning_cases.detector_table(), "alexnet": classifier_table()}
    with pytest.MonkeyPatch.context() as patch:
        collect = tuner_start.collect
        patch.setattr(tuner_start, "collect", lambda *given: collect(*given, 4, 5))
        patch.setattr(tuner_start, "start", lambda *given: None)
        few = ("no_start", "no_early_exit", "dqn_with_start")
        patch.setattr(coinference, "ABLATIONS", {k: coinference.ABLATIONS[k] for k in few})
        patch.setattr(tuner, "_WATCHED", (2, 5))
        patch.setattr(tuner, "_RANDOM_STEPS", 64)
        content = coinference.bench_coinference(
            options, tables=tables, file=folder / "result.json", plot=folder / "plot.png"
        )
    return content, folder


def test_the_result_has_every_policy_and_figure(result: tuple[dict[str, Any], Path]) -> None:
    content, folder = result
    assert json.loads((folder / "result.json").read_text()) == json.loads(json.dumps(content))
    assert (folder / "plot.png").stat().st_size > 1000
    assert content["graphs"].keys() == {"alexnet", "detector"}
    for of in content["graphs"].values():
        assert of["policies"].keys() >= POLICIES
        assert of["missing"] == []
        assert of["ablations"].keys() == {"no_start", "no_early_exit", "dqn_with_start"}
        for found in (*of["policies"].values(), *of["ablations"].values()):
            assert found.keys() >= FIGURES
            assert found["latency_ms"].keys() == {"p50", "p95"}
            assert 0 <= found["deadline_hit"] <= 1


def test_learned_policies_have_means_and_spread_over_seeds(
    result: tuple[dict[str, Any], Path],
) -> None:
    for of in result[0]["graphs"].values():
        for name in coinference.LEARNED:
            found = of["policies"][name]
            rewards = [one["reward"] for one in found["by_seed"]]
            assert len(rewards) == 2
            assert found["reward"] == pytest.approx(np.mean(rewards), abs=1e-6)
            assert found["std"]["reward"] == pytest.approx(np.std(rewards, ddof=1), abs=1e-6)
        assert of["policies"]["greedy"]["std"]["reward"] is None


def test_nobody_is_better_than_the_oracle_state_by_state(
    result: tuple[dict[str, Any], Path],
) -> None:
    for of in result[0]["graphs"].values():
        assert of["policies"]["oracle"]["regret_pct"] == pytest.approx(0, abs=1e-6)
        assert all(found["regret_pct"] >= 0 for found in of["policies"].values())


def test_figures_are_those_of_the_held_out_traces(result: tuple[dict[str, Any], Path]) -> None:
    table_ = tuning_cases.detector_table()
    traces = make_task("detector", table=table_).traces(HELD_OUT_SEED, 9, 21)
    rolled = episodes.roll(rules.Greedy(table_), table_, traces)
    found = result[0]["graphs"]["detector"]["policies"]["greedy"]
    assert found["reward"] == pytest.approx(rolled.reward.mean(), abs=1e-5)
    versus = result[0]["graphs"]["detector"]["versus"]["greedy"]
    own = result[0]["graphs"]["detector"]["policies"]["sac_d"]["reward"]
    assert versus["reward"] == pytest.approx(own - found["reward"], abs=1e-5)


def test_thirds_of_the_traces_average_to_the_whole() -> None:
    table_ = tuning_cases.detector_table()
    traces = make_task("detector", table=table_).traces(11, 9, 12)
    rolled = episodes.roll(rules.Greedy(table_), table_, traces)
    found = by_condition({"greedy": [rolled]}, traces)
    for thirds in found.values():
        hits = [third["greedy"]["deadline_hit"] for third in thirds.values()]
        assert np.mean(hits) == pytest.approx(rolled.in_time.mean(), abs=1e-5)


def test_what_is_not_trained_can_be_left_out(tmp_path: Path) -> None:
    options = coinference.CoinferenceOptions(
        graphs=("detector",), seeds=(7,), traces=3, blocks=5, trains=False, trained=tmp_path
    )
    content = coinference.bench_coinference(
        options, tables={"detector": tuning_cases.detector_table()}
    )
    of = content["graphs"]["detector"]
    assert "sac_d" not in of["policies"] and of["policies"].keys() > {"greedy", "oracle"}
    assert "sac_d-seed7" in of["missing"]
    assert not list(tmp_path.iterdir())
    assert "not trained: " in table(content)


def test_tables_for_reading_have_a_row_per_policy(result: tuple[dict[str, Any], Path]) -> None:
    tables = markdown(result[0])
    lines = tables["detector, policies"].splitlines()
    assert len(lines) == 2 + len(result[0]["graphs"]["detector"]["policies"])
    assert all(line.startswith("| ") and line.endswith(" |") for line in lines)
    assert "no_early_exit" in tables["alexnet, ablations"]
    assert len(tables["detector, thirds"].splitlines()) == 2 + 9


def test_a_result_is_shown_without_running_anything(
    result: tuple[dict[str, Any], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bench", "coinference", "--show", str(result[1] / "result.json")]) == 0
    shown = capsys.readouterr().out
    for name, lines in markdown(result[0]).items():
        assert f"{name}\n\n{lines}\n" in shown
    assert main(["bench", "coinference", "--show", str(result[1] / "link.csv")]) == EXIT_BAD_INPUT
    assert "is no result of bench coinference" in capsys.readouterr().err


def test_policies_are_judged_on_recorded_links(result: tuple[dict[str, Any], Path]) -> None:
    for of in result[0]["graphs"].values():
        found = of["recorded"]
        assert (found["links"], found["loads"]) == (1, 1)
        assert found["policies"].keys() >= {"greedy", "oracle", "sac_d"}
        # Most of the time nothing can be sent.
        assert found["policies"]["oracle"]["bytes"] < of["policies"]["oracle"]["bytes"]


def test_what_settings_are_worth_is_told_of_the_best_choice(
    result: tuple[dict[str, Any], Path],
) -> None:
    for of in result[0]["graphs"].values():
        assert of["without"].keys() == {"no_early_exit", "no_quantisation", "no_bottleneck"}
        for found in of["without"].values():
            assert found["oracle"]["regret_pct"] >= 0
    detector = result[0]["graphs"]["detector"]["without"]
    assert detector["no_early_exit"]["oracle"]["regret_pct"] > 0


def test_another_policy_is_compared_under_its_name(
    result: tuple[dict[str, Any], Path], tmp_path: Path
) -> None:
    trained = next((result[1] / "trained" / "detector").glob("sac_d-seed1.npz"), None) or next(
        (result[1] / "trained" / "detector").glob("sac_d-*seed1.npz")
    )
    mine = tmp_path / "mine.npz"
    mine.write_bytes(trained.read_bytes())
    options = coinference.CoinferenceOptions(
        graphs=("detector",), traces=3, blocks=5, trains=False, trained=tmp_path, policies=(mine,)
    )
    tables = {"detector": tuning_cases.detector_table()}
    of = coinference.bench_coinference(options, tables=tables)["graphs"]["detector"]
    assert of["policies"].keys() >= {"mine", "greedy"} and of["recorded"] == {}


@pytest.mark.parametrize("command", [["bench", "coinference"], ["train", "tuner"]])
@pytest.mark.parametrize(
    ("option", "text", "words"),
    [
        ("--link-trace", "time_s,mbit_s\n", "does not begin with the line time_s,mbit_s,rtt_ms"),
        ("--link-trace", "time_s,mbit_s,rtt_ms\n0,1,2\n", "has 1 rows"),
        ("--load-trace", "time_s,utilisation\n0,0.2\n1,x\n", "line 3: utilisation is 'x'"),
        ("--load-trace", "time_s,utilisation\n0,0.2\n1,1.0\n", "utilisation is not below 1"),
        ("--load-trace", None, "does not exist"),
    ],
)
def test_recordings_that_cannot_be_used_end_it_with_one_line(
    command: list[str],
    option: str,
    text: str | None,
    words: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = tmp_path / "trace.csv"
    if text is not None:
        path.write_text(text)
    assert main([*command, option, str(path)]) == EXIT_BAD_INPUT
    error = capsys.readouterr().err
    assert words in error and str(path) in error and error.count("\n") == 1


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"graphs": ("lenet",)}, "graph 'lenet'"),
        ({"traces": 0}, "at least one"),
        ({"policies": (Path("a.npz"),)}, "is for one graph"),
        ({"policies": (Path("dqn.npz"),), "graphs": ("detector",)}, "the name of another"),
    ],
)
def test_unusable_options_are_named(changed: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        coinference.CoinferenceOptions(**changed)


@pytest.mark.parametrize("graph", ["detector", "alexnet"])
def test_the_shipped_policy_beats_the_best_fixed_setting(graph: str) -> None:
    path = WEIGHTS / coinference.SHIPPED[graph]
    if not path.exists():
        pytest.skip(f"no policy is shipped for {graph}: {path.name} is not there")
    task = make_task(graph)
    traces = task.traces(HELD_OUT_SEED, 30, 129)
    chooser = tuner.chooser_of(path, task)
    fixed = rules.best_fixed(task.table, traces)
    own, other = (episodes.figures(episodes.roll(c, task.table, traces)) for c in (chooser, fixed))
    assert own["reward"] > other["reward"]
    assert own["regret_pct"] < 5
    assert path.stat().st_size < 300_000


DOCS = Path(__file__).resolve().parents[1] / "docs"
DOCUMENTED = {
    "2026-11-30_coinference.json": (
        "detector, policies",
        "detector, gain in reward of sac_d over",
        "detector, thirds",
        "detector, harder links",
        "alexnet, policies",
        "alexnet, gain in reward of sac_d over",
    ),
    "2026-11-30_coinference_ablations.json": ("detector, ablations", "detector, without"),
}


@pytest.mark.parametrize("name", DOCUMENTED)
def test_the_documentation_has_the_tables_of_the_results(name: str) -> None:
    tables, page = markdown(read(DOCS / "results" / name)), (DOCS / "coinference.md").read_text()
    for what in DOCUMENTED[name]:
        assert tables[what] in page, what

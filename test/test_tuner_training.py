"""Training of tuners: going on after a stop, the start that knows the task, the task itself."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tuning_cases

pytest.importorskip("torch", reason="training needs torch")
pytest.importorskip("stable_baselines3", reason="training needs stable-baselines3")

from re_pose_ros.errors import InputError
from re_pose_ros.training import tuner, tuner_command, tuner_report, tuner_start
from re_pose_ros.training import tuner_task as tasks
from re_pose_ros.tuning import episodes, rules
from re_pose_ros.tuning.environment import TuningVecEnv
from re_pose_ros.tuning.policy import Policy
from re_pose_ros.tuning.recorded import Recorded, Recordings

TINY = tuner.TunerTraining(steps=384, kept_every=192, start=3)


@pytest.fixture(scope="module")
def task() -> tasks.Task:
    return tasks.make_task("detector", table=tuning_cases.detector_table())


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    def collect(task: tasks.Task, terms: object, seed: int) -> tuner_start.States:
        return tuner_start_collect(task, terms, seed, 8, 9)  # type: ignore[arg-type]

    tuner_start_collect = tuner_start.collect
    monkeypatch.setattr(tuner_start, "collect", collect)
    monkeypatch.setattr(tuner, "_RANDOM_STEPS", 64)
    monkeypatch.setattr(tuner, "_WATCHED", (4, 9))


def arrays(path: Path) -> dict[str, np.ndarray]:
    with np.load(path, allow_pickle=False) as content:
        return dict(content)


@pytest.mark.parametrize("algorithm", tuner.ALGORITHMS)
def test_a_training_that_was_interrupted_ends_with_the_same_policy(
    algorithm: str, task: tasks.Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rollout = 4096 if algorithm == "ppo" else 192
    training = replace(TINY, algorithm=algorithm, steps=2 * rollout, kept_every=rollout)
    whole = tuner.train_tuner(training, task, tmp_path / "whole")

    learn, parts = tuner._learn, []

    def stops(model: object, training: tuner.TunerTraining, part: int) -> None:
        parts.append(part)
        if len(parts) == 2:
            raise KeyboardInterrupt
        learn(model, training, part)

    monkeypatch.setattr(tuner, "_learn", stops)
    with pytest.raises(KeyboardInterrupt):
        tuner.train_tuner(training, task, tmp_path / "stopped")
    resumed = tuner.train_tuner(training, task, tmp_path / "stopped")

    assert parts == [1, 2, 2]
    one, other = arrays(whole), arrays(resumed)
    assert one.keys() == other.keys()
    assert all((one[name] == other[name]).all() for name in one)
    curves = [json.loads(p.with_suffix(".json").read_text())["curve"] for p in (whole, resumed)]
    assert curves[0] == curves[1]
    assert [point["steps"] for point in curves[0]] == [0, rollout, 2 * rollout]
    assert {path.suffix for path in resumed.parent.iterdir()} == {".npz", ".json"}


def test_a_damaged_checkpoint_is_trained_anew(task: tasks.Task, tmp_path: Path) -> None:
    whole = tuner.train_tuner(TINY, task, tmp_path / "whole")
    folder = tmp_path / "damaged"
    folder.mkdir()
    (folder / f"{whole.stem}.json").write_text('{"part": 1, "curve": [')
    again = tuner.train_tuner(TINY, task, folder)
    assert all((arrays(whole)[k] == v).all() for k, v in arrays(again).items())


def test_what_is_there_is_not_trained_anew(task: tasks.Task, tmp_path: Path) -> None:
    path = tmp_path / f"{tuner.name_of(TINY)}.npz"
    path.write_bytes(b"there")
    assert tuner.train_tuner(TINY, task, tmp_path) == path
    assert path.read_bytes() == b"there"


def test_the_informed_start_is_nearly_a_cautious_greedy_rule(task: tasks.Task) -> None:
    env = TuningVecEnv(task.part, tuner.ENVIRONMENTS, task.scenarios)
    traces = task.traces(5, 60, 80)
    best = episodes.figures(episodes.roll(rules.oracle(task.table), task.table, traces))
    greedy = episodes.figures(episodes.roll(rules.Greedy(task.table), task.table, traces))
    for algorithm in ("sac_d", "ppo"):
        model = tuner._fresh(replace(TINY, algorithm=algorithm), env)
        tuner._begun(replace(TINY, algorithm=algorithm, start=1), task, model)
        names = np.array(list(map(str, task.part.settings)))
        policy = Policy({**tuner.policy_arrays(model), "settings": names}, task.part)
        chooser = rules.Within(policy, task.part, task.table)
        found = episodes.figures(episodes.roll(chooser, task.table, traces))
        assert found["deadline_hit"] > greedy["deadline_hit"], algorithm
        assert best["reward"] > found["reward"] > 0.99 * greedy["reward"], algorithm


def test_informed_layers_side_by_side_are_those_of_one_network(task: tasks.Task) -> None:
    import torch

    env = TuningVecEnv(task.part, tuner.ENVIRONMENTS, task.scenarios)
    env.seed(3)
    model = tuner._fresh(TINY, env)
    terms = tasks.training_terms()
    tuner_start.inform(list(model.actor.layers)[::2], task.part, terms, 1.0)
    tuner_start.inform(list(model.critic.values)[::2], task.part, terms, 1.0)
    seen = torch.as_tensor(env.reset())
    with torch.no_grad():
        logits, values = model.actor.logits(seen), model.critic(seen)
    assert torch.allclose(values, logits.expand_as(values), atol=1e-5)


def test_too_small_a_network_cannot_be_informed(task: tasks.Task) -> None:
    import torch

    layers = [torch.nn.Linear(8, 4), torch.nn.Linear(4, 4), torch.nn.Linear(4, 2)]
    with pytest.raises(InputError, match="hidden units"):
        tuner_start.inform(layers, task.part, tasks.training_terms(), 1.0)


def test_seeds_of_training_choice_and_results_are_disjoint() -> None:
    trainings = [tuner.TunerTraining(seed=seed) for seed in (0, 1, 4, 100_000)]
    drawn = {t.drawn(part) for t in trainings for part in range(t.parts + 1)}
    assert len(drawn) == sum(t.parts + 1 for t in trainings)
    furthest = max(drawn) + tuner.ENVIRONMENTS
    assert furthest < tuner._WATCH_SEED < tasks.CHOICE_SEED < tasks.HELD_OUT_SEED


def test_names_tell_trainings_apart() -> None:
    names = {
        tuner.name_of(training)
        for training in (
            *tuner_command.ABLATIONS.values(),
            *map(tuner_command.usual, tuner.ALGORITHMS),
            tuner.TunerTraining(seed=1),
        )
    }
    assert len(names) == len(tuner_command.ABLATIONS) + len(tuner.ALGORITHMS) + 1


def test_variants_go_without_what_their_names_say() -> None:
    table = tuning_cases.detector_table()
    parts = {
        variant: tasks.make_task("detector", variant, table).part.settings
        for variant in tasks.VARIANTS
    }
    assert {setting.exit for setting in parts["no_early_exit"]} == {"p5"}
    assert all(setting.bits in (0, 8) for setting in parts["no_quantisation"])
    cuts = tasks.BOTTLENECKS["detector"]
    assert all(setting.cut not in cuts for setting in parts["no_bottleneck"])


def test_recordings_are_replayed_beside_what_is_drawn_and_are_in_the_name() -> None:
    table = tuning_cases.detector_table()
    rate = 123.0
    link = Recorded(np.array([0.0, 1.0]), np.array([[rate, 5.0], [rate, 5.0]]))
    load = Recorded(np.array([0.0, 1.0]), np.array([[0.9], [0.9]]))
    recordings = Recordings((link,), (load,))
    traces = tasks.make_task("detector", table=table, recordings=recordings).traces(3, 60, 4)
    replayed = (traces.bandwidth_mbit_s == rate).all(axis=0)
    assert 10 <= replayed.sum() <= 30
    busy = (traces.edge_load >= 5.0).all(axis=0)  # ten times what at least half takes at rest
    assert 10 <= busy.sum() <= 30
    options = tuner_command.TunerOptions(recordings=recordings)
    names = {tuner.name_of(training) for _, training in options.trainings()}
    assert all(recordings.digest in name for name in names)
    other = Recordings((load,), (link,)).digest
    assert len({"", Recordings().digest, recordings.digest, other}) == 3


def test_traces_do_not_depend_on_what_is_learned(task: tasks.Task) -> None:
    few = tasks.make_task("detector", "no_early_exit", task.table)
    for name in ("deadline_ms", "bandwidth_mbit_s", "robot_load"):
        one, other = (getattr(of.traces(7, 3, 5), name) for of in (task, few))
        assert (one == other).all()
        drawn = few.scenarios.draw(few.part, np.random.default_rng(7), 3, 5)
        assert (getattr(drawn, name) == one).all()


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"algorithm": "a2c"}, "known: sac_d, dqn, ppo"),
        ({"variant": "no_robot"}, "variant 'no_robot'"),
        ({"seed": -1}, "seed -1"),
        ({"gamma": 1.5}, "gamma"),
        ({"kept_every": 1}, "kept_every"),
    ],
)
def test_unusable_trainings_are_named(changed: dict[str, object], words: str) -> None:
    with pytest.raises(InputError, match=words):
        tuner.TunerTraining(**changed)  # type: ignore[arg-type]


def test_unknown_graphs_and_tables_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="graph 'lenet'"):
        tasks.make_task("lenet")
    with pytest.raises(InputError, match="not alexnet"):
        tasks.make_task("alexnet", table=tuning_cases.detector_table())
    with pytest.raises(InputError, match="ablation 'no_x'"):
        tuner_command.TunerOptions(ablations=("no_x",))


def test_the_report_ships_a_punctual_policy(task: tasks.Task, tmp_path: Path) -> None:
    paths = {}
    for seed in (0, 1):
        path = tuner.train_tuner(replace(TINY, steps=0, seed=seed), task, tmp_path)
        paths[path.stem] = path
    content = tuner_report.judge(task, paths, traces=20)
    assert content["shipped"] in paths
    tuner_report.write(content, tmp_path)
    assert (tmp_path / "tuner.png").stat().st_size > 1000
    assert content["shipped"] in (tmp_path / "tuner.md").read_text(encoding="utf-8")
    assert json.loads((tmp_path / "tuner.report.json").read_text()) == json.loads(
        json.dumps(content)
    )


def test_lateness_weighs_more_than_reward() -> None:
    oracle = {"deadline_hit": 1.0}
    found = {
        "sac_d-late": {"reward": 0.9, "deadline_hit": 0.99},
        "sac_d-b": {"reward": 0.7, "deadline_hit": 0.9995},
        "sac_d-c": {"reward": 0.8, "deadline_hit": 0.9995},
        "dqn": {"reward": 1.0, "deadline_hit": 1.0},
    }
    assert tuner_report._best(found, oracle) == "sac_d-c"
    del found["sac_d-b"], found["sac_d-c"]
    assert tuner_report._best(found, oracle) == "sac_d-late"
    assert tuner_report._best({"dqn": found["dqn"]}, oracle) is None

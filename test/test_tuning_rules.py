"""Rules and figures: the oracle against brute force, fixed settings, policies on numpy."""

from __future__ import annotations

import math
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tuning_cases as cases
from hypothesis import example, given
from hypothesis import strategies as st

from re_pose_ros.coinference.profile import ActionTable
from re_pose_ros.errors import InputError
from re_pose_ros.tuning import rules
from re_pose_ros.tuning.episodes import Learned, Rolled, figures, roll
from re_pose_ros.tuning.observation import length, observe
from re_pose_ros.tuning.policy import Policy, save_policy
from re_pose_ros.tuning.reward import RewardTerms
from re_pose_ros.tuning.scenarios import Scenarios
from re_pose_ros.tuning.selection import useful
from re_pose_ros.tuning.simulation import Sensing, Simulation
from re_pose_ros.tuning.state import COLUMNS, SHARES

SMALL, DETECTOR = cases.small_table(), cases.detector_table()
LIVELY = Scenarios(outage_every_s=10.0)
TRACES = LIVELY.draw(DETECTOR, np.random.default_rng(0), 12, 40)

seeds = st.integers(0, 10_000)


def brute_force(
    table: ActionTable, row: np.ndarray, last: int, terms: RewardTerms
) -> tuple[int, float]:
    """The best action of a state and its reward, one action after the other."""
    state = dict(zip(COLUMNS, row, strict=False))
    best = (-1, -math.inf)
    for number, action in enumerate(table.actions):
        setting = action.setting
        device, edge, bits = (float(v[number]) for v in table.costs(state["input_size"]))
        ms = max(state["robot_busy_ms"], 0) + device * state["robot_load"]
        if setting.cut >= 0:
            if not state["connected"] or (setting.cut > 0 and not state["features"]):
                continue
            ms = max(ms, state["link_busy_ms"]) + bits / state["bandwidth_mbit_s"] / 1e3
            ms = max(ms + state["rtt_ms"] / 2, state["edge_busy_ms"]) + state["edge_wait_ms"]
            ms += edge * state["edge_load"] + state["rtt_ms"] / 2
        ratio = ms / state["deadline_ms"]
        sees = sum(
            share * value
            for share, value in zip(row[SHARES:], action.accuracy_by_size or (), strict=True)
        )
        if ratio <= 1:
            gained = sees - terms.latency * ratio
        else:
            gained = -terms.latency - terms.late - terms.later * min(ratio - 1, 1)
        gained -= terms.switch * (number != last)
        if gained > best[1]:
            best = (number, gained)
    return best


@given(seeds)
@example(540)  # all settings late, the one before impossible
def test_the_oracle_is_brute_force(seed: int) -> None:
    random = np.random.default_rng(seed)
    terms = RewardTerms(*random.uniform(0, 1, 4))
    simulation = Simulation(DETECTOR, LIVELY.draw(DETECTOR, random, 3, 6), terms)
    oracle = rules.oracle(DETECTOR, terms)
    while not simulation.over:
        masks = simulation.true_masks()
        chosen = oracle.choose(simulation.true, simulation.last, masks)
        # Where every setting is late, to stay with one that cannot be done saves the switch.
        rewards = np.where(masks, simulation.true_rewards(), -np.inf)
        for k, row in enumerate(simulation.true):
            number, gained = brute_force(DETECTOR, row, int(simulation.last[k]), terms)
            assert rewards[k, chosen[k]] == pytest.approx(gained)
            assert rewards[k].max() == pytest.approx(gained)
            assert chosen[k] == number or rewards[k, number] == pytest.approx(gained)
        simulation.step(random.integers(0, len(DETECTOR.actions), 3))


def test_the_oracle_regrets_nothing_and_others_something() -> None:
    none = figures(roll(rules.oracle(DETECTOR), DETECTOR, TRACES))
    assert none["regret_pct"] == 0
    for rule in (rules.Greedy(DETECTOR), rules.Fixed(0, 0), rules.Fixed(9, 0)):
        rolled = roll(rule, DETECTOR, TRACES)
        assert (rolled.reward <= rolled.best + 1e-12).all()
        assert figures(rolled)["regret_pct"] > 0


def test_greedy_is_the_oracle_where_what_is_measured_is_true() -> None:
    traces = cases.steady(20, 3, deadline_ms=70.0)
    greedy = roll(rules.Greedy(SMALL), SMALL, traces)
    assert (greedy.actions == roll(rules.oracle(SMALL), SMALL, traces).actions).all()
    assert (greedy.actions == 3).all()  # 57 ms of 70, where the picture would take 91.5


def test_greedy_believes_what_is_measured() -> None:
    rate = [10.0] * 3 + [1.0] * 6
    traces = cases.steady(9, bandwidth_mbit_s=rate, deadline_ms=70.0)
    rolled = roll(rules.Greedy(SMALL), SMALL, traces)
    # At 1 Mbit/s features take 129 ms: late once, until it is measured.
    assert rolled.actions[:, 0].tolist() == [3, 3, 3, 3, 0, 0, 0, 0]
    assert rolled.in_time[:, 0].tolist() == [True] * 3 + [False] + [True] * 4


def test_caution_leaves_a_margin() -> None:
    traces = cases.steady(5, deadline_ms=60.0)
    assert (roll(rules.Greedy(SMALL), SMALL, traces).actions == 3).all()
    assert (roll(rules.Greedy(SMALL, caution=1.1), SMALL, traces).actions == 0).all()


@given(seeds)
def test_rules_choose_what_the_masks_allow(seed: int) -> None:
    random = np.random.default_rng(seed)
    simulation = Simulation(DETECTOR, LIVELY.draw(DETECTOR, random, 5, 3))
    masks = random.random((5, 43)) < 0.2
    masks[:, 0] = True
    for rule in (rules.Greedy(DETECTOR), rules.Greedy(DETECTOR, caution=1.5), rules.Fixed(7, 0)):
        chosen = rule.choose(simulation.measured, simulation.last, masks)
        assert masks[range(5), chosen].all()


def test_fixed_settings_fall_back_on_the_robot() -> None:
    traces = cases.steady(12, connected=[True] * 3 + [False] * 9, period_ms=100.0)
    rule = rules.best_fixed(SMALL, traces, [SMALL.settings[3]])
    rolled = roll(rule, SMALL, traces)
    assert rolled.actions[:, 0].tolist() == [3] * 4 + [0] * 7


@pytest.mark.parametrize("sensing", [None, Sensing(lag=3)])
def test_the_best_fixed_setting_is_the_best_of_all(sensing: Sensing | None) -> None:
    terms = RewardTerms(late=0.3)
    means = []
    for number in range(43):
        rolled = roll(rules.Fixed(number, 0), DETECTOR, TRACES, terms, sensing)
        means.append(rolled.reward.mean())
    sends = np.array([setting.cut for setting in DETECTOR.settings])
    found = [
        maker(DETECTOR, TRACES, terms=terms, sensing=sensing).action
        for maker in (rules.best_fixed, rules.device_only, rules.edge_only)
    ]
    for action, candidates in zip(found, (sends > -2, sends == -1, sends == 0), strict=True):
        assert candidates[action]
        assert means[action] == pytest.approx(np.array(means)[candidates].max())
    with pytest.raises(InputError, match="no setting"):
        rules.best_fixed(DETECTOR, TRACES, [])


# Parts of a table.


def test_a_part_of_the_actions_is_nearly_as_good_as_all() -> None:
    best = figures(roll(rules.oracle(DETECTOR), DETECTOR, TRACES))["reward"]
    sizes = []
    for loss in (0.05, 0.01, 0.0):
        part = useful(DETECTOR, TRACES, loss)
        sizes.append(len(part.actions))
        assert set(part.settings) <= set(DETECTOR.settings)
        assert part.settings[0] == DETECTOR.settings[0]
        within = rules.Within(rules.oracle(part), part, DETECTOR)
        rolled = roll(within, DETECTOR, TRACES)
        assert figures(rolled)["regret_pct"] <= 100 * loss + 1
        assert figures(rolled)["reward"] >= best * (1 - loss) - 0.01
    assert sizes[0] < sizes[1] < sizes[2] < 43
    with pytest.raises(InputError, match="loss of -1"):
        useful(DETECTOR, TRACES, -1)


def test_a_chooser_of_a_part_is_asked_in_its_own_numbers() -> None:
    part = SMALL.only(lambda setting: setting.exit == "last")

    class Asked:
        sees_truth = False

        def choose(self, measured: Any, last: np.ndarray, masks: np.ndarray) -> np.ndarray:
            self.last, self.masks = last, masks
            return np.array([2, 0])

    asked = Asked()
    within = rules.Within(asked, part, SMALL)
    masks = np.array([[True, True, True, False], [True, True, False, True]])
    chosen = within.choose(np.zeros((2, 18)), np.array([0, 3]), masks)
    assert chosen.tolist() == [3, 1] and not within.sees_truth
    assert asked.last.tolist() == [-1, 2]
    assert asked.masks.tolist() == [[True, True, False], [True, False, True]]
    assert rules.Within(rules.oracle(part), part, SMALL).sees_truth
    with pytest.raises(InputError, match="early/device is not in the table"):
        rules.Within(asked, SMALL, part)


# Figures.


def test_figures_are_those_of_the_blocks() -> None:
    shape = (2, 2)
    rolled = Rolled(
        actions=np.zeros(shape, np.intp),
        reward=np.array([[0.5, 0.6], [0.7, -1.0]]),
        best=np.array([[0.5, 0.7], [0.7, 0.6]]),
        latency_ms=np.array([[10.0, 20.0], [30.0, np.inf]]),
        in_time=np.array([[True, True], [True, False]]),
        accuracy=np.array([[0.5, 0.7], [0.8, 0.0]]),
        bytes=np.array([[0.0, 100.0], [300.0, 0.0]]),
        changed=np.array([[True, False], [False, False]]),
    )
    assert figures(rolled) == {
        "reward": 0.2,
        "regret_pct": pytest.approx(100 * 1.7 / 2.5),
        "deadline_hit": 0.75,
        "accuracy": 0.5,
        "latency_ms": {"p50": 20.0, "p95": None},
        "bytes": 100.0,
        "switches": 25.0,
    }


def test_rolling_is_deterministic_and_covers_all_blocks_but_the_last() -> None:
    first, second = (roll(rules.Greedy(DETECTOR), DETECTOR, TRACES) for _ in range(2))
    assert first.reward.shape == (39, 12)
    assert (first.reward == second.reward).all() and (first.actions == second.actions).all()


# Policies on numpy.


def arrays(seed: int = 0, table: ActionTable = SMALL, hidden: int = 8) -> dict[str, np.ndarray]:
    random = np.random.default_rng(seed)
    widths = [length(table), hidden, hidden, len(table.actions)]
    found: dict[str, np.ndarray] = {"activation": np.array("relu")}
    for k, (inputs, outputs) in enumerate(pairwise(widths)):
        found[f"actor.{k}.weight"] = random.normal(0, 0.5, (outputs, inputs)).astype(np.float32)
        found[f"actor.{k}.bias"] = random.normal(0, 0.5, outputs).astype(np.float32)
    return found


def with_settings(found: dict[str, np.ndarray], table: ActionTable = SMALL) -> dict[str, Any]:
    return {**found, "settings": np.array([str(setting) for setting in table.settings])}


@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_a_policy_computes_its_layers(activation: str) -> None:
    found = with_settings(arrays(1) | {"activation": np.array(activation)})
    observations = np.random.default_rng(2).normal(0, 1, (5, length(SMALL))).astype(np.float32)
    act = np.tanh if activation == "tanh" else lambda values: values * (values > 0)
    expected = []
    for values in observations.astype(float):
        for k in range(3):
            values = found[f"actor.{k}.weight"] @ values + found[f"actor.{k}.bias"]
            values = act(values) if k < 2 else values
        expected.append(values)
    preferences = Policy(found, SMALL).preferences(observations)
    assert preferences == pytest.approx(np.array(expected), abs=1e-4)


@given(seeds)
def test_a_policy_takes_the_best_that_it_may(seed: int) -> None:
    random = np.random.default_rng(seed)
    policy = Policy(with_settings(arrays(seed)), SMALL)
    simulation = Simulation(SMALL, cases.steady(2, 6, deadline_ms=random.uniform(20, 200)))
    masks = random.random((6, 4)) < 0.5
    masks[:, 0] = True
    chosen = policy.choose(simulation.measured, simulation.last, masks)
    seen = observe(SMALL, simulation.measured, simulation.last, masks)
    for k, preferences in enumerate(policy.preferences(seen)):
        allowed = [a for a in range(4) if masks[k, a]]
        assert chosen[k] == max(allowed, key=lambda a: preferences[a])


def test_a_policy_is_read_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "new" / "policy.npz"
    save_policy(path, arrays(3), SMALL)
    observations = np.ones((1, length(SMALL)), np.float32)
    read = Policy.load(path, SMALL).preferences(observations)
    assert (read == Policy(with_settings(arrays(3)), SMALL).preferences(observations)).all()
    rolled = roll(Policy.load(path, SMALL), SMALL, cases.steady(4, 2))
    assert rolled.actions.shape == (3, 2)


def test_a_policy_and_anything_else_that_observes_choose_alike() -> None:
    policy = Policy(with_settings(arrays(4, DETECTOR), DETECTOR), DETECTOR)

    def act(observations: np.ndarray, masks: np.ndarray) -> np.ndarray:
        return np.where(masks, policy.preferences(observations), -np.inf).argmax(axis=1)

    first = roll(policy, DETECTOR, TRACES)
    assert (first.actions == roll(Learned(DETECTOR, act), DETECTOR, TRACES).actions).all()


def test_a_policy_for_other_settings_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "policy.npz"
    save_policy(path, arrays(), SMALL)
    part = SMALL.only(lambda setting: setting.cut <= 0)
    with pytest.raises(InputError, match="for other settings than those of small") as caught:
        Policy.load(path, part)
    assert str(path) in str(caught.value)


def changed(name: str, value: Any) -> dict[str, Any]:
    return with_settings(arrays()) | {name: value}


WRONG = {
    "activation": (changed("activation", np.array("gelu")), "activation 'gelu'"),
    "settings": (arrays(), "does not say which settings"),
    "shape": (changed("actor.1.weight", np.ones((8, 7), np.float32)), r"'actor.1' .*\(8, 7\)"),
    "outputs": (changed("actor.2.bias", np.ones(5, np.float32)), "'actor.2' .*train it anew"),
    "nan": (changed("actor.0.bias", np.full(8, np.nan, np.float32)), "'actor.0' .* not finite"),
    "whole": (changed("actor.0.bias", np.ones(8, int)), "'actor.0' .* not finite"),
    "flat": (changed("actor.0.weight", np.float32(1.0)), "'actor.0'"),
    "more": (changed("actor.4.weight", np.ones((1, 1), np.float32)), "lacks the layer 'actor.3'"),
}


@pytest.mark.parametrize("name", WRONG)
def test_arrays_that_are_no_policy_are_refused(tmp_path: Path, name: str) -> None:
    found, part = WRONG[name]
    with pytest.raises(InputError, match=part) as caught:
        Policy({key: np.asarray(value) for key, value in found.items()}, SMALL)
    assert "\n" not in str(caught.value)


def test_damaged_files_are_policies_or_named_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "policy.npz"
    save_policy(path, arrays(), SMALL)
    whole, random = path.read_bytes(), np.random.default_rng(0)
    refused = 0
    for trial in range(400):
        content = bytearray(whole)
        for place in random.integers(0, len(content), 1 + trial % 8):
            content[place] = random.integers(256)
        path.write_bytes(bytes(content if trial % 5 else content[: random.integers(len(content))]))
        try:
            Policy.load(path, SMALL)
        except InputError as error:
            refused += 1
            assert str(path) in str(error) and "\n" not in str(error)
    assert refused > 300
    with pytest.raises(InputError, match="does not exist"):
        Policy.load(tmp_path / "none.npz", SMALL)


def test_the_robot_needs_no_learning_framework() -> None:
    code = (
        "import sys; from re_pose_ros.tuning import episodes, policy, rules, scenarios, selection;"
        "names = {'torch', 'gymnasium', 'stable_baselines3'};"
        "print(*(names & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []

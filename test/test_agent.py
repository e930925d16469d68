"""The agent on numpy: what it chooses, and what it refuses to be made of."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import partition_cases as cases
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from re_pose_ros.errors import InputError
from re_pose_ros.partition.agent import GAIN, SHAPES, Agent
from re_pose_ros.partition.policies import followed, greedy
from re_pose_ros.partition.refine import FRAME_FEATURES, GAINS, GROUP_FEATURES, MOST, STEPS, Terms

seeds = st.integers(0, 10_000)
ONES = np.ones(2, np.float32)


def weights(seed: int = 0) -> dict[str, np.ndarray]:
    """Of a policy that knows nothing."""
    random = np.random.default_rng(seed)
    found = {}
    for name, (inputs, outputs) in SHAPES.items():
        found[f"{name}.weight"] = random.normal(0, 0.3, (outputs, inputs)).astype(np.float32)
        found[f"{name}.bias"] = random.normal(0, 0.3, outputs).astype(np.float32)
    found[GAIN] = random.uniform(0, 2, 2).astype(np.float32)
    return found


@settings(max_examples=25)
@given(seeds, st.integers(1, 40))
def test_an_agent_does_not_see_the_order_of_groups(seed: int, count: int) -> None:
    random = np.random.default_rng(seed)
    rows = random.normal(0, 1, (count, GROUP_FEATURES)).astype(np.float32)
    frame = random.normal(0, 1, FRAME_FEATURES).astype(np.float32)
    order = random.permutation(count)
    agent = Agent(weights(seed))
    first, second = agent.preferences(rows, frame), agent.preferences(rows[order], frame)
    assert first.shape == (1 + 2 * count,)
    assert second[0] == pytest.approx(first[0], abs=1e-4)
    assert second[1 : 1 + count] == pytest.approx(first[1 : 1 + count][order], abs=1e-4)
    assert second[1 + count :] == pytest.approx(first[1 + count :][order], abs=1e-4)
    assert np.ptp(first) > 0


@settings(max_examples=40)
@given(seeds, st.integers(1, 80), st.integers(1, 40))
def test_an_agent_chooses_what_can_be_done(seed: int, count: int, groups: int) -> None:
    first, agent = cases.state(seed, count, groups), Agent(weights(seed))
    for step in range(3):
        action = agent(first, step)
        assert first.possible()[action]
        assert agent(first, step) == action
        first = first.applied(action) or first


def test_an_agent_prefers_what_its_weights_say() -> None:
    """Without weights only the biases count."""
    nothing = {name: np.zeros_like(value) for name, value in weights().items()}
    first = cases.state(2, 30, 5)
    for stop, merge, split, expected in ((1, 0, 0, 0), (0, 1, 0, 1), (0, 0, 1, 1 + MOST)):
        tensors = nothing | {
            "stop.0.bias": np.array([stop], np.float32),
            "choice.1.bias": np.array([merge, split], np.float32),
        }
        assert Agent(tensors)(first, 0) == expected
    alone = cases.state(2, 1, 1)
    assert Agent(nothing | {"choice.1.bias": np.ones(2, np.float32)})(alone, 0) == 0


def test_an_agent_is_read_as_it_was_written(tmp_path: Path) -> None:
    tensors = weights(3)
    np.savez(tmp_path / "policy.npz", **tensors)  # type: ignore[arg-type]
    rows = np.ones((2, GROUP_FEATURES), np.float32)
    frame = np.ones(FRAME_FEATURES, np.float32)
    read = Agent.load(tmp_path / "policy.npz").preferences(rows, frame)
    assert (read == Agent(tensors).preferences(rows, frame)).all()


@pytest.mark.parametrize("name", sorted(SHAPES))
def test_an_agent_needs_all_of_its_layers(name: str) -> None:
    for part in ("weight", "bias"):
        tensors = weights()
        value = tensors.pop(f"{name}.{part}")
        with pytest.raises(InputError, match=f"lacks the layer '{name}'"):
            Agent(tensors)
        with pytest.raises(InputError, match=f"layer '{name}' .*train it anew") as caught:
            Agent(tensors | {f"{name}.{part}": value[..., :-1]})
        assert "\n" not in str(caught.value)


def test_an_agent_needs_its_two_factors() -> None:
    tensors = weights()
    for wrong in ({}, {GAIN: np.ones(3)}, {GAIN: np.array([1.0, np.nan])}):
        rest = {name: value for name, value in tensors.items() if name != GAIN}
        with pytest.raises(InputError, match="two factors 'gain'; train it anew"):
            Agent({**rest, **wrong})


@settings(max_examples=40)
@given(seeds, st.integers(1, 60), st.integers(1, 20))
def test_by_the_gains_alone_it_is_greedy(seed: int, count: int, groups: int) -> None:
    now = cases.state(seed, count, groups)
    agent = Agent({name: np.zeros_like(value) for name, value in weights().items()} | {GAIN: ONES})
    for step in range(3):
        rows, _ = now.observed(step)
        if np.abs(rows[:, GAINS]).max() >= 3:  # what is further apart is not told apart
            return
        chosen = greedy(now, step)
        assert agent(now, step) == chosen
        now = now.applied(chosen) or now


def archive(path: Path, **arrays: object) -> bytes:
    np.savez(path, **arrays)  # type: ignore[arg-type]
    return path.read_bytes()


@pytest.mark.parametrize(
    "kind", ["missing", "empty", "text", "cut", "flipped", "pickled", "folder"]
)
def test_a_policy_that_cannot_be_read_is_named_in_one_line(tmp_path: Path, kind: str) -> None:
    whole = archive(tmp_path / "whole.npz", **weights())
    middle = len(whole) // 2
    content = {
        "empty": b"",
        "text": b"this is no policy\n" * 20,
        "cut": whole[:middle],
        "flipped": whole[:middle] + bytes(255 - b for b in whole[middle : middle + 40]),
        "pickled": archive(tmp_path / "other.npz", **{"stop.0.bias": np.array([{}], object)}),
    }
    path = tmp_path / "policy.npz"
    if kind == "folder":
        path.mkdir()
    elif kind in content:
        path.write_bytes(content[kind] + (whole[middle + 40 :] if kind == "flipped" else b""))
    with pytest.raises(InputError) as caught:
        Agent.load(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_the_robot_needs_no_learning_framework() -> None:
    code = (
        "import sys; import re_pose_ros.partition as p; from re_pose_ros.partition import agent;"
        "print(*({'torch', 'gymnasium', 'stable_baselines3', 'safetensors'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_the_shipped_policy_plans_a_frame() -> None:
    agent, states = Agent.load(), [cases.state(seed) for seed in range(12)]
    after = [followed(state, STEPS, agent) for state in states]
    assert any(new is not old for new, old in zip(after, states, strict=True))
    worth = [[own.score(Terms()) for own in of] for of in (states, after)]
    assert sum(worth[1]) > 0.95 * sum(worth[0])

"""How good trained partitioner agents are, on scenes that they were never trained on."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from re_pose_ros.partition.agent import Agent
from re_pose_ros.partition.policies import Refiner, followed, greedy, refined
from re_pose_ros.partition.refine import STEPS, State, Terms
from re_pose_ros.provenance import commit, machine
from re_pose_ros.training.drives import FRAMES, Beginning, beginnings_of, drive
from re_pose_ros.training.layouts import Layout
from re_pose_ros.training.partition_env import shipped_profiles

_SEARCH_STEPS, _SEARCHED = 300, 60
_TERMS = Terms()
_GREEDY: Refiner = partial(refined, policy=greedy, terms=_TERMS)
_SEED = 7


def judge(layouts: Sequence[Layout], agents: Mapping[str, Agent], count: int) -> dict[str, Any]:
    """How good agents, and what they are compared with, are in imagined drives.

    Args:
        layouts: where objects are; none that was trained on.
        agents: by name.
        count: drives.

    Returns:
        By method, each with the standard error of its difference to ``greedy`` (``errors``):
        ``found``, the mean share of the objects that are found where each method goes on from its
        own groups; ``frame``, the same to be expected of single frames (``Situation.found``) that
        all methods begin alike, with as many changes as on the robot. ``score``: mean
        ``State.score`` in these frames; ``ms``: processor time; ``wins``: share of the frames in
        which a method is expected to find more than ``greedy``, and less. ``searched``: ``score``
        and ``frame`` in some of the frames, beside simulated annealing with 300 evaluations, which
        takes far too long for a robot: of the score (``annealing``), and of what is to be expected
        by somebody who knows the objects (``hindsight``).
    """
    useful = [layout for layout in layouts if len(layout.boxes) >= 2]
    profiles = shipped_profiles()
    methods: dict[str, Refiner] = {"none": _as_it_was, "greedy": _GREEDY}
    methods |= {name: partial(followed, policy=agent) for name, agent in agents.items()}
    beginnings = beginnings_of(useful, profiles, count, _SEED)
    total = len(beginnings)
    score = {name: np.zeros(total) for name in methods}
    frame = {name: np.zeros(total) for name in methods}
    seconds = dict.fromkeys(methods, 0.0)
    for k, beginning in enumerate(tqdm(beginnings, "judging", unit="frame", disable=None)):
        for name, refiner in methods.items():
            # Nothing is known of it yet.
            fresh = State.of(beginning.state.groups, beginning.state.conditions)
            begin = time.process_time()
            after = refiner(fresh, STEPS - beginning.step)
            seconds[name] += time.process_time() - begin
            score[name][k] = after.score(_TERMS)
            frame[name][k] = beginning.situation.found(after.groups)
    few = np.unique(np.linspace(0, total - 1, min(_SEARCHED, total)).astype(int))
    searched = _searched([beginnings[k] for k in few])
    searched |= {
        name: {"score": _mean(score[name][few]), "frame": _mean(frame[name][few])}
        for name in methods
    }
    found = _found(useful, methods, count)
    return {
        "drives": count,
        "frames": total,
        "found": {name: _mean(shares) for name, shares in found.items()},
        "frame": {name: _mean(shares) for name, shares in frame.items()},
        "errors": {
            name: {"found": _error(found, name), "frame": _error(frame, name)} for name in methods
        },
        "score": {name: _mean(values) for name, values in score.items()},
        "wins": {
            name: {
                "better": _mean(frame[name] > frame["greedy"] + 1e-9),
                "worse": _mean(frame[name] < frame["greedy"] - 1e-9),
            }
            for name in agents
        },
        "ms": {name: round(1e3 * spent / total, 3) for name, spent in seconds.items()},
        "searched": {"frames": len(few), **searched},
    }


def _as_it_was(state: State, steps: int) -> State:
    del steps
    return state


def _error(shares: Mapping[str, NDArray[np.float64]], name: str) -> float:
    """Standard error of the mean difference to greedy."""
    difference = shares[name] - shares["greedy"]
    return round(float(difference.std() / np.sqrt(len(difference))), 5)


def _searched(beginnings: Sequence[Beginning]) -> dict[str, dict[str, float]]:
    score: dict[str, list[float]] = {"annealing": [], "hindsight": []}
    frame: dict[str, list[float]] = {"annealing": [], "hindsight": []}
    for k, own in enumerate(tqdm(beginnings, "searching", unit="frame", disable=None)):
        for name, goal in (("annealing", _score), ("hindsight", partial(_hindsight, own))):
            best = _annealed(own.state, np.random.default_rng([8, k]), goal)
            score[name].append(best.score(_TERMS))
            frame[name].append(own.situation.found(best.groups))
    return {name: {"score": _mean(score[name]), "frame": _mean(frame[name])} for name in score}


def _score(state: State) -> float:
    return state.score(_TERMS)


def _hindsight(beginning: Beginning, state: State) -> float:
    return beginning.situation.found(state.groups)


def _found(
    layouts: Sequence[Layout], methods: Mapping[str, Refiner], count: int
) -> dict[str, NDArray[np.float64]]:
    """By method the share of the objects found in each of so many drives."""
    profiles = shipped_profiles()
    rng = np.random.default_rng([_SEED, 33])
    found: dict[str, list[float]] = {name: [] for name in methods}
    for _ in tqdm(range(count), "driving", unit="drive", disable=None):
        layout, seed = layouts[int(rng.integers(len(layouts)))], int(rng.integers(2**31))
        for name, refiner in methods.items():
            found[name].append(drive(layout, profiles, seed, refiner).found)
    return {name: np.array(shares) for name, shares in found.items()}


def report(
    result: Mapping[str, Any], trainings: Mapping[str, Any], shipped: str, data: str
) -> dict[str, Any]:
    """The content of the report's JSON.

    Args:
        result: of ``judge``, on frames that nothing was chosen on.
        trainings: by agent, what it was trained with, and its curve.
        shipped: the agent that was chosen.
        data: what was judged on, in words.
    """
    gains = [result["found"][name] for name in trainings]
    return {
        "data": data,
        "machine": machine(),
        "commit": commit(),
        "shipped": shipped,
        "steps_per_frame": STEPS,
        "agents": {"mean": _mean(np.array(gains)), "std": round(float(np.std(gains)), 5)},
        **result,
        "training": {
            name: {**made["training"], "curve": _thinned(made["curve"])}
            for name, made in trainings.items()
        },
    }


def write(content: Mapping[str, Any], folder: Path) -> None:
    """``partitioner.report.json``, ``partitioner.md`` and the curves, ``partitioner.png``."""
    text = json.dumps(content, indent=1) + "\n"
    (folder / "partitioner.report.json").write_text(text, encoding="utf-8")
    (folder / "partitioner.md").write_text(_markdown(content), encoding="utf-8")
    _draw(content, folder / "partitioner.png")


def _annealed(state: State, rng: np.random.Generator, goal: Callable[[State], float]) -> State:
    """The best state by ``goal`` that simulated annealing over the agent's actions comes by."""
    best, score = state, goal(state)
    most = score
    for k in range(_SEARCH_STEPS):
        heat = 0.02 * (1 - k / _SEARCH_STEPS) + 1e-4
        possible = np.flatnonzero(state.possible())[1:]
        if not len(possible):
            break
        after = state.applied(int(rng.choice(possible)))
        if after is None:
            continue
        new = goal(after)
        if new > score or rng.random() < np.exp((new - score) / heat):
            state, score = after, new
            if score > most:
                best, most = state, score
    return best


def _mean(values: Any) -> float:
    return round(float(np.mean(values)), 5)


def _thinned(curve: Sequence[Mapping[str, float]], points: int = 40) -> list[dict[str, float]]:
    """About so many means over the curve."""
    if not curve:
        return []
    parts = np.array_split(np.arange(len(curve)), min(points, len(curve)))
    return [{key: _mean([curve[k][key] for k in part]) for key in curve[0]} for part in parts]


def _markdown(content: Mapping[str, Any]) -> str:
    found, frame, score = content["found"], content["frame"], content["score"]
    errors, searched, times = content["errors"], content["searched"], content["ms"]
    rows = [
        f"| {name} | {found[name]:.4f} | {errors[name]['found']:.4f} | {frame[name]:.4f} "
        f"| {errors[name]['frame']:.4f} | {score[name]:.4f} | {searched[name]['frame']:.4f} "
        f"| {searched[name]['score']:.4f} | {times[name]:.1f} |"
        for name in found
    ]
    agents = content["agents"]
    searches = [
        f"| {name} | | | | | | {searched[name]['frame']:.4f} | {searched[name]['score']:.4f} | |"
        for name in ("annealing", "hindsight")
    ]
    return "\n".join(
        [
            "# The partitioner's agent",
            "",
            "Trained by `python -m re_pose_ros train partitioner` (PPO of stable-baselines3).",
            f"Judged on {content['data']}: {content['drives']} imagined drives of {FRAMES} frames",
            "(`training/drives.py`) with networks, workers, links, budgets and settings drawn by",
            "chance. Found is the share of the objects that are found where each method goes on",
            "from its own groups, with the standard error of its difference to greedy. Expected is",
            "the same for frames that all begin alike (`Situation.found`), which is what agents",
            "are rewarded for. The score is what the planner thinks of these groups: the share of",
            "the objects that its relaxation expects to find within the budget, less a tenth of",
            "the share of the budget that is used (`refine.Terms`). Searched are the two on those",
            f"{searched['frames']} frames that simulated annealing was run on, with",
            f"{_SEARCH_STEPS} evaluations: of the score, and, in hindsight, of what is expected to",
            "be found by somebody who knows the objects. Times are processor time per frame.",
            "",
            "| method | found | error | expected | error | score | searched: expected | score "
            "| ms |",
            "|---|---|---|---|---|---|---|---|---|",
            *rows,
            *searches,
            "",
            f"Agents of {len(content['training'])} seeds find {agents['mean']:.4f}, standard"
            f" deviation {agents['std']:.4f}. Shipped is `{content['shipped']}`, of which most is"
            " expected on other scenes.",
            "",
            "![training curves](partitioner.png)",
            "",
        ]
    )


def _draw(content: Mapping[str, Any], path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    for name, made in content["training"].items():
        curve = made["curve"]
        axes.plot([p["steps"] for p in curve], [p["gain"] for p in curve], label=name)
    axes.set_xlabel("steps")
    axes.set_ylabel("gain per episode")
    axes.legend(fontsize="small")
    axes.grid(alpha=0.3)
    figure.savefig(path, dpi=90)


def best_of(result: Mapping[str, Any], names: Sequence[str]) -> str:
    """The agent that is expected to find most in single frames, which is surest to tell."""
    return max(names, key=lambda name: (result["frame"][name], name))

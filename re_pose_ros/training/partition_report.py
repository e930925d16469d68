"""How good trained partitioner agents are, on scenes that they were never trained on."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from re_pose_ros.partition.agent import Agent
from re_pose_ros.partition.refine import STEPS, Policy, State, Terms, greedy, refined
from re_pose_ros.provenance import commit, machine
from re_pose_ros.training.drives import FRAMES, beginnings_of, drive
from re_pose_ros.training.layouts import Layout
from re_pose_ros.training.partition_env import shipped_profiles

_SEARCH_STEPS, _SEARCHED = 300, 60
_TERMS = Terms()
_SEED = 7


def judge(layouts: Sequence[Layout], agents: Mapping[str, Agent], count: int) -> dict[str, Any]:
    """Scores and times of agents and of what they are compared with, in imagined drives.

    Args:
        layouts: where objects are; none that was trained on.
        agents: by name.
        count: drives.

    Returns:
        ``score``: mean ``State.score`` by method over the same frames, refined by as many changes
        as on the robot (``frame``) and by up to ``STEPS`` (``longer``); ``ms``: processor time of
        the former; ``wins``: share of the frames in which a method is better than ``greedy``, and
        in which it is worse; ``found``: mean share of the objects that are found where each method
        goes on from its own groups, and ``found_std``, the standard error of its difference to
        ``greedy``; ``searched``: ``longer`` on some of the frames, beside simulated annealing
        with 300 evaluations, which takes far too long for a robot.
    """
    useful = [layout for layout in layouts if len(layout.boxes) >= 2]
    profiles = shipped_profiles()
    methods: dict[str, Policy] = {"greedy": greedy, **agents}
    beginnings = beginnings_of(useful, profiles, count, _SEED)
    total = len(beginnings)
    frame = {name: np.zeros(total) for name in ("none", *methods)}
    longer = {name: np.zeros(total) for name in ("none", *methods)}
    seconds = dict.fromkeys(methods, 0.0)
    for k, beginning in enumerate(tqdm(beginnings, "judging", unit="frame", disable=None)):
        state, steps = beginning.state, STEPS - beginning.step
        frame["none"][k] = longer["none"][k] = state.score(_TERMS)
        for name, policy in methods.items():
            fresh = State.of(state.groups, state.conditions)  # nothing of it is known yet
            begin = time.process_time()
            after = refined(fresh, policy, _TERMS, steps)
            seconds[name] += time.process_time() - begin
            frame[name][k] = after.score(_TERMS)
            longer[name][k] = refined(state, policy, _TERMS).score(_TERMS)
    few = np.unique(np.linspace(0, total - 1, min(_SEARCHED, total)).astype(int))
    searched = [_annealed(beginnings[k].state, np.random.default_rng([8, k])) for k in few]
    found = _found(useful, methods, count)
    return {
        "drives": count,
        "frames": total,
        "score": {
            name: {"frame": _mean(frame[name]), "longer": _mean(longer[name])} for name in frame
        },
        "wins": {
            name: {
                "better": _mean(frame[name] > frame["greedy"] + 1e-9),
                "worse": _mean(frame[name] < frame["greedy"] - 1e-9),
            }
            for name in agents
        },
        "found": {name: _mean(shares) for name, shares in found.items()},
        "found_std": {
            name: round(float((shares - found["greedy"]).std() / np.sqrt(count)), 5)
            for name, shares in found.items()
        },
        "ms": {name: round(1e3 * spent / total, 3) for name, spent in seconds.items()},
        "searched": {
            "frames": len(few),
            "annealing": _mean(np.array(searched)),
            **{name: _mean(longer[name][few]) for name in longer},
        },
    }


def _found(
    layouts: Sequence[Layout], methods: Mapping[str, Policy], count: int
) -> dict[str, NDArray[np.float64]]:
    """By method the share of the objects found in each of so many drives."""
    profiles = shipped_profiles()
    rng = np.random.default_rng([_SEED, 33])
    found: dict[str, list[float]] = {name: [] for name in methods}
    for _ in tqdm(range(count), "driving", unit="drive", disable=None):
        layout, seed = layouts[int(rng.integers(len(layouts)))], int(rng.integers(2**31))
        for name, policy in methods.items():
            found[name].append(drive(layout, profiles, seed, policy).found)
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
    gains = [result["score"][name]["frame"] for name in trainings]
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


def _annealed(state: State, rng: np.random.Generator) -> float:
    """The best score that simulated annealing over the agent's actions comes by."""
    score = best = state.score(_TERMS)
    for k in range(_SEARCH_STEPS):
        heat = 0.02 * (1 - k / _SEARCH_STEPS) + 1e-4
        possible = np.flatnonzero(state.possible())[1:]
        if not len(possible):
            break
        after = state.applied(int(rng.choice(possible)))
        if after is None:
            continue
        new = after.score(_TERMS)
        if new > score or rng.random() < np.exp((new - score) / heat):
            state, score = after, new
            best = max(best, score)
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
    score, searched, times = content["score"], content["searched"], content["ms"]
    found, errors = content["found"], content["found_std"]
    rows = [
        f"| {name} | {score[name]['frame']:.4f} | {score[name]['longer']:.4f} "
        f"| {searched[name]:.4f} | {_shown(found.get(name), 4)} | {_shown(errors.get(name), 4)} "
        f"| {_shown(times.get(name), 1)} |"
        for name in score
    ]
    agents = content["agents"]
    return "\n".join(
        [
            "# The partitioner's agent",
            "",
            "Trained by `python -m re_pose_ros train partitioner` (PPO of stable-baselines3).",
            f"Judged on {content['data']}: {content['drives']} imagined drives of {FRAMES} frames",
            "(`training/drives.py`) with networks, workers, links, budgets and settings drawn by",
            "chance. The score is the share of the objects that the planner's relaxation expects",
            "to find within the budget, less a tenth of the share of the budget that is used",
            "(`refine.Terms`). The same groups are refined by each method: with as many changes",
            f"as on the robot, with up to {content['steps_per_frame']}, and with as many on the",
            "frames that annealing was run on. Found is the share of the objects that are really",
            "found where each method goes on from its own groups, with the standard error of its",
            "difference to greedy. Times are processor time per frame.",
            "",
            "| method | as on the robot | longer | searched | found | error | ms |",
            "|---|---|---|---|---|---|---|",
            *rows,
            f"| annealing, 300 evaluations | | | {searched['annealing']:.4f} | | | |",
            "",
            f"Agents of {len(content['training'])} seeds: {agents['mean']:.4f}, standard deviation"
            f" {agents['std']:.4f}. Shipped is `{content['shipped']}`, the best on other scenes.",
            "",
            "![training curves](partitioner.png)",
            "",
        ]
    )


def _shown(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:.{digits}f}"


def _draw(content: Mapping[str, Any], path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    for name, made in content["training"].items():
        curve = made["curve"]
        axes.plot([p["steps"] for p in curve], [p["gain"] for p in curve], label=name)
    axes.set_xlabel("steps")
    axes.set_ylabel("gain of the score per episode")
    axes.legend(fontsize="small")
    axes.grid(alpha=0.3)
    figure.savefig(path, dpi=90)


def best_of(result: Mapping[str, Any], names: Sequence[str]) -> str:
    """The agent with the highest score, with as many changes as on the robot."""
    return max(names, key=lambda name: (result["score"][name]["frame"], name))

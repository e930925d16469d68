"""How good trained partitioner agents are, on scenes that they were never trained on."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from re_pose_ros.partition.agent import Agent
from re_pose_ros.partition.refine import STEPS, Policy, State, Terms, greedy, refined
from re_pose_ros.provenance import commit, machine
from re_pose_ros.training.layouts import Layout
from re_pose_ros.training.partition_env import Scenarios, shipped_profiles

FRAMES = 5
"""For so many frames the agent goes on from where it was, as on the robot with objects at rest."""

_SEARCH_STEPS, _SEARCHED = 300, 40
_TERMS = Terms()


def judge(layouts: Sequence[Layout], agents: Mapping[str, Agent], count: int) -> dict[str, Any]:
    """Scores and times of agents and of what they are compared with, over drawn scenarios.

    Args:
        layouts: where objects are; none that was trained on.
        agents: by name.
        count: scenarios.

    Returns:
        ``score``: mean ``State.score`` by method after one frame and after ``FRAMES``;
        ``ms``: processor time per frame; ``wins``: share of the scenarios in which a method is
        better than ``greedy`` after one frame, and in which it is worse; ``searched``: the same
        scores on the first scenarios, beside simulated annealing with 300 evaluations, which takes
        far too long for a robot.
    """
    useful = [layout for layout in layouts if len(layout.boxes) >= 2]
    scenarios = Scenarios(useful, shipped_profiles())
    methods: dict[str, Policy] = {"greedy": greedy, **agents}
    once = {name: np.zeros(count) for name in ("none", *methods)}
    later = {name: np.zeros(count) for name in ("none", *methods)}
    seconds = dict.fromkeys(methods, 0.0)
    searched = []
    for k in tqdm(range(count), "judging", unit="scenario", disable=None):
        state = scenarios.draw(np.random.default_rng([7, k]))
        once["none"][k] = later["none"][k] = state.score(_TERMS)
        for name, policy in methods.items():
            begin = time.process_time()
            after = refined(state, policy, _TERMS)
            seconds[name] += time.process_time() - begin
            once[name][k] = after.score(_TERMS)
            for _ in range(FRAMES - 1):
                after = refined(after, policy, _TERMS)
            later[name][k] = after.score(_TERMS)
        if k < _SEARCHED:
            searched.append(_annealed(state, np.random.default_rng([8, k])))
    few = slice(0, len(searched))
    return {
        "scenarios": count,
        "score": {
            name: {"frame_1": _mean(once[name]), f"frame_{FRAMES}": _mean(later[name])}
            for name in once
        },
        "wins": {
            name: {
                "better": _mean(once[name] > once["greedy"] + 1e-9),
                "worse": _mean(once[name] < once["greedy"] - 1e-9),
            }
            for name in agents
        },
        "ms": {name: round(1e3 * spent / count, 3) for name, spent in seconds.items()},
        "searched": {
            "scenarios": len(searched),
            "annealing": _mean(np.array(searched)),
            **{name: _mean(later[name][few]) for name in later},
        },
    }


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
    gains = [result["score"][name]["frame_1"] for name in trainings]
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
    last = f"frame_{FRAMES}"
    rows = [
        f"| {name} | {score[name]['frame_1']:.4f} | {score[name][last]:.4f} "
        f"| {searched[name]:.4f} | {_shown(times.get(name))} |"
        for name in score
    ]
    agents = content["agents"]
    return "\n".join(
        [
            "# The partitioner's agent",
            "",
            "Trained by `python -m re_pose_ros train partitioner` (PPO of stable-baselines3).",
            f"Judged on {content['data']}: {content['scenarios']} scenarios of objects, networks,",
            "workers and budgets drawn by chance. The score is the share of the objects that the",
            "planner's relaxation expects to find within the budget, less a tenth of the share of",
            "the budget that is used (`refine.Terms`).",
            "",
            f"At most {content['steps_per_frame']} changes per frame; after {FRAMES} frames the",
            f"groups have been refined {FRAMES} times. The fourth column is over the scenarios on",
            "which annealing was run. Times are processor time per frame, with all that is done to",
            "reach the states.",
            "",
            f"| method | after 1 frame | after {FRAMES} | searched scenarios | ms |",
            "|---|---|---|---|---|",
            *rows,
            f"| annealing, 300 evaluations | | | {searched['annealing']:.4f} | |",
            "",
            f"Agents of {len(content['training'])} seeds: {agents['mean']:.4f}, standard deviation"
            f" {agents['std']:.4f}. Shipped is `{content['shipped']}`, the best on other scenes.",
            "",
            "![training curves](partitioner.png)",
            "",
        ]
    )


def _shown(value: float | None) -> str:
    return "" if value is None else f"{value:.1f}"


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
    """The agent with the highest score after one frame."""
    return max(names, key=lambda name: (result["score"][name]["frame_1"], name))

"""Which trained tuner is shipped, on traces that neither training nor results use."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from re_pose_ros.errors import InputError
from re_pose_ros.provenance import commit, machine
from re_pose_ros.training.tuner import chooser_of
from re_pose_ros.training.tuner_task import CHOICE_SEED, Task
from re_pose_ros.tuning import episodes, rules

TRACES, BLOCKS = 200, 257
HIT_SHARE = 0.999
"""Of the deadlines that the oracle meets: what a shipped policy is to meet."""


def judge(task: Task, paths: Mapping[str, Path], traces: int = TRACES) -> dict[str, Any]:
    """Figures of trained policies and of rules, and the policy to be shipped.

    Args:
        task: what they were trained for.
        paths: of the policies, by name; their curves lie beside them.
        traces: to judge on.

    Returns:
        The content of the report's JSON; ``shipped`` is the ``sac_d`` with the highest reward among
        those that meet enough deadlines, else among all; None where there is none.
    """
    drawn = task.traces(CHOICE_SEED, traces, BLOCKS)
    table = task.table
    choosers: dict[str, rules.Chooser] = {
        "oracle": rules.oracle(table),
        "greedy": rules.Greedy(table),
        "best_fixed": rules.best_fixed(table, drawn),
    }
    choosers |= {name: chooser_of(path, task) for name, path in paths.items()}
    found = {
        name: episodes.figures(episodes.roll(chooser, table, drawn))
        for name, chooser in choosers.items()
    }
    return {
        "graph": task.graph,
        "model": table.model,
        "model_hash": table.model_hash,
        "machine": machine(),
        "commit": commit(),
        "traces": traces,
        "blocks": BLOCKS - 1,
        "settings": list(map(str, task.part.settings)),
        "shipped": _best({name: found[name] for name in paths}, found["oracle"]),
        "policies": found,
        "training": {name: _training(path) for name, path in paths.items()},
    }


def write(content: Mapping[str, Any], folder: Path) -> None:
    """``tuner.report.json``, ``tuner.md`` and the curves, ``tuner.png``."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        text = json.dumps(content, indent=1) + "\n"
        (folder / "tuner.report.json").write_text(text, encoding="utf-8")
        (folder / "tuner.md").write_text(_markdown(content), encoding="utf-8")
        _draw(content, folder / "tuner.png")
    except OSError as error:
        raise InputError(f"{folder} cannot be written: {error.strerror}") from error


def _best(found: Mapping[str, Mapping[str, Any]], oracle: Mapping[str, Any]) -> str | None:
    own = {name: of for name, of in found.items() if name.startswith("sac_d")}
    least = HIT_SHARE * oracle["deadline_hit"]
    punctual = {name: of for name, of in own.items() if of["deadline_hit"] >= least} or own
    return max(punctual, key=lambda name: punctual[name]["reward"], default=None)


def _training(path: Path) -> dict[str, Any]:
    content = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    return {**content["training"], "curve": content["curve"]}


def _markdown(content: Mapping[str, Any]) -> str:
    rows = "\n".join(
        f"| {name} | {of['reward']:.4f} | {of['regret_pct']:.2f} | {of['deadline_hit']:.4f} | "
        f"{of['accuracy']:.4f} | {of['bytes'] / 1e3:.1f} | {of['switches']:.1f} |"
        for name, of in content["policies"].items()
    )
    return f"""# The tuner's policy

Trained by `python -m re_pose_ros train tuner` for the settings of `{content["model"]}`
({content["graph"]}; {len(content["settings"])} of them are worth having: {
        ", ".join(f"`{setting}`" for setting in content["settings"])
    }).
Judged on {content["traces"]} simulated traces of {content["blocks"]} blocks that were not trained
on and that `bench coinference` does not report on. Regret is against the best setting of every
state, found by enumeration on what is true; the others act on what is measured.

| policy | reward | regret % | in time | accuracy | kB per block | switches per 100 |
|---|---|---|---|---|---|---|
{rows}

Shipped is `{content["shipped"]}`.

![training curves](tuner.png)
"""


def _draw(content: Mapping[str, Any], path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    for name, made in content["training"].items():
        curve = made["curve"]
        axes.plot(
            [p["steps"] / 1e3 for p in curve], [p["regret_pct"] for p in curve], ".-", label=name
        )
    axes.axhline(content["policies"]["greedy"]["regret_pct"], color="0.4", ls="--", label="greedy")
    axes.set_yscale("log")
    axes.set_xlabel("blocks learned from, after the start (thousands)")
    axes.set_ylabel("regret [%]")
    axes.legend(fontsize="small")
    axes.grid(alpha=0.3)
    figure.savefig(path, dpi=90)

"""The result of ``bench coinference`` for reading: a table, Markdown and a picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from re_pose_ros.bench.table import aligned

_HEAD = ("policy", "seeds", "reward", "sd", "regret", "sd", "in time", "accuracy")
_MORE = ("p50 ms", "p95 ms", "kB", "switches")


def table(content: Mapping[str, Any]) -> str:
    """All policies and ablations, one per line."""
    lines: list[str] = []
    for graph, of in content["graphs"].items():
        lines.append(f"{graph}: {of['model']}, {len(of['learned_settings'])} settings learned")
        rows: list[Sequence[str]] = [(*_HEAD, *_MORE)]
        rows += [_row(name, found) for name, found in of["policies"].items()]
        rows += [_row(f"  {name}", found) for name, found in of["ablations"].items()]
        lines += [*aligned(rows), ""]
        if of["missing"]:
            lines.append(f"not trained: {', '.join(of['missing'])}")
    return "\n".join(lines)


def markdown(content: Mapping[str, Any], graph: str, what: str = "policies") -> str:
    """``policies`` or ``ablations`` of a graph as a table for the documentation."""
    rows: list[Sequence[str]] = [(*_HEAD, *_MORE), ("---",) * (len(_HEAD) + len(_MORE))]
    rows += [_row(name, found) for name, found in content["graphs"][graph][what].items()]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _row(name: str, of: Mapping[str, Any]) -> tuple[str, ...]:
    latency, std = of["latency_ms"], of["std"]
    return (
        name,
        str(len(of["by_seed"]) or 1),
        f"{of['reward']:.4f}",
        _or_dash(std["reward"], ".4f"),
        f"{of['regret_pct']:.2f}%",
        _or_dash(std["regret_pct"], ".2f"),
        f"{of['deadline_hit']:.4f}",
        f"{of['accuracy']:.4f}",
        *(_or_dash(latency[q], ".1f") for q in ("p50", "p95")),
        f"{of['bytes'] / 1e3:.1f}",
        f"{of['switches']:.1f}",
    )


def _or_dash(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


def save_plot(content: Mapping[str, Any], path: Path) -> None:
    """Regret and share of missed deadlines of each policy, with the spread over seeds."""
    from matplotlib.figure import Figure

    graphs = content["graphs"]
    figure = Figure(figsize=(9, 3.2 * len(graphs) + 0.4), layout="constrained")
    rows = figure.subplots(len(graphs), 2, squeeze=False)
    for (left, right), (graph, of) in zip(rows, graphs.items(), strict=True):
        found = {name: p for name, p in of["policies"].items() if name != "oracle"}
        places = range(len(found))
        regret = [max(p["regret_pct"], 1e-3) for p in found.values()]
        spread = [p["std"]["regret_pct"] or 0.0 for p in found.values()]
        late = [max(100 * (1 - p["deadline_hit"]), 1e-3) for p in found.values()]
        left.errorbar(regret, places, xerr=spread, fmt="o", color="tab:blue", capsize=3)
        right.plot(late, places, "o", color="tab:red")
        left.axvline(2.0, color="0.4", ls="--", lw=0.8)
        left.set_ylabel(graph)
        for axes, label in ((left, "regret [%]"), (right, "late [%]")):
            axes.set_xscale("log")
            axes.set_yticks(places, list(found))
            axes.invert_yaxis()
            axes.set_xlabel(label)
            axes.grid(alpha=0.3, axis="x")
    figure.savefig(path, dpi=110)

"""The result of ``bench coinference`` for reading: a table, Markdown and a picture."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from re_pose_ros.bench.table import aligned
from re_pose_ros.errors import InputError

_HEAD = ("policy", "seeds", "reward", "sd", "regret", "sd", "in time", "accuracy")
_COMPARED = ("greedy", "greedy_cautious", "dqn", "ppo", "best_fixed")
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


def markdown(content: Mapping[str, Any]) -> dict[str, str]:
    """The tables of the documentation, by what they are called; those that the result has."""
    found: dict[str, str] = {}
    for graph, of in content["graphs"].items():
        found[f"{graph}, policies"] = _table(of["policies"])
        if "sac_d" in of["policies"]:
            seeds = len(of["policies"]["sac_d"]["by_seed"]) or 1
            found[f"{graph}, gain in reward of sac_d over"] = _gains(of["versus"], seeds)
        found[f"{graph}, thirds"] = _thirds(of["by_condition"])
        found[f"{graph}, harder links"] = _short(of["harder"]["policies"])
        if of.get("recorded"):
            found[f"{graph}, recorded"] = _short(of["recorded"]["policies"])
        if of.get("without"):
            found[f"{graph}, without"] = _without(of["without"])
        if of["ablations"]:
            found[f"{graph}, ablations"] = _table(of["ablations"])
    return found


def read(path: Path) -> dict[str, Any]:
    """A result that ``bench coinference`` wrote; InputError for another file."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise InputError(f"{path} is no result of bench coinference: {error}") from error
    if not isinstance(content, dict) or content.get("kind") != "bench coinference":
        raise InputError(f"{path} is no result of bench coinference")
    return content


def _table(policies: Mapping[str, Any]) -> str:
    return _lines((*_HEAD, *_MORE), [_row(name, found) for name, found in policies.items()])


def _lines(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    whole = [head, ("---",) * len(head), *rows]
    return "\n".join(f"| {' | '.join(row)} |" for row in whole)


def _gains(versus: Mapping[str, Any], seeds: int) -> str:
    return "\n".join(
        f"- {name}: {of['reward']:+.4f} (standard error over traces "
        f"{of['standard_error_over_traces']:.4f}; better with {of['better_seeds']} of {seeds} "
        f"seeds and on {of['better_traces']:.0%} of the traces)"
        for name, of in ((name, versus[name]) for name in _COMPARED if name in versus)
    )


def _thirds(by_condition: Mapping[str, Any]) -> str:
    """Regret and share of blocks in time by third of the traces."""
    first = next(iter(next(iter(by_condition.values())).values()))
    return _lines(
        ("what", "third of the traces", *first),
        [
            (what.replace("_", " "), third, *(_pair(found) for found in policies.values()))
            for what, thirds in by_condition.items()
            for third, policies in thirds.items()
        ],
    )


def _pair(found: Mapping[str, float]) -> str:
    return f"{found['regret_pct']:.2f}%, {found['deadline_hit']:.4f}"


def _short(policies: Mapping[str, Any]) -> str:
    return _lines(
        ("policy", "reward", "regret", "in time"),
        [
            (name, f"{of['reward']:.4f}", f"{of['regret_pct']:.2f}%", f"{of['deadline_hit']:.4f}")
            for name, of in policies.items()
        ],
    )


def _without(variants: Mapping[str, Any]) -> str:
    return _lines(
        ("variant", "regret of its oracle", "slowest third of the links", "settings learned"),
        [
            (
                name,
                f"{of['oracle']['regret_pct']:.3f}%",
                f"{of['slowest_third']['regret_pct']:.3f}%",
                " ".join(f"`{setting}`" for setting in of["learned_settings"]),
            )
            for name, of in variants.items()
        ],
    )


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

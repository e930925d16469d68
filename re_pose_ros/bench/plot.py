"""Results of a bench as pictures."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from re_pose_ros.errors import InputError

SUFFIXES = (".png", ".svg", ".pdf")


def check_plot(path: Path) -> None:
    """Raises InputError where no plot can be written there."""
    if path.suffix.lower() not in SUFFIXES:
        raise InputError(f"plot {path}: the name has to end in {', '.join(SUFFIXES)}")


def save_plot(content: Mapping[str, Any], path: Path) -> None:
    """Draw mAP50 against the median makespan of every method of a bench's result."""
    from matplotlib.figure import Figure

    check_plot(path)
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.add_subplot()
    for name, of in content["methods"].items():
        place = of["makespan_ms"]["p50"], of["map50"] or 0.0
        axes.scatter(*place, s=30)
        axes.annotate(name, place, xytext=(5, 4), textcoords="offset points", fontsize=9)
    axes.set_xscale("log")
    axes.set_xlabel(
        f"makespan [ms], median, {content['workers']} workers, "
        f"{content['bandwidth_mbit_s']:g} Mbit/s"
    )
    axes.set_ylabel("mAP50")
    axes.set_ylim(bottom=0)
    axes.margins(x=0.15)
    axes.set_title(f"{content['model']}, {content['frames']} frames")
    axes.grid(alpha=0.3)
    figure.savefig(path, dpi=150)


def predicted_path(path: Path) -> Path:
    """Where ``save_predicted`` writes beside the plot of ``path``."""
    return path.with_name(f"{path.stem}_predicted{path.suffix}")


def save_predicted(content: Mapping[str, Any], path: Path) -> bool:
    """Draw what methods with a budget predicted against what came, one point per frame.

    Makespans are those with all answers; values are objects found. Nothing is written where no
    method predicts anything; returns whether it was.
    """
    from matplotlib.figure import Figure

    planned = {name: of for name, of in content["methods"].items() if of["budget"]}
    if not planned:
        return False
    figure = Figure(figsize=(10, 4.8), layout="constrained")
    kinds = (
        ("predicted_ms", "all_answers_ms", "predicted makespan [ms]", "computed makespan [ms]"),
        ("predicted_value", "found", "predicted to be found", "objects found"),
    )
    for axes, (x, y, x_label, y_label) in zip(figure.subplots(1, 2), kinds, strict=True):
        ends = [0.0]
        for name, of in planned.items():
            rows = [row for row in of["per_frame"] if row[x] is not None]
            points = [row[x] for row in rows], [row[y] for row in rows]
            axes.scatter(*points, s=14, alpha=0.7, label=name)
            ends += [*points[0], *points[1]]
        axes.plot([0, max(ends)], [0, max(ends)], color="grey", linewidth=0.8)
        axes.set_xlabel(x_label)
        axes.set_ylabel(y_label)
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8)
    figure.suptitle(f"{content['model']}, {content['frames']} frames, {content['workers']} workers")
    figure.savefig(path, dpi=150)
    return True

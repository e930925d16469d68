"""Accuracy against time as a picture."""

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

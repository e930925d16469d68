"""``bench partition`` from the data's names to a file, a table and a plot."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from re_pose_ros.bench.compare import compare
from re_pose_ros.bench.options import BenchOptions
from re_pose_ros.bench.plot import check_plot, predicted_path, save_plot, save_predicted
from re_pose_ros.bench.table import table
from re_pose_ros.datasets import open_dataset
from re_pose_ros.errors import InputError


def bench_partition(
    specs: Sequence[str],
    options: BenchOptions,
    *,
    frames: int = 0,
    step: int = 1,
    file: Path | None = None,
    plot: Path | None = None,
) -> dict[str, Any]:
    """Run the bench, write its result and print its table.

    Where the run ends early, what was measured is written and printed all the same, and the error
    raised then.

    Args:
        specs: datasets, scenes and bags, as of ``open_dataset``.
        options: see there.
        frames: at most so many of each spec; 0 is all.
        step: every so many frames.
        file: the result as JSON.
        plot: accuracy against makespan as a picture; where methods have a budget, a second one
            beside it, ``<name>_predicted``, has what they predicted against what came.

    Raises:
        InputError: something cannot be used, a frame cannot be read, or a worker ended.
    """
    for path in filter(None, (file, plot)):
        check_writable(path)
    if plot is not None:
        check_plot(plot)
    data = [(spec, open_dataset(spec, count=frames, step=step)) for spec in specs]

    def give(content: Mapping[str, Any]) -> None:
        if file is not None:
            file.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
        if plot is not None:
            save_plot(content, plot)
            save_predicted(content, predicted_path(plot))
        print(table(content))

    content = compare(data, options, keep=give)
    give(content)
    return content


def check_writable(path: Path) -> None:
    """Raises InputError now, before an hour is spent on what could then not be written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        there = path.exists()
        with path.open("ab"):
            pass
        if not there:
            path.unlink()
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror}") from error

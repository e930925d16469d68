"""From a summary to one HTML file."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from re_pose_ros.errors import InputError
from re_pose_ros.evaluation.report import figures
from re_pose_ros.evaluation.report.compared import Compared
from re_pose_ros.evaluation.report.pictures import COLOURS, Picture
from re_pose_ros.evaluation.report.predicted import predicted
from re_pose_ros.evaluation.report.rows import HEADLINE, headline_rows, prefix_of
from re_pose_ros.evaluation.report.style import PALETTE, Figure
from re_pose_ros.pipeline import NETWORK
from re_pose_ros.plan_outcome import FOUND_CONFIDENCE


@dataclass(frozen=True)
class _Plot:
    """A figure with its place in the report; ``wide`` ones take the whole width."""

    key: str
    title: str
    text: str
    figure: Figure
    wide: bool = False


def write_report(
    path: Path,
    summary: Mapping[str, Any],
    pictures: Sequence[Picture] = (),
    compared: Sequence[Compared] = (),
) -> None:
    """Write the report; raises InputError where the file cannot be written."""
    text = render_report(summary, pictures, compared)
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror}") from error


def render_report(
    summary: Mapping[str, Any],
    pictures: Sequence[Picture] = (),
    compared: Sequence[Compared] = (),
) -> str:
    """The report as HTML, with plotly inside; it loads nothing from anywhere.

    Args:
        summary: as ``summary.json`` has it.
        pictures: of single frames.
        compared: methods of other runs.

    Raises:
        InputError: plotly or Jinja2 is not installed.
    """
    try:
        import jinja2
        from plotly.offline import get_plotlyjs
    except ModuleNotFoundError as error:
        raise InputError(f"the report needs {error.name}: pip install plotly jinja2") from error
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("re_pose_ros.evaluation.report", "."),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    plots = _plots(summary, compared)
    return environment.get_template("report.html.jinja").render(
        summary=summary,
        agreement=bool(prefix_of(summary)),
        columns=HEADLINE,
        groups=[(name, len(list(cells))) for name, cells in groupby(c.group for c in HEADLINE)],
        rows=headline_rows(summary, compared),
        plots=plots,
        figures=_script_json({plot.key: plot.figure for plot in plots}),
        pictures=[
            (method, [(p, base64.b64encode(p.jpeg).decode("ascii")) for p in group])
            for method, group in groupby(pictures, key=lambda picture: picture.method)
        ],
        colours=COLOURS,
        palette=PALETTE,
        facts=_facts(summary),
        settings={name: _flat(m["settings"]) for name, m in summary["methods"].items()},
        plotly=get_plotlyjs(),
    )


def _plots(summary: Mapping[str, Any], compared: Sequence[Compared]) -> list[_Plot]:
    where = (
        "the sum of the stages, blocks one after the other in one process"
        if summary["mode"] == "offline"
        else "from the camera's stamp to the fused detections"
    )
    plots = [
        _Plot(
            "accuracy_latency",
            "Accuracy against latency",
            f"Up and to the left is better. Latency is {where}.",
            figures.accuracy_latency(summary, compared),
        ),
        _Plot(
            "precision_recall",
            "Precision and recall",
            "All classes together, by the least confidence that counts; the dot is the run's.",
            figures.precision_recall(summary),
        ),
        _Plot(
            "recall_by_size",
            "Recall by object size",
            "At the run's confidence. Grey bars: how many objects of that size there are.",
            figures.recall_by_size(summary),
        ),
        _Plot(
            "per_class",
            "Accuracy by class",
            "In brackets how many objects of the class were to be found.",
            figures.per_class(summary),
        ),
        _Plot(
            "stages",
            "Where the time goes",
            "Mean time of the stages of a frame.",
            figures.stages(summary),
            wide=True,
        ),
        _Plot(
            "timeline",
            "Frame by frame",
            "Drag to zoom, double-click to reset; click a name to hide it.",
            figures.timeline(summary),
            wide=True,
        ),
    ]
    if any(method.get("budget") for method in summary["methods"].values()):
        plots.append(_predicted(summary))
    return plots


def _predicted(summary: Mapping[str, Any]) -> _Plot:
    computed = (
        f"computed for as many workers from the times of single blocks and a shared link of "
        f"{NETWORK.bandwidth_mbit_s:g} Mbit/s"
    )
    measured = "measured from the partitioner having the frame to its detections"
    return _Plot(
        "predicted",
        "Predicted against what happened",
        f"A point per frame of methods that plan for a budget; on the dashed line the plan was "
        f"right. Time is {computed if summary['mode'] == 'offline' else measured}; value is the "
        f"number of objects expected to be found, against detections of a confidence of "
        f"{FOUND_CONFIDENCE:g} or more, right or wrong.",
        predicted(summary),
        wide=True,
    )


def _script_json(value: object) -> str:
    """JSON that may stand inside a script element."""
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _facts(summary: Mapping[str, Any]) -> dict[str, str]:
    """What the figures come from, as lines of text."""
    machine = summary["machine"]
    asked = summary["frames_asked"]
    return {
        "data": " + ".join(summary["data"]),
        "ground truth": summary["ground_truth"],
        "frames": f"{summary['frames_done']} of {'?' if asked is None else asked}, from "
        f"{summary['start']} in steps of {summary['step']}, each shown {summary['repeat']} time(s)",
        "scene seeds": ", ".join(map(str, summary["seeds"])) or "-",
        "model": ", ".join(summary["model"]),
        "device": summary["device"],
        "confidence": f"{summary['confidence']:g}",
        "class map": f"{summary['class_map']}: {', '.join(summary['classes'])}",
        "mode": summary["mode"],
        "wall time": f"{summary['wall_s']:.1f} s",
        "processor": f"{machine['processor']}, {machine['cores']} cores",
        "memory": f"{machine['memory_gib']} GiB",
        "system": f"{machine['system']}, Python {machine['python']}",
        "commit": summary["commit"],
        "created": summary["created"],
    }


def _flat(settings: Mapping[str, Any], head: str = "") -> dict[str, str]:
    flat: dict[str, str] = {}
    for name, value in settings.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{head}{name}.")
        else:
            flat[head + name] = (
                ", ".join(map(str, value)) if isinstance(value, list) else str(value)
            )
    return flat

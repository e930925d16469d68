"""The plot of what planners predicted against what happened."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from re_pose_ros.evaluation.report.style import Figure, colour, plot_axis, plot_layout, tinted


@dataclass(frozen=True)
class _Panel:
    """One of two plots side by side; ``what`` ends the names of its figures, ``axis`` those of
    its axes.
    """

    what: str
    axis: str
    texts: tuple[str, str]


_PANELS = (
    _Panel("ms", "", ("%{x:.1f} ms", "%{y:.1f} ms")),
    _Panel("value", "2", ("%{x:.1f} objects", "%{y}")),
)


def predicted(summary: Mapping[str, Any]) -> Figure:
    """Time and value as planned against what happened, a point per frame, beside the diagonal."""
    data: list[dict[str, Any]] = []
    ranges = []
    for panel in _PANELS:
        points = [
            _points(panel, k, name, rows)
            for k, (name, figures) in enumerate(summary["methods"].items())
            if (rows := [row for row in figures["frames"] if f"predicted_{panel.what}" in row])
        ]
        end = 1.05 * max([1.0, *(v for trace in points for v in (*trace["x"], *trace["y"]))])
        ranges.append({"range": [0, end]})
        data += [*points, _diagonal(panel, end)]
    times, values = ranges
    layout = plot_layout(
        plot_axis("predicted time (ms)", domain=[0.0, 0.45], **times),
        plot_axis("time (ms)", **times),
        xaxis2=plot_axis(
            "predicted value (objects found)", domain=[0.55, 1.0], anchor="y2", **values
        ),
        yaxis2=plot_axis("detections", anchor="x2", **values),
    )
    return {"data": data, "layout": layout}


def _points(panel: _Panel, k: int, name: str, rows: list[Mapping[str, Any]]) -> dict[str, Any]:
    planned, happened = panel.texts
    return {
        "type": "scatter",
        "mode": "markers",
        "name": name,
        "legendgroup": name,
        "showlegend": panel.what == "ms",
        "x": [row[f"predicted_{panel.what}"] for row in rows],
        "y": [row[f"happened_{panel.what}"] for row in rows],
        "xaxis": f"x{panel.axis}",
        "yaxis": f"y{panel.axis}",
        "text": [row["name"] for row in rows],
        "marker": {"size": 6, "color": tinted(colour(k), 0.6)},
        "hovertemplate": f"<b>{name}</b> %{{text}}<br>predicted {planned}, happened {happened}"
        "<extra></extra>",
    }


def _diagonal(panel: _Panel, end: float) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "lines",
        "name": "as predicted",
        "showlegend": False,
        "hoverinfo": "skip",
        "x": [0, end],
        "y": [0, end],
        "xaxis": f"x{panel.axis}",
        "yaxis": f"y{panel.axis}",
        "line": {"color": "#94a3b8", "width": 1.5, "dash": "dash"},
    }

"""The plots of the report, as plotly takes them: plain data, one function per plot."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from re_pose_ros.evaluation.report.compared import Compared
from re_pose_ros.evaluation.report.rows import prefix_of
from re_pose_ros.evaluation.report.style import (
    STAGE_PALETTE,
    Figure,
    colour,
    plot_axis,
    plot_layout,
    tinted,
)

_FEW_FRAMES = 60
_FIFTHS = {"tickmode": "linear", "tick0": 0, "dtick": 0.2}


def accuracy_name(summary: Mapping[str, Any]) -> str:
    """What accuracy is to be called on an axis."""
    return "agreement mAP50" if prefix_of(summary) else "mAP50"


def accuracy_latency(summary: Mapping[str, Any], compared: Sequence[Compared] = ()) -> Figure:
    """A point per method: median latency, with a whisker to its 95th percentile, and mAP50."""
    key = prefix_of(summary) + "map50"
    named = [(name, figures, False) for name, figures in summary["methods"].items()]
    named += [(other.name, other.figures, True) for other in compared]
    data: list[dict[str, Any]] = []
    times: list[float] = []
    known = [
        (k, name, figures, earlier)
        for k, (name, figures, earlier) in enumerate(named)
        if (figures.get("latency_ms") or {}).get("p50") and figures.get(key) is not None
    ]
    known.sort(key=lambda entry: entry[2]["latency_ms"]["p50"])
    for place, (k, name, figures, earlier) in enumerate(known):
        p50, accuracy = figures["latency_ms"]["p50"], figures[key]
        p95 = max(figures["latency_ms"].get("p95", p50), p50)
        times += [p50, p95]
        data.append(
            {
                "type": "scatter",
                "mode": "markers+text",
                "name": name,
                "x": [p50],
                "y": [accuracy],
                "text": [name],
                # Neighbours along the axis above and below, so that names do not meet.
                "textposition": "bottom center" if place % 2 else "top center",
                "textfont": {"color": colour(k)},
                "marker": {
                    "size": 13,
                    "color": colour(k),
                    "symbol": "diamond-open" if earlier else "circle",
                    "line": {"width": 2, "color": colour(k)},
                },
                "error_x": {
                    "type": "data",
                    "symmetric": False,
                    "array": [p95 - p50],
                    "arrayminus": [0],
                    "color": tinted(colour(k), 0.5),
                    "thickness": 1.5,
                    "width": 5,
                },
                "hovertemplate": f"<b>%{{text}}</b><br>{accuracy_name(summary)} %{{y:.3f}}<br>"
                f"latency p50 %{{x:.1f}} ms, p95 {p95:.1f} ms<extra></extra>",
            }
        )
    x = plot_axis("latency per frame, p50 with whisker to p95 (ms)", **_time_range(times))
    top = max((figures[key] for _, _, figures, _ in known), default=1.0)
    y = plot_axis(accuracy_name(summary), range=[-0.04 * top, max(1.15 * top, 0.05)])
    layout = plot_layout(x, y, showlegend=False)
    return {"data": data, "layout": layout}


def _time_range(times: Sequence[float]) -> dict[str, Any]:
    """A linear axis from 0, or a logarithmic one where times differ by an order of magnitude."""
    if not times or max(times) < 8 * min(times):
        return {"range": [0, 1.15 * max(times, default=1.0)]}
    low, high = math.log10(min(times)) - 0.25, math.log10(max(times)) + 0.15
    ticks = [
        digit * 10.0**power
        for power in range(math.floor(low), math.ceil(high) + 1)
        for digit in (1, 2, 5)
        if low <= math.log10(digit * 10.0**power) <= high
    ]
    return {
        "type": "log",
        "range": [low, high],
        "tickvals": ticks,
        "ticktext": [f"{tick:g}" for tick in ticks],
    }


def precision_recall(summary: Mapping[str, Any]) -> Figure:
    """A curve per method over the confidence, and a dot at the confidence of the run."""
    prefix = prefix_of(summary)
    data: list[dict[str, Any]] = []
    for k, (name, figures) in enumerate(summary["methods"].items()):
        curve = figures[prefix + "curve"]
        # Below the detector's threshold nothing changes, and without detections nothing is right.
        points = [
            (r, p, c)
            for r, p, c in zip(
                curve["recall"], curve["precision"], curve["confidence"], strict=True
            )
            if r > 0
        ]
        recall, precision, confidence = zip(*points, strict=True) if points else ((), (), ())
        data.append(
            {
                "type": "scatter",
                "mode": "lines",
                "name": name,
                "legendgroup": name,
                "x": recall,
                "y": precision,
                "customdata": confidence,
                "line": {"color": colour(k), "width": 2.5},
                "hovertemplate": f"<b>{name}</b><br>confidence %{{customdata:.2f}}<br>"
                "precision %{y:.3f}, recall %{x:.3f}<extra></extra>",
            }
        )
        data.append(
            {
                "type": "scatter",
                "mode": "markers",
                "name": name,
                "legendgroup": name,
                "showlegend": False,
                "x": [figures[prefix + "recall"]],
                "y": [figures[prefix + "precision"]],
                "marker": {"size": 10, "color": colour(k), "line": {"width": 2, "color": "white"}},
                "hovertemplate": f"<b>{name}</b> at confidence {summary['confidence']:g}<br>"
                "precision %{y:.3f}, recall %{x:.3f}<extra></extra>",
            }
        )
    layout = plot_layout(
        plot_axis("recall at IoU 0.5", range=[0, 1.02], **_FIFTHS),
        plot_axis("precision at IoU 0.5", range=[0, 1.02], **_FIFTHS),
    )
    return {"data": data, "layout": layout}


def stages(summary: Mapping[str, Any]) -> Figure:
    """Mean time of each stage, stacked, a bar per method."""
    methods = summary["methods"]
    names = list(dict.fromkeys(stage for m in methods.values() for stage in m["stages_ms"]))
    data = [
        {
            "type": "bar",
            "orientation": "h",
            "name": stage,
            "y": list(methods),
            "x": [m["stages_ms"].get(stage, {}).get("mean", 0.0) for m in methods.values()],
            "marker": {"color": STAGE_PALETTE[k % len(STAGE_PALETTE)]},
            "customdata": [
                [m["stages_ms"].get(stage, {}).get(key, 0.0) for key in ("p50", "p95")]
                for m in methods.values()
            ],
            "hovertemplate": f"<b>%{{y}}</b> {stage}<br>mean %{{x:.1f}} ms, p50 "
            "%{customdata[0]:.1f} ms, p95 %{customdata[1]:.1f} ms<extra></extra>",
        }
        for k, stage in enumerate(names)
    ]
    y = plot_axis("", autorange="reversed", automargin=True, showgrid=False)
    layout = plot_layout(
        plot_axis("mean time per frame (ms)", rangemode="tozero"), y, barmode="stack"
    )
    layout["height"] = max(260, 150 + 46 * len(methods))
    layout["legend"] |= {"traceorder": "normal"}
    return {"data": data, "layout": layout}


def timeline(summary: Mapping[str, Any]) -> Figure:
    """Latency, blocks and recall frame by frame, one above the other."""
    prefix = prefix_of(summary)
    data = []
    count = 0
    for k, (name, figures) in enumerate(summary["methods"].items()):
        rows = figures["frames"]
        count = max(count, len(rows))
        recalls = []
        for row in rows:
            objects = row[prefix + "tp"] + row[prefix + "fn"]
            recalls.append(row[prefix + "tp"] / objects if objects else None)
        panels = (
            ([row["latency_ms"] for row in rows], "y", "%{y:.1f} ms"),
            ([row["blocks"] for row in rows], "y2", "%{y} blocks"),
            (recalls, "y3", "recall %{y:.3f}"),
        )
        for values, axis, text in panels:
            data.append(
                {
                    "type": "scatter",
                    "mode": "lines+markers" if len(rows) <= _FEW_FRAMES else "lines",
                    "name": name,
                    "legendgroup": name,
                    "showlegend": axis == "y",
                    "x": [row["index"] for row in rows],
                    "y": values,
                    "yaxis": axis,
                    "text": [row["name"] for row in rows],
                    "line": {"color": colour(k), "width": 1.5},
                    "marker": {"size": 5},
                    "hovertemplate": f"<b>{name}</b> %{{text}}<br>{text}<extra></extra>",
                }
            )
    layout = plot_layout(
        plot_axis("frame", anchor="y3", range=[-0.5, max(count - 0.5, 0.5)]),
        plot_axis("latency (ms)", domain=[0.7, 1.0], rangemode="tozero"),
        yaxis2=plot_axis("blocks", domain=[0.36, 0.64], rangemode="tozero"),
        yaxis3=plot_axis("recall", domain=[0.0, 0.3], range=[-0.03, 1.05]),
        height=620,
    )
    return {"data": data, "layout": layout}


def recall_by_size(summary: Mapping[str, Any]) -> Figure:
    """Recall in bins of the objects' size; how many objects there are stands behind."""
    key = prefix_of(summary) + "recall_by_size"
    methods = summary["methods"]
    first = next(iter(methods.values()))[key]
    shown = [k for k, n in enumerate(first["objects"]) if n]
    used = range(shown[0], shown[-1] + 1) if shown else range(0)
    edges = first["edges_px"]
    labels = [f"{edges[k]:.0f}-{edges[k + 1]:.0f}" for k in used]
    data: list[dict[str, Any]] = [
        {
            "type": "bar",
            "name": "objects",
            "x": labels,
            "y": [first["objects"][k] for k in used],
            "yaxis": "y2",
            "marker": {"color": "#e2e8f0"},
            "hovertemplate": "%{x} px: %{y} objects<extra></extra>",
        }
    ]
    for k, (name, figures) in enumerate(methods.items()):
        data.append(
            {
                "type": "scatter",
                "mode": "lines+markers",
                "name": name,
                "x": labels,
                "y": [figures[key]["recall"][k] for k in used],
                "connectgaps": False,
                "line": {"color": colour(k), "width": 2.5},
                "marker": {"size": 7},
                "hovertemplate": f"<b>{name}</b><br>%{{x}} px: recall %{{y:.3f}}<extra></extra>",
            }
        )
    right = plot_axis("objects", side="right", showgrid=False, rangemode="tozero", nticks=6)
    layout = plot_layout(
        plot_axis(
            "object size in the image, square root of the box's area (px)",
            type="category",
            tickangle=-35,
        ),
        plot_axis("recall at IoU 0.5", range=[0, 1.02], overlaying="y2", **_FIFTHS),
        yaxis2=right,
    )
    return {"data": data, "layout": layout}


def per_class(summary: Mapping[str, Any]) -> Figure:
    """Average precision at IoU 0.5 by class, a bar per method."""
    key = prefix_of(summary) + "per_class"
    data = []
    for k, (name, figures) in enumerate(summary["methods"].items()):
        present = {label: v for label, v in figures[key].items() if v["truths"]}
        data.append(
            {
                "type": "bar",
                "name": name,
                "x": [f"{label}<br>({v['truths']})" for label, v in present.items()],
                "y": [v["ap50"] for v in present.values()],
                "marker": {"color": colour(k)},
                "hovertemplate": f"<b>{name}</b><br>%{{x}}: AP50 %{{y:.3f}}<extra></extra>",
            }
        )
    layout = plot_layout(
        plot_axis("class (objects)", showgrid=False),
        plot_axis("AP50", range=[0, 1.02], **_FIFTHS),
        barmode="group",
    )
    return {"data": data, "layout": layout}

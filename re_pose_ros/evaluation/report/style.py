"""How all plots of the report look."""

from __future__ import annotations

from typing import Any

Figure = dict[str, Any]
"""``data`` and ``layout``."""

PALETTE = (
    "#2563eb",
    "#ea580c",
    "#059669",
    "#9333ea",
    "#dc2626",
    "#0891b2",
    "#ca8a04",
    "#db2777",
    "#4d7c0f",
    "#475569",
)
STAGE_PALETTE = ("#94a3b8", "#38bdf8", "#818cf8", "#2563eb", "#f59e0b", "#10b981", "#f472b6")
FONT = "Inter, system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"
_INK, _GRID = "#334155", "#e2e8f0"


def colour(index: int) -> str:
    """Of a method by its place."""
    return PALETTE[index % len(PALETTE)]


def tinted(hex_colour: str, opacity: float) -> str:
    """A ``#rrggbb`` colour with an opacity, as CSS has it."""
    red, green, blue = (int(hex_colour[k : k + 2], 16) for k in (1, 3, 5))
    return f"rgba({red},{green},{blue},{opacity})"


def plot_axis(title: str, **options: Any) -> dict[str, Any]:
    return {
        "title": {"text": title, "font": {"size": 13}},
        "gridcolor": _GRID,
        "linecolor": "#cbd5e1",
        "zeroline": False,
        "automargin": True,
        **options,
    }


def plot_layout(x: dict[str, Any], y: dict[str, Any], **options: Any) -> dict[str, Any]:
    return {
        "xaxis": x,
        "yaxis": y,
        "height": 420,
        "margin": {"l": 64, "r": 28, "t": 58, "b": 56},
        "font": {"family": FONT, "size": 12.5, "color": _INK},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "colorway": list(PALETTE),
        "modebar": {"bgcolor": "rgba(0,0,0,0)", "color": "#94a3b8", "activecolor": "#334155"},
        "hoverlabel": {"bgcolor": "white", "bordercolor": "#cbd5e1", "font": {"color": _INK}},
        "legend": {
            "orientation": "h",
            "x": 0,
            "xanchor": "left",
            "y": 1.0,
            "yanchor": "bottom",
            "bgcolor": "rgba(255,255,255,0)",
        },
        **options,
    }

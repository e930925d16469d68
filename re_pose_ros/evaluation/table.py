"""The table that a command prints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from re_pose_ros.evaluation.report import Compared
from re_pose_ros.evaluation.report.rows import HEADLINE, headline_rows, prefix_of


def table(summary: Mapping[str, Any], compared: Sequence[Compared] = ()) -> str:
    """Methods by figures, as the report has them."""
    rows = headline_rows(summary, compared)
    agreement = bool(prefix_of(summary))
    heads = ["method"]
    for column in HEADLINE:
        heads.append(f"agr. {column.short}" if agreement and column.accuracy else column.short)
    lines = [heads, *([row.name, *(cell.text for cell in row.cells)] for row in rows)]
    widths = [max(len(line[k]) for line in lines) for k in range(len(heads))]
    text = [
        "  ".join(
            [
                line[0].ljust(widths[0]),
                *(c.rjust(w) for c, w in zip(line[1:], widths[1:], strict=True)),
            ]
        )
        for line in lines
    ]
    done, asked = summary["frames_done"], summary["frames_asked"]
    of = f" of {asked}" if asked not in (None, done) else ""
    text.append(f"{done}{of} frames of {', '.join(summary['data'])}")
    if agreement:
        text.append("agr.: agreement with a slow reference, for want of ground truth")
    if summary["stopped"]:
        text.append(f"stopped: {summary['stopped']}")
    return "\n".join(text)

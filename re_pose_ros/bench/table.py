"""The result of a bench for reading."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

BUSY = 1.1
"""From here on the table says that the machine was not idle."""


def table(content: Mapping[str, Any]) -> str:
    """All methods of a result of ``bench partition``, one per line, and the run's conditions.

    ``sd`` is the standard deviation of mAP50 over the data, ``budget`` the share of frames that
    took more than 1.1 times the budget, ``late`` that of frames with an answer that came too late.
    """
    head = ("method", "mAP50", "sd", "mAP", "APs", "makespan", "p95", "budget", "late")
    rows: list[Sequence[str]] = [(*head, "latency", "p95", "serial", "kB", "blocks")]
    rows += [_row(name, of) for name, of in content["methods"].items()]
    lines = aligned(rows)
    lines += [f"{name}: {reason}" for name, reason in content["unavailable"].items()]
    lines.append(
        f"{content['frames']} frames, {content['model']}; times in ms; makespan computed for "
        f"{content['workers']} workers at {content['bandwidth_mbit_s']:g} Mbit/s "
        f"({content['links']}), latency measured on {content['cores']} cores"
    )
    if (content["held_up"] or 0) > BUSY:
        lines.append(
            f"other programs used the cores: blocks took {content['held_up']:.1f} times their "
            "processor time"
        )
    return "\n".join(lines)


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows of as many cells each as lines: the first column to the left, others to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.ljust(width) if k == 0 else cell.rjust(width)
            for k, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]


def three(value: float | None) -> str:
    """With three decimals; a dash where there is none."""
    return "-" if value is None else f"{value:.3f}"


def percent(share: float | None) -> str:
    """A share in percent; a dash where there is none."""
    return "-" if share is None else f"{100 * share:.1f}%"


def _row(name: str, of: Mapping[str, Any]) -> tuple[str, ...]:
    budget = of["budget"] or {}
    makespan, latency = of["makespan_ms"], of["latency_ms"]
    return (
        name,
        three(of["map50"]),
        three(of["seeds"]["map50"]["std"]),
        three(of["map"]),
        three(of["ap_small"]),
        *(f"{makespan[q]:.0f}" for q in ("p50", "p95")),
        percent(budget.get("over_10_percent")),
        percent(budget.get("late_frames")),
        *(f"{latency[q]:.0f}" for q in ("p50", "p95")),
        f"{of['serial_ms']:.0f}",
        f"{of['bytes_per_frame'] / 1e3:.0f}",
        f"{of['blocks_per_frame']:.1f}",
    )

"""The headline table: methods by figures."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from re_pose_ros.evaluation.report.compared import Compared
from re_pose_ros.evaluation.scores import AGREEMENT


@dataclass(frozen=True)
class Column:
    """One figure.

    Attributes:
        title: in the report.
        short: on a terminal.
        value: takes it from a method's figures and the prefix of figures of accuracy; None where
            it is not there.
        text: how a value is written.
        better: 1 where more is better, -1 where less is, 0 where neither.
        group: the heading above.
    """

    title: str
    short: str
    value: Callable[[Mapping[str, Any], str], float | None]
    text: Callable[[float], str]
    better: int
    group: str

    @property
    def accuracy(self) -> bool:
        """Whether it says how right the detections are."""
        return self.group == "accuracy"


@dataclass(frozen=True)
class Cell:
    """A figure as text, and whether it is the best of its column."""

    text: str
    best: bool = False


@dataclass(frozen=True)
class Row:
    """One method; ``earlier`` for one of another run."""

    name: str
    cells: tuple[Cell, ...]
    earlier: bool = False


def _accuracy(name: str) -> Callable[[Mapping[str, Any], str], float | None]:
    return lambda figures, prefix: figures.get(prefix + name)


def _latency(name: str) -> Callable[[Mapping[str, Any], str], float | None]:
    return lambda figures, _: (figures.get("latency_ms") or {}).get(name)


def _plain(name: str, factor: float = 1.0) -> Callable[[Mapping[str, Any], str], float | None]:
    def value(figures: Mapping[str, Any], _: str) -> float | None:
        found = figures.get(name)
        return None if found is None else found * factor

    return value


def _lost(figures: Mapping[str, Any], _: str) -> float | None:
    if "frames_dropped" not in figures:
        return None
    return float(figures["frames_dropped"] + figures.get("frames_late", 0))


def _share(value: float) -> str:
    return f"{value:.3f}"


def _milliseconds(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}"


HEADLINE = (
    Column("mAP50", "mAP50", _accuracy("map50"), _share, 1, "accuracy"),
    Column("mAP50-95", "mAP", _accuracy("map"), _share, 1, "accuracy"),
    Column("AP small", "small", _accuracy("ap_small"), _share, 1, "accuracy"),
    Column("AP medium", "medium", _accuracy("ap_medium"), _share, 1, "accuracy"),
    Column("AP large", "large", _accuracy("ap_large"), _share, 1, "accuracy"),
    Column("precision", "prec", _accuracy("precision"), _share, 1, "accuracy"),
    Column("recall", "recall", _accuracy("recall"), _share, 1, "accuracy"),
    Column("p50", "p50 ms", _latency("p50"), _milliseconds, -1, "latency (ms)"),
    Column("p95", "p95 ms", _latency("p95"), _milliseconds, -1, "latency (ms)"),
    Column("p99", "p99 ms", _latency("p99"), _milliseconds, -1, "latency (ms)"),
    Column(
        "kB sent", "kB", _plain("bytes_per_frame", 1e-3), lambda v: f"{v:,.0f}", -1, "per frame"
    ),
    Column("blocks", "blocks", _plain("blocks_per_frame"), "{:.1f}".format, 0, "per frame"),
    Column("lost", "lost", _lost, "{:.0f}".format, -1, "frames"),
)


def prefix_of(summary: Mapping[str, Any]) -> str:
    """What the names of figures of accuracy begin with."""
    return AGREEMENT if summary["ground_truth"] == "slow reference" else ""


def headline_rows(summary: Mapping[str, Any], compared: Sequence[Compared] = ()) -> list[Row]:
    """A row per method of the summary, then per compared one."""
    prefix = prefix_of(summary)
    named: list[tuple[str, Mapping[str, Any], bool]] = [
        (name, figures, False) for name, figures in summary["methods"].items()
    ]
    named += [(other.name, other.figures, True) for other in compared]
    columns = [[column.value(figures, prefix) for _, figures, _ in named] for column in HEADLINE]
    best = [_best(values, column) for values, column in zip(columns, HEADLINE, strict=True)]
    return [
        Row(
            name,
            tuple(
                Cell("-" if values[k] is None else column.text(values[k]), values[k] == top)  # type: ignore[arg-type]
                for values, column, top in zip(columns, HEADLINE, best, strict=True)
            ),
            earlier,
        )
        for k, (name, _, earlier) in enumerate(named)
    ]


def _best(values: Sequence[float | None], column: Column) -> object:
    """The best value; something that equals no value where there is nothing to choose."""
    known = [value for value in values if value is not None]
    if not column.better or len(set(known)) < 2:
        return object()
    return max(known) if column.better > 0 else min(known)

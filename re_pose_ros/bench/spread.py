"""How results spread over the data sets of a run, and what methods differ by on the same data."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

_REFERENCE = re.compile(r"(?:clusters|greedy|elf|tiles|whole_[0-9]+)(?:[@/].*)?")


def seeds(by_data: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Mean, standard deviation and values over the data sets, of a method's ``by_data``."""
    return {
        "map50": spread([part["map50"] for part in by_data]),
        "makespan_p50_ms": spread([part["makespan_ms"]["p50"] for part in by_data], 3),
    }


def versus(methods: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """By method and reference, what they differ by: pairs of figures of the same data set.

    ``map50`` are differences (above 0: better than the reference), ``makespan`` ratios of medians
    (below 1: faster). References are clusters, greedy, elf, tiles and whole frames.

    Args:
        methods: of the result, with ``by_data``.
    """
    references = [name for name in methods if _REFERENCE.fullmatch(name)]
    return {
        name: {
            reference: _pair(of["by_data"], methods[reference]["by_data"])
            for reference in references
            if reference != name
        }
        for name, of in methods.items()
    }


def _pair(ours: Sequence[Mapping[str, Any]], theirs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    pairs = list(zip(ours, theirs, strict=True))
    return {
        "map50": spread(
            [
                None if None in (a["map50"], b["map50"]) else a["map50"] - b["map50"]
                for a, b in pairs
            ]
        ),
        "makespan": spread([a["makespan_ms"]["p50"] / b["makespan_ms"]["p50"] for a, b in pairs]),
    }


def spread(values: Sequence[float | None], digits: int = 4) -> dict[str, Any]:
    """Mean and sample standard deviation of the values that there are; None where too few."""
    known = np.array([value for value in values if value is not None], np.float64)
    return {
        "mean": round(float(known.mean()), digits) if known.size else None,
        "std": round(float(known.std(ddof=1)), digits) if known.size > 1 else None,
        "values": [None if value is None else round(value, digits) for value in values],
    }

"""Figures of earlier runs, to stand beside those of this one."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from re_pose_ros.errors import InputError

_TIMES = ("mean", "p50", "p95", "p99", "max")


@dataclass(frozen=True)
class Compared:
    """One method of another summary.

    Attributes:
        name: the file's (or its folder's) name and the method's.
        figures: numbers by name as in ``methods`` of a summary, with ``latency_ms`` an object of
            them; what the file has otherwise is left out.
    """

    name: str
    figures: Mapping[str, Any]


def read_compared(path: Path) -> list[Compared]:
    """The methods of a ``summary.json``, or of another result with ``methods`` in it.

    Raises:
        InputError: the file cannot be read or is no such result.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is no JSON ({error})") from error
    methods = content.get("methods") if isinstance(content, dict) else None
    if not isinstance(methods, dict) or not all(isinstance(m, dict) for m in methods.values()):
        raise InputError(f"{path} has no methods to compare with; give the summary.json of a run")
    label = path.resolve().parent.name if path.stem == "summary" else path.stem
    return [Compared(f"{label}: {name}", _figures(entry)) for name, entry in methods.items()]


def _figures(entry: Mapping[str, Any]) -> dict[str, Any]:
    numbers = {name: value for name, value in entry.items() if _is_number(value)}
    times = entry.get("latency_ms")
    if isinstance(times, dict):
        numbers["latency_ms"] = {k: times[k] for k in _TIMES if _is_number(times.get(k))}
    return numbers


def _is_number(value: object) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and math.isfinite(value)  # type: ignore[arg-type]

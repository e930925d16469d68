"""Figures of a test that is run at length, kept as a file where one is asked for."""

from __future__ import annotations

import json
import os
from pathlib import Path

from re_pose_ros.provenance import commit, machine


def keep(kind: str, command: str, **values: object) -> None:
    """Print the figures, and write them to the file that the variable FIGURES names."""
    print(kind, values)
    if path := os.environ.get("FIGURES"):
        content = {
            "kind": kind,
            "machine": machine(),
            "commit": commit(),
            "command": command,
            **values,
        }
        Path(path).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")

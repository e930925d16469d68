"""The partitioner node with a planner of its own, which expects what it is told to.

Run as a process, with the path of a file for what it hears, one JSON object a line:
``{"context": ...}`` before each frame and ``{"outcome": ...}`` after each that was fused. It is
used as ``re_pose``, halves the frame and sends the right half first.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from re_pose_ros.geometry import Block
from re_pose_ros.nodes import partitioner
from re_pose_ros.partition import PARTITIONERS
from re_pose_ros.partition.base import FrameOutcome, PartitionContext, PartitionSettings
from re_pose_ros.plan import BlockRequest, Expectation

VALUE, MAKESPAN_MS, DONE_MS = 3.5, 40.0, (20.0, 40.0)
CLUSTER = Block(10, 20, 30, 40)


class Planner:
    """See above."""

    name = "re_pose"
    notes: tuple[str, ...] = ()

    def __init__(self, settings: PartitionSettings, log: Path) -> None:
        self.settings = settings
        self.expected: Expectation | None = None
        self._log = log

    def partition(self, context: PartitionContext) -> list[BlockRequest]:
        told = {
            "workers": dict(context.workers),
            "profiles": {name: str(p.worker) for name, p in context.profiles.items()},
            "stamp_ns": context.stamp_ns,
            "thumbnail": None if context.thumbnail is None else context.thumbnail.tolist(),
        }
        self._note({"context": told})
        self.expected = Expectation(
            VALUE,
            MAKESPAN_MS,
            self.settings.budget_ms,
            self.settings.objective,
            DONE_MS,
            (CLUSTER,),
        )
        width, height = context.frame_size
        variant = min(context.variants, default=None)
        half = width // 2
        names = sorted(context.workers)
        return [
            BlockRequest(Block(half, 0, half, height), variant, worker=names[-1]),
            BlockRequest(Block(0, 0, half, height), variant, worker=names[0]),
        ]

    def observe(self, outcome: FrameOutcome) -> None:
        told = {
            "stamp_ns": outcome.stamp_ns,
            "overhead_ms": outcome.overhead_ms,
            "boxes": outcome.detections.xyxy.tolist(),
            "block": outcome.detections.block.tolist(),
            "slots": [str(planned.slot) for planned in outcome.blocks],
            "outcomes": [asdict(one) for one in outcome.outcomes],
        }
        self._note({"outcome": told})

    def _note(self, line: dict[str, Any]) -> None:
        with self._log.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")


def main() -> None:
    log = Path(sys.argv[1])
    PARTITIONERS["re_pose"] = lambda settings: Planner(settings, log)
    partitioner.main()


if __name__ == "__main__":
    main()

"""What the nodes tell of one frame, and what came of it by worker."""

from __future__ import annotations

from dataclasses import dataclass, field

from re_pose_ros.coinference.setting import Setting
from re_pose_ros.errors import InputError
from re_pose_ros.plan import Plan
from re_pose_ros.plan_outcome import number

PARTITIONER = "partitioner"


@dataclass(frozen=True, slots=True)
class WorkerOutcome:
    """What came of one worker's part of a frame.

    Attributes:
        worker: whose part; where its blocks stay on the robot it is still the worker.
        stamp_ns: of the frame.
        setting: how it was shared, by number in the table.
        latency_ms: from the plan to the last answer; infinite where one did not come in time.
        size: bytes sent.
    """

    worker: str
    stamp_ns: int
    setting: int
    latency_ms: float
    size: int


@dataclass(slots=True)
class ToldFrame:
    """What is told of one frame so far: its plan, and key-value pairs by node."""

    plan: Plan | None = None
    told: dict[str, dict[str, str]] = field(default_factory=dict)
    taken: set[str] = field(default_factory=set)

    def first(self, what: str) -> bool:
        """Whether this is not taken yet; then it is."""
        new = what not in self.taken
        self.taken.add(what)
        return new

    def value(self, node: str, key: str) -> float | None:
        """A number that a node told; None where it did not."""
        return number(self.told.get(node, {}).get(key))

    def setting(self, worker: str) -> Setting | None:
        """How the network was shared for a worker; None where that was not told."""
        return parsed(self.told.get(PARTITIONER, {}).get(f"setting/{worker}"))

    def as_worked(self, worker: str) -> Setting | None:
        """The same; but where a picture's network ends is the worker's own affair."""
        setting, exit = self.setting(worker), self.told.get(worker, {}).get("exit")
        if setting is None or setting.cut != 0 or exit is None:
            return setting
        return parsed(f"{exit}/jpeg{setting.quality}")


def input_areas(plan: Plan) -> dict[str, float]:
    """Square pixels of network input by worker.

    Costs are nearly linear in it, so that blocks of one worker are taken for a single one of their
    area.
    """
    areas: dict[str, float] = {}
    for planned in plan.blocks:
        request, worker = planned.request, planned.slot.worker
        side = request.variant.input_size if request.variant else max(request.image_size)
        areas[worker] = areas.get(worker, 0.0) + float(side) ** 2
    return areas


def parsed(text: str | None) -> Setting | None:
    """The setting that a text means; None for other text."""
    try:
        return None if text is None else Setting.parse(text)
    except InputError:
        return None

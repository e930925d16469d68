"""What ``bench partition`` can be told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from re_pose_ros.bench.methods import DEFAULT
from re_pose_ros.bench.pool import Detector
from re_pose_ros.bench.reckoned import Reckoned
from re_pose_ros.bench.slowdown import Slowdown
from re_pose_ros.errors import InputError
from re_pose_ros.fusion.fuse import FusionSettings
from re_pose_ros.partition.base import PartitionSettings
from re_pose_ros.planning.makespan import Links


@dataclass(frozen=True)
class BenchOptions:
    """What to compare, on what, and under which conditions.

    Attributes:
        methods: see ``methods.make_methods``.
        detector: the network of every worker, with the tiles of ``partition``.
        workers: how many to plan and compute the makespan for; at most so many run at once.
        speeds: of each worker, where they differ; 1 is the speed of this machine's core.
        slots: blocks per worker and frame, for the partitioners that heed it.
        input_sizes: network inputs to choose from in pixels.
        bandwidth_mbit_s: of a link.
        links: ``shared`` or ``own``; see ``makespan.Network``.
        jpeg_quality: of the blocks, 1 to 100.
        observed_confidence: methods learn from detections of at least this confidence; those
            that weigh them by it learn from all.
        warm: frames at the start of each sequence that are looked at and do not count.
        repeat: how often each independent photo is shown; the last time counts.
        class_map: see ``evaluation.class_maps.class_map_of``.
        partition: settings of the partitioners.
        changed: names of those that were set by the user.
        fusion: how the blocks' answers become one.
        budgets: milliseconds by method, where they are not those of ``partition``.
        slow: workers that become slower.
        reckoned: times in place of measured ones; None to measure.

    Raises InputError for a value that cannot be used.
    """

    methods: tuple[str, ...] = DEFAULT
    detector: Detector = field(default_factory=Detector)
    workers: int = 4
    speeds: tuple[float, ...] = ()
    slots: int = 8
    input_sizes: tuple[int, ...] = (320, 640)
    bandwidth_mbit_s: float = 100.0
    links: Links = "shared"
    jpeg_quality: int = 90
    observed_confidence: float = 0.25
    warm: int = 0
    repeat: int = 1
    class_map: str = ""
    partition: PartitionSettings = field(default_factory=PartitionSettings)
    changed: frozenset[str] = frozenset()
    fusion: FusionSettings = field(default_factory=FusionSettings)
    budgets: Mapping[str, float] = field(default_factory=dict)
    slow: tuple[Slowdown, ...] = ()
    reckoned: Reckoned | None = None

    def __post_init__(self) -> None:
        if not self.methods:
            raise InputError(f"no method is given; choose from {', '.join(DEFAULT)}")
        least = {"workers": 1, "slots": 1, "warm": 0, "repeat": 1, "jpeg_quality": 1}
        for name, low in least.items():
            if getattr(self, name) < low:
                raise InputError(f"{name} is {getattr(self, name)}; it has to be at least {low}")
        if self.jpeg_quality > 100:
            raise InputError(f"jpeg_quality is {self.jpeg_quality}; it has to be at most 100")
        if self.speeds and len(self.speeds) != self.workers:
            raise InputError(f"{len(self.speeds)} speeds for {self.workers} workers")
        if not all(0 < speed < 1e6 for speed in self.speeds):
            raise InputError("speeds have to be above 0; 1 is that of a core of this machine")
        if not self.input_sizes or min(self.input_sizes) < 32:
            raise InputError("input sizes have to be at least 32 pixels; give one or more")
        self._check_names()

    def _check_names(self) -> None:
        workers = self.speed_by_worker()
        for slowdown in self.slow:
            if slowdown.worker not in workers:
                raise InputError(
                    f"worker '{slowdown.worker}' is not there to become slower; there are "
                    f"{', '.join(workers)}"
                )
        for name in self.budgets:
            if name not in self.methods:
                raise InputError(f"method '{name}' has a budget, but is not among the methods")

    def speed_by_worker(self) -> dict[str, float]:
        speeds = self.speeds or (1.0,) * self.workers
        return {f"edge_{k}": speed for k, speed in enumerate(speeds)}

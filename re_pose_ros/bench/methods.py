"""What is compared: how a frame becomes blocks, where they go, and what is done with them there."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from importlib.util import find_spec
from typing import Protocol

from re_pose_ros.bench import planners
from re_pose_ros.bench.oracle import Oracle, Search
from re_pose_ros.bench.partitioners import (
    Knowing,
    SahiTiles,
    TruthBlocks,
    WholeImage,
    true_objects,
)
from re_pose_ros.bench.planners import Planner
from re_pose_ros.bench.pool import CLOCKS, Clock
from re_pose_ros.detection.networks import has_tiles
from re_pose_ros.detection.profile import Profile
from re_pose_ros.distribution.schedule import thumbnail
from re_pose_ros.errors import InputError
from re_pose_ros.frame import Frame
from re_pose_ros.ground_truth import GroundTruth
from re_pose_ros.partition import PARTITIONERS, Partitioner, make_partitioner
from re_pose_ros.partition.assign import assign
from re_pose_ros.partition.base import FrameOutcome, PartitionContext, PartitionSettings
from re_pose_ros.plan import Expectation, PlannedBlock, Variant

DEFAULT = (
    "whole_640",
    "whole_1280",
    "tiles",
    "sahi",
    "ultralytics_tile",
    "clusters",
    "elf",
    "greedy",
    "re_pose",
    "ground_truth",
)
"""What a bench compares when it is not told."""

ON_ONE = ("sahi", "sahi_greedynmm", "ultralytics_tile")
"""Packages that cut and detect by themselves, on one worker."""

ELF_LOOK_EVERY = 3
"""As in the authors' code; the setting's default is for clusters."""

_WHOLE = re.compile(r"whole_([1-9][0-9]{1,3})")
_TILES = 1 << 12  # no frame has more
_NATIVE = range(32, 8193, 32)


class Method(Protocol):
    """One way of looking at frames that follow one another."""

    @property
    def name(self) -> str:
        """In tables, and in the JSON under ``methods``."""

    @property
    def job(self) -> str:
        """What workers do with its blocks; see ``pool.Task``."""

    @property
    def remembers(self) -> bool:
        """Whether what it does depends on the frames before."""

    @property
    def learns_from_all(self) -> bool:
        """Whether it takes all detections, with their confidences, not only the sure ones."""

    @property
    def expected(self) -> Expectation | None:
        """What it expects of its latest plan; None of methods without a budget."""

    @property
    def search(self) -> Search | None:
        """What it did for its latest plan that is not charged; None of all but oracles."""

    def begin(self) -> None:
        """Another sequence begins: forget."""

    def plan(self, frame: Frame, truth: GroundTruth) -> tuple[PlannedBlock, ...]:
        """The blocks of the next frame on their workers; ``truth`` is for methods that cheat."""

    def observe(self, outcome: FrameOutcome) -> None:
        """Take what came of that frame."""


@dataclass(frozen=True)
class MethodSettings:
    """What methods are made with.

    Attributes:
        models: the networks, as variants call them; the first is that of most methods, planners
            choose from all.
        workers: speed of each, by name; 1 is what times are measured at.
        slots: blocks per worker and frame of the partitioners that heed it.
        input_sizes: network inputs that ``clusters``, ``ground_truth`` and the like choose from.
        partition: settings of the partitioners; ``tiles`` has ``tile_size`` and ``overlap`` of it.
        changed: names of those that were set by the user.
        profiles: of each worker, by name.
        budgets: milliseconds of planners by the method's name, where not those of ``partition``.
        clock: what the robot's times are taken by; see ``pool.Detector``.
    """

    models: tuple[str, ...]
    workers: Mapping[str, float]
    slots: int = 8
    input_sizes: tuple[int, ...] = (320, 640)
    partition: PartitionSettings = field(default_factory=PartitionSettings)
    changed: frozenset[str] = frozenset()
    profiles: Mapping[str, Profile] = field(default_factory=dict)
    budgets: Mapping[str, float] = field(default_factory=dict)
    clock: Clock = "wall"

    def variants(self, sizes: Sequence[int], *, choice: bool = False) -> tuple[Variant, ...]:
        """Of the first network, or with ``choice`` of all."""
        models = self.models if choice else self.models[:1]
        return tuple(Variant(model, size) for model in models for size in sizes)


@dataclass
class Partitioned:
    """A method that is a partitioner, with its blocks spread over the workers as in the graph.

    Attributes:
        name: see ``Method``.
        make: a new partitioner, with nothing learned.
        variants: the networks that it may ask for.
        workers: speed of each, by name.
        slots: blocks per worker and frame.
        profiles: of each worker, by name.
        remembers: see ``Method``.
        learns_from_all: see ``Method``.
        told: whether it is told the true objects of each frame.
        job: see ``Method``.
    """

    name: str
    make: Callable[[], Partitioner]
    variants: tuple[Variant, ...]
    workers: Mapping[str, float]
    slots: int
    profiles: Mapping[str, Profile] = field(default_factory=dict)
    remembers: bool = True
    learns_from_all: bool = False
    told: bool = False
    job: str = "detect"

    def __post_init__(self) -> None:
        self._slots = dict.fromkeys(self.workers, self.slots)
        self.begin()

    @property
    def expected(self) -> Expectation | None:
        return self._partitioner.expected

    @property
    def search(self) -> Search | None:
        return self._partitioner.search if isinstance(self._partitioner, Oracle) else None

    def begin(self) -> None:
        self._partitioner = self.make()

    def plan(self, frame: Frame, truth: GroundTruth) -> tuple[PlannedBlock, ...]:
        return self.placed(self.context(frame), truth)

    def context(self, frame: Frame) -> PartitionContext:
        """What the partitioner may use for a frame."""
        return PartitionContext(
            frame.size,
            self.slots * len(self.workers),
            self.variants,
            tuple(self.workers.values()),
            self._slots,
            self.profiles,
            frame.stamp_ns,
            thumbnail(frame.image),
        )

    def placed(self, context: PartitionContext, truth: GroundTruth) -> tuple[PlannedBlock, ...]:
        """As ``plan``, with the frame's context."""
        if self.told:
            assert isinstance(self._partitioner, Knowing)
            self._partitioner.know(true_objects(truth, context.frame_size))
        requests = self._partitioner.partition(context)
        return assign(requests, self._slots, speed=self.workers)

    def observe(self, outcome: FrameOutcome) -> None:
        self._partitioner.observe(outcome)


def make_methods(
    names: Sequence[str], settings: MethodSettings
) -> tuple[list[Method], dict[str, str]]:
    """The methods of these names, and those that cannot run here by name with the reason.

    Args:
        names: of ``DEFAULT``, any partitioner, ``whole_<input size>``, a planner as of
            ``planners.Planner``, or ``sahi_greedynmm``, which has sahi merge by GREEDYNMM at any
            confidence. ``<name>/<network>`` is the method with that network alone.
        settings: what they are made with.

    Raises:
        InputError: an unknown name, one given twice, or a budget for a method that heeds none.
    """
    twice = {name for name in names if list(names).count(name) > 1}
    if twice:
        raise InputError(f"method '{min(twice)}' is given twice")
    for name in settings.budgets:
        if Planner.parse(name.partition("/")[0]) is None:
            raise InputError(f"method '{name}' heeds no budget")
    reasons = {name: reason for name in names if (reason := unavailable(name))}
    return [_with_network(name, settings) for name in names if name not in reasons], reasons


def unavailable(name: str) -> str:
    """Why a method cannot run here; empty where it can."""
    if name in ("sahi", "sahi_greedynmm") and find_spec("sahi") is None:
        return "the sahi package is not installed; pip install sahi"
    if name == "ultralytics_tile" and not has_tiles():
        from importlib.metadata import version

        return f"ultralytics {version('ultralytics')} has no option tile"
    return ""


def _with_network(name: str, settings: MethodSettings) -> Method:
    """A method by its whole name, with the network after the slash or all that there are."""
    base, slash, network = name.partition("/")
    if not slash:
        return _make(name, settings)
    if network not in settings.models:
        raise InputError(
            f"method '{name}' names a network that is not there; there are "
            f"{', '.join(settings.models)}"
        )
    if base in ON_ONE:
        raise InputError(f"method '{base}' takes the first network; leave out '/{network}'")
    budgets = {base: settings.budgets[name]} if name in settings.budgets else {}
    method = _make(base, replace(settings, models=(network,), budgets=budgets))
    method.name = name
    return method


def _make(name: str, settings: MethodSettings) -> Partitioned:
    partition = settings.partition
    if planner := Planner.parse(name):
        return _planner(name, planner, settings)
    if match := _WHOLE.fullmatch(name):
        size = int(match[1])
        look = replace(partition, whole_size=size)
        return _on_all(name, lambda: make_partitioner("whole", look), (size,), settings)
    if name == "tiles":
        look = replace(partition, whole_size=partition.tile_size)
        return _on_all(name, lambda: SahiTiles(look), (look.tile_size,), settings, slots=_TILES)
    if name in ON_ONE:
        return _on_fastest(name, settings)
    sizes = settings.input_sizes
    if name == "ground_truth":
        return _on_all(name, lambda: TruthBlocks(partition), sizes, settings, told=True)
    if name == "elf":
        if "look_every" not in settings.changed:
            partition = replace(partition, look_every=ELF_LOOK_EVERY)
        sizes = tuple(_NATIVE)
    if name in PARTITIONERS:
        remembers = name not in ("whole", "uniform")
        make = partial(make_partitioner, name, partition)
        return _on_all(name, make, sizes, settings, remembers=remembers)
    known = [*DEFAULT, "whole_<size>", "sahi_greedynmm", *PARTITIONERS, *planners.EXAMPLES]
    raise InputError(f"method '{name}' is unknown; known: {', '.join(dict.fromkeys(known))}")


def _planner(name: str, planner: Planner, settings: MethodSettings) -> Partitioned:
    partition = planner.settings(settings.partition, settings.budgets.get(name))
    make = partial(planner.make, name, partition, CLOCKS[settings.clock])
    return _on_all(
        name,
        make,
        settings.input_sizes,
        settings,
        remembers=True,
        learns_from_all=True,
        told=planner.told,
        choice=True,
    )


def _on_all(
    name: str,
    make: Callable[[], Partitioner],
    sizes: Sequence[int],
    settings: MethodSettings,
    *,
    slots: int = 0,
    remembers: bool = False,
    learns_from_all: bool = False,
    told: bool = False,
    choice: bool = False,
) -> Partitioned:
    """A method on all workers, of ``settings.slots`` each unless told otherwise.

    With ``choice`` it may ask for any of the networks.
    """
    return Partitioned(
        name,
        make,
        settings.variants(sizes, choice=choice),
        settings.workers,
        slots or settings.slots,
        settings.profiles,
        remembers=remembers,
        learns_from_all=learns_from_all,
        told=told,
    )


def _on_fastest(name: str, settings: MethodSettings) -> Partitioned:
    """A job that one worker does alone."""
    fastest = max(settings.workers, key=lambda worker: settings.workers[worker])
    return Partitioned(
        name,
        lambda: WholeImage(settings.partition),
        (),
        {fastest: settings.workers[fastest]},
        1,
        remembers=False,
        job=name,
    )

"""What a tuner knows of the workers, from what the nodes tell of their frames.

It has no clock of its own: times are seconds of one monotonic clock, given by the caller. Only
durations are taken, each from one clock; see ``graph.outcomes``.
"""

from __future__ import annotations

import math
from collections import OrderedDict, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median

import numpy as np
from numpy.typing import NDArray

from re_pose_ros.coinference.profile import ActionTable
from re_pose_ros.coinference.setting import Setting
from re_pose_ros.detection.profile import Profile
from re_pose_ros.detections import Detections
from re_pose_ros.geometry import box_areas
from re_pose_ros.graph.outcomes import FUSION
from re_pose_ros.plan import DEVICE_NAME, Plan
from re_pose_ros.plan_outcome import number
from re_pose_ros.tuning.latency import latency_ms
from re_pose_ros.tuning.links import LinkEstimate, LoadEstimate
from re_pose_ros.tuning.state import Measured
from re_pose_ros.tuning.told import PARTITIONER, ToldFrame, WorkerOutcome, input_areas

HISTORY = 64
"""Frames that are kept at most."""

PERIODS = 5
"""The median of so many counts."""

NEW = 0.5
"""Weight of the last frame in waits at a worker, and in what planning and fusing take."""

MARGIN_UP, MARGIN_DOWN = 0.5, 0.05
"""Weights of what a frame took beyond what was known, where that is more or less than before."""

HANDLING_MS = 2.0
"""Of every block that is sent, for what the table does not have: cropping, handing over."""

KEPT_OBJECTS = 0.7
"""Of the objects that were counted, from one time to the next."""


@dataclass(slots=True)
class _Worker:
    link: LinkEstimate = field(default_factory=LinkEstimate)
    load: LoadEstimate = field(default_factory=LoadEstimate)
    wait_ms: float = 0.0
    busy_ms: float = 0.0
    deadline_ms: float = math.inf
    margin_ms: float = 0.0
    doubt: tuple[int, float] | None = None
    input_size: float | None = None
    met: bool = False
    alive: bool = False
    features: bool = False
    silent: bool = False


class Measurements:
    """Estimates of each worker, its link and the robot; not thread-safe."""

    NOTICE_S = 0.5
    """How long a probe may stay unanswered, beside three times the usual."""

    OUTAGE_S = 2.0
    """How long it may, at most, for the link to have been full and not cut."""

    OLDEST_S = 60.0
    """No bandwidth is told to be older."""

    def __init__(self, table: ActionTable, workers: Sequence[str]) -> None:
        self._table = table
        self._numbers = {setting: k for k, setting in enumerate(table.settings)}
        self._workers = {name: _Worker() for name in workers}
        self._robot = LoadEstimate()
        self._frames: OrderedDict[int, ToldFrame] = OrderedDict()
        self._periods: deque[float] = deque(maxlen=PERIODS)
        self._objects: NDArray[np.float64] = np.zeros(len(table.size_edges) + 1)
        self._outcomes: list[WorkerOutcome] = []
        self.overhead_ms = 0.0
        """For planning a frame and fusing its answers."""
        self.last_stamp_ns = 0
        """Of the latest plan; 0 before the first."""

    # What is heard.

    def presence(self, worker: str, alive: bool, profile: Profile | None) -> None:
        """A worker, or the robot as one, is there with what it can do, or no longer is."""
        first = None if profile is None else self._first_load(profile, worker == DEVICE_NAME)
        if worker == DEVICE_NAME:
            self._robot.first = first or self._robot.first
        elif state := self._workers.get(worker):
            state.met |= alive
            state.alive = alive
            state.load.first = first or state.load.first
            if not alive:
                self._lost(state)
            hashes = {} if profile is None else profile.hashes
            state.features = hashes.get(self._table.model) == self._table.model_hash

    def planned(self, plan: Plan, now_s: float) -> None:
        """A plan was published."""
        since_ms = (plan.stamp_ns - self.last_stamp_ns) / 1e6
        if self.last_stamp_ns and since_ms > 0:
            self._periods.append(since_ms)
        self.last_stamp_ns = plan.stamp_ns
        self._take_sizes(plan)
        frame = self._frame(plan.stamp_ns)
        frame.plan = plan
        self._take(frame, now_s)

    def told(self, stamp_ns: int, node: str, values: Mapping[str, str], now_s: float) -> None:
        """A node told something of a frame."""
        frame = self._frame(stamp_ns)
        frame.told.setdefault(node, {}).update(values)
        self._take(frame, now_s)

    def fused(self, stamp_ns: int, detections: Detections) -> None:
        """The objects of a frame, in full-image pixels; nothing where its plan is not known."""
        frame = self._frames.get(stamp_ns)
        if frame is None or frame.plan is None:
            return
        seen = [number(text) for text in frame.told.get(FUSION, {}).get("seen_in", "").split(",")]
        if len(seen) != len(detections) or None in seen:
            return
        scales = np.array([planned.request.input_scale for planned in frame.plan.blocks])
        blocks = np.array(seen, int)
        known = (blocks >= 0) & (blocks < len(scales))
        sizes = np.sqrt(box_areas(detections.xyxy[known].astype(float))) * scales[blocks[known]]
        classes = np.searchsorted(self._table.size_edges, sizes, side="right")
        self._objects *= KEPT_OBJECTS
        self._objects += np.bincount(classes, minlength=len(self._objects))

    def round_trip(self, worker: str, ms: float) -> None:
        """A small message to a worker was answered."""
        self._workers[worker].link.round_trip(ms)

    def transferred(self, worker: str, size: int, ms: float, now_s: float) -> None:
        """``size`` bytes to a worker were answered after ``ms``, less what it did meanwhile."""
        state = self._workers[worker]
        state.silent = False
        if state.doubt is not None:
            state.link.too_slow(*state.doubt, now_s)
            state.doubt = None
        if size > 0:
            state.link.transferred(size, ms, now_s)

    def waited(self, worker: str, unanswered_s: float) -> None:
        """A message to a worker has not been answered for so long."""
        state = self._workers[worker]
        if unanswered_s > self.NOTICE_S + 3e-3 * state.link.rtt_ms:
            self._lost(state)
        if unanswered_s > self.OUTAGE_S:
            # No more is to be learned of how fast it was.
            state.doubt = None

    # What is known.

    @property
    def workers(self) -> tuple[str, ...]:
        """Names, in the order given."""
        return tuple(self._workers)

    @property
    def robot_load(self) -> float:
        """How many times as long things take on the robot as in the table."""
        return self._robot.load

    def edge_load(self, worker: str) -> float:
        """The same of a worker."""
        return self._workers[worker].load.load

    def link(self, worker: str) -> LinkEstimate:
        """What is known of the link to a worker."""
        return self._workers[worker].link

    def deadline_ms(self, worker: str) -> float:
        """What was left of the deadline that was given last, less what planning and fusing take."""
        return self._workers[worker].deadline_ms

    def can_go_on(self, worker: str) -> bool:
        """Whether a worker can go on from features of the table's network."""
        return self._workers[worker].features

    def connected(self, worker: str) -> bool:
        """Whether a worker is there and answers."""
        state = self._workers[worker]
        return state.alive and not state.silent

    def measured(
        self, worker: str, deadline_ms: float, robot_busy_ms: float, now_s: float
    ) -> Measured | None:
        """What is known of a worker; None while too little is.

        Of the deadline, but for its half, is taken off what planning and fusing take, and what
        frames took beyond what is known.

        Args:
            worker: its name.
            deadline_ms: from having a frame to having its detections.
            robot_busy_ms: what the robot has to do before for other workers.
            now_s: the time.

        What a frame takes is judged by the deadline and the busy robot that were given last.
        """
        state = self._workers[worker]
        state.busy_ms, half = robot_busy_ms, deadline_ms / 2
        state.deadline_ms = max(deadline_ms - self.overhead_ms, half, 1.0)
        return self._measured(state, max(state.deadline_ms - state.margin_ms, half, 1.0), now_s)

    def _measured(self, state: _Worker, deadline_ms: float, now_s: float) -> Measured | None:
        connected = state.alive and not state.silent
        if not state.met or state.input_size is None or (connected and not state.link.known):
            return None
        link = state.link
        counted = self._objects + 1 / len(self._objects)
        return Measured(
            bandwidth_mbit_s=link.bandwidth_mbit_s,
            rtt_ms=link.rtt_ms,
            robot_load=self._robot.load,
            edge_load=state.load.load,
            input_size=state.input_size,
            deadline_ms=deadline_ms,
            period_ms=median(self._periods) if self._periods else deadline_ms,
            robot_busy_ms=state.busy_ms,
            link_busy_ms=0.0,
            edge_busy_ms=0.0,
            edge_wait_ms=state.wait_ms,
            trend=link.trend,
            spread=link.spread,
            age_s=min(link.age_s(now_s), self.OLDEST_S),
            connected=float(connected),
            features=float(state.features),
            shares=tuple((counted / counted.sum()).tolist()),
        )

    def outcomes(self) -> list[WorkerOutcome]:
        """What came of the workers' parts of frames since the last call."""
        found, self._outcomes = self._outcomes, []
        return found

    # How it is put together.

    def _frame(self, stamp_ns: int) -> ToldFrame:
        frame = self._frames.setdefault(stamp_ns, ToldFrame())
        while len(self._frames) > HISTORY:
            self._frames.popitem(last=False)
        return frame

    def _number(self, setting: Setting | None) -> int | None:
        """Of a setting in the table; None where it is not there."""
        return None if setting is None else self._numbers.get(setting)

    def _lost(self, state: _Worker) -> None:
        state.silent = True
        state.link.forget()

    def _first_load(self, profile: Profile, robot: bool) -> float | None:
        """By how its whole network's times compare with the table's; None where it has others."""
        table, ratios = self._table, []
        for entry in profile.variants:
            if entry.variant.model == table.model and entry.time_ms > 0:
                costs = table.costs(entry.variant.input_size)
                usual = costs.device_ms[~table.sends] if robot else costs.edge_ms
                if usual.max() > 0:
                    ratios.append(entry.time_ms / float(usual.max()))
        return median(ratios) if ratios else None

    def _take_sizes(self, plan: Plan) -> None:
        """Blocks of the robot are those of the workers that have none, in equal parts."""
        areas = input_areas(plan)
        without = [name for name in self._workers if name not in areas]
        for name, state in self._workers.items():
            if name in areas:
                state.input_size = math.sqrt(areas[name])
            elif DEVICE_NAME in areas:
                state.input_size = math.sqrt(areas[DEVICE_NAME] / len(without))

    def _take(self, frame: ToldFrame, now_s: float) -> None:
        """What a frame tells by now and has not been taken."""
        told = frame.told.get(PARTITIONER, {})
        if frame.plan is None or "encode_ms" not in told:
            return
        areas = input_areas(frame.plan)
        if frame.first("sent"):
            self._take_sending(frame, areas)
        planning, fusing = told.get("partition_ms"), frame.value(FUSION, "fusion_ms")
        if fusing is not None and frame.first("overhead"):
            overhead = (number(planning) or 0.0) + fusing
            self.overhead_ms += NEW * (max(overhead, 0.0) - self.overhead_ms)
        for name, area in areas.items():
            processing = frame.value(name, "processing_ms")
            if processing is not None and frame.first(f"work/{name}"):
                self._take_work(frame, name, math.sqrt(area), processing)
            if f"unanswered/{name}" in told and frame.first(f"answer/{name}"):
                self._take_answer(frame, name, now_s)

    def _take_sending(self, frame: ToldFrame, areas: Mapping[str, float]) -> None:
        """Cropping, heads and encoding for all workers, one after the other or side by side."""
        usual = 0.0
        for name in areas.keys() - {DEVICE_NAME}:
            number = self._number(frame.setting(name))
            if number is None:
                return
            usual += float(self._table.costs(math.sqrt(areas[name])).device_ms[number])
        assert frame.plan is not None
        sent = sum(slot.worker != DEVICE_NAME for slot in frame.plan.slots)
        took = frame.value(PARTITIONER, "encode_ms") or 0.0
        self._robot.update(took - HANDLING_MS * sent, usual)

    def _take_work(self, frame: ToldFrame, name: str, size: float, took_ms: float) -> None:
        """What a worker, or the robot as one, did with its blocks."""
        state = self._workers.get(name)
        if state is not None:
            queued = frame.value(name, "queued_ms") or 0.0
            state.wait_ms += NEW * (max(queued, 0.0) - state.wait_ms)
        number = self._number(frame.setting(name) if state is None else frame.as_worked(name))
        if number is None:
            return
        costs = self._table.costs(size)
        if state is not None:
            state.load.update(took_ms, float(costs.edge_ms[number]))
        elif name == DEVICE_NAME:
            self._robot.update(took_ms, float(costs.device_ms[number]))

    def _take_answer(self, frame: ToldFrame, name: str, now_s: float) -> None:
        """Whether and when a worker's answers came, and what that tells of its link."""
        assert frame.plan is not None
        slots = [slot for slot in frame.plan.slots if slot.worker == name]
        size = int(sum(frame.value(PARTITIONER, f"bytes/{slot}") or 0.0 for slot in slots))
        unanswered = frame.value(PARTITIONER, f"unanswered/{name}")
        answered = frame.value(PARTITIONER, f"answered_ms/{name}")
        if state := self._workers.get(name):
            transfer = frame.value(PARTITIONER, f"transfer_ms/{name}")
            late = self._late(frame, name, size) if unanswered else None
            if unanswered == len(slots):
                self._lost(state)
                state.doubt = late
            elif late is not None:
                state.link.too_slow(*late, now_s)
            elif transfer is not None:
                if size > 0 and (answered or 0.0) > state.deadline_ms:
                    state.link.too_slow(size, transfer, now_s)
                self.transferred(name, size, transfer, now_s)
        number = self._number(frame.setting(name))
        if number is None:
            return
        latency = math.inf if answered is None else answered
        stamp = frame.plan.stamp_ns
        parts = [name]
        if name == DEVICE_NAME:
            used = {slot.worker for slot in frame.plan.slots}
            parts = [worker for worker in self._workers if worker not in used]
        self._outcomes += [WorkerOutcome(w, stamp, number, latency, size) for w in parts]
        if answered is not None and parts and parts[-1] in self._workers:
            self._take_surprise(parts[-1], number, answered, now_s)

    def _take_surprise(self, name: str, number: int, answered_ms: float, now_s: float) -> None:
        """What a frame took beyond all that is known by now has to be reckoned with.

        Of several parts that the robot works on it is the last that takes as long as all of them.
        """
        state = self._workers[name]
        measured = self._measured(state, 1.0, now_s)
        if measured is None:
            return
        beyond = answered_ms - float(latency_ms(self._table, measured.row())[number])
        if math.isfinite(beyond):
            weight = MARGIN_UP if beyond > state.margin_ms else MARGIN_DOWN
            state.margin_ms += weight * (max(beyond, 0.0) - state.margin_ms)

    def _late(self, frame: ToldFrame, name: str, size: int) -> tuple[int, float] | None:
        """Bytes of which not all answers came in time, and how long they have been under way."""
        waited = frame.value(PARTITIONER, f"waited_ms/{name}")
        number = self._number(frame.setting(name))
        state = self._workers[name]
        if waited is None or number is None or state.input_size is None:
            return None
        # What it told, or, as that may be late as well, what it should take.
        usual = float(self._table.costs(state.input_size).edge_ms[number]) * state.load.load
        worked = frame.value(name, "processing_ms")
        encoded = frame.value(PARTITIONER, "encode_ms") or 0.0
        rest = waited - encoded - (usual if worked is None else worked)
        return (size, rest) if rest > 0 and size > 0 else None

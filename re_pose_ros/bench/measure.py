"""One method on one frame: planned, encoded, detected by a pool of workers, fused, and timed."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from re_pose_ros.bench.methods import Method
from re_pose_ros.bench.pool import CLOCKS, Answer, Clock, Pool, Task
from re_pose_ros.bench.reckoned import FUSION_MS, PLANNING_MS, Reckoned
from re_pose_ros.block_image import scaled_crop
from re_pose_ros.detections import Detections
from re_pose_ros.frame import Frame
from re_pose_ros.fusion.fuse import FusionSettings, fuse
from re_pose_ros.ground_truth import GroundTruth
from re_pose_ros.image_codec import encode_jpeg
from re_pose_ros.partition.assign import assign
from re_pose_ros.partition.base import BlockOutcome, FrameOutcome
from re_pose_ros.plan import Expectation, Plan, PlannedBlock
from re_pose_ros.planning.makespan import BlockCost, Network, done_ms

PATIENCE = 1.1
"""A method with a budget waits for answers until so many times its budget has passed."""


@dataclass(frozen=True)
class Conditions:
    """What holds for all methods.

    Attributes:
        network: what blocks travel on.
        fusion: how the blocks' answers become one.
        jpeg_quality: of the blocks, 1 to 100.
        observed_confidence: methods that want sure detections learn from those of at least this
            confidence.
        clock: what the robot's times are taken by; see ``pool.Detector``.
        reckoned: times in place of measured ones; None to measure.
    """

    network: Network
    fusion: FusionSettings
    jpeg_quality: int = 90
    observed_confidence: float = 0.25
    clock: Clock = "wall"
    reckoned: Reckoned | None = None


@dataclass(frozen=True, slots=True)
class Timing:
    """One method on one frame, in milliseconds and bytes.

    Attributes:
        latency_ms: by the clock, from having the frame to having its detections, with the pool and
            all answers.
        makespan_ms: computed for the workers that are planned for; see ``makespan``. Where an
            answer came too late, it ends with the patience of the method.
        all_answers_ms: the makespan, had all answers been waited for.
        serial_ms: all blocks one after the other on one core: decoding and detecting.
        partition_ms: learning from the frame before and planning, on the robot; not the search of
            an oracle.
        encode_ms: cropping, shrinking and JPEG of all blocks, on the robot.
        decode_ms: of all blocks; part of ``serial_ms``.
        transfer_ms: of all blocks one after the other; computed.
        fusion_ms: on the robot.
        blocks: how many.
        late: blocks whose answers came too late to be fused.
        sent_bytes: of all blocks.
        held_up: wall over processor time of the block with the most; above 1 other programs used
            the core.
    """

    latency_ms: float
    makespan_ms: float
    all_answers_ms: float
    serial_ms: float
    partition_ms: float
    encode_ms: float
    decode_ms: float
    transfer_ms: float
    fusion_ms: float
    blocks: int
    late: int
    sent_bytes: int
    held_up: float


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """What a method found in a frame, how long that took, and what it had expected.

    Attributes:
        detections: in the detector's classes.
        timing: see there.
        expected: None of methods without a budget.
        exact: whether an oracle tried everything; None of other methods.
    """

    detections: Detections
    timing: Timing
    expected: Expectation | None = None
    exact: bool | None = None


@dataclass(frozen=True, slots=True, eq=False)
class _Sent:
    """A frame's plan, what was sent, what came back from the pool, and how long it took."""

    frame: Frame
    plan: Plan
    expected: Expectation | None
    exact: bool | None
    tasks: tuple[Task, ...]
    encode_ms: tuple[float, ...]
    answers: tuple[Answer, ...]
    partition_ms: float
    wall_ms: float


@dataclass(frozen=True, slots=True, eq=False)
class _Fused:
    """Detections, and how long it took to fuse them by the robot's clock and by the wall's."""

    detections: Detections
    fusion_ms: float
    wall_ms: float


class Looker:
    """One method, looking at frames that follow one another.

    As in the graph, a method learns from a frame when it is about to plan the next one, which pays
    for it.
    """

    def __init__(self, method: Method, pool: Pool, conditions: Conditions) -> None:
        self.method = method
        self._pool = pool
        self._conditions = conditions
        self._clock = CLOCKS[conditions.clock]
        self._outcome: FrameOutcome | None = None

    def begin(self) -> None:
        """Another sequence begins: forget."""
        self._outcome = None
        self.method.begin()

    def look(
        self, frame: Frame, truth: GroundTruth, speeds: Mapping[str, float], *, alone: bool
    ) -> Measured:
        """Look at the next frame.

        Args:
            frame: see there.
            truth: for methods that cheat.
            speeds: work per time of each worker at this frame, by name.
            alone: take the blocks' times from doing each once more, with nothing else to do, on
                the pool's first core; otherwise from the pool's answers, whose workers may have
                been busy at the same time.

        Raises:
            InputError: a worker of the pool ended or failed.
        """
        reckoned = self._conditions.reckoned
        sent = self._send(frame, truth, rehearsed=not alone and reckoned is None)
        times: Sequence[Answer] = sent.answers
        if reckoned is not None:
            times = reckoned.answers(sent.tasks, sent.plan.blocks)
        elif alone:
            times = [self._alone(task) for task in sent.tasks]
        return self._receive(sent, times, speeds)

    def _alone(self, task: Task) -> Answer:
        (answer,) = self._pool.run([(0, replace(task, rehearsed=True))])
        return answer

    def _send(self, frame: Frame, truth: GroundTruth, rehearsed: bool) -> _Sent:
        begin, planning = time.perf_counter(), self._clock()
        if self._outcome is not None:
            self.method.observe(self._outcome)
            self._outcome = None
        plan = Plan(frame.index, frame.frame_id, self.method.plan(frame, truth))
        partition_ms = (self._clock() - planning) * 1e3
        search = self.method.search
        if search is not None:
            partition_ms = max(partition_ms - search.ms, 0.0)
        tasks, encode_ms = [], []
        for block in plan.blocks:
            encoding = self._clock()
            data = encode_jpeg(
                scaled_crop(frame.image, block.request), self._conditions.jpeg_quality
            )
            encode_ms.append((self._clock() - encoding) * 1e3)
            variant = block.request.variant
            tasks.append(Task(data, block.block, variant, self.method.job, rehearsed))
        if (reckoned := self._conditions.reckoned) is not None:
            partition_ms = PLANNING_MS
            encode_ms = [reckoned.encode_ms(block) for block in plan.blocks]
        cores = _spread(plan.blocks, len(self._pool.cores))
        answers = self._pool.run(list(zip(cores, tasks, strict=True)))
        return _Sent(
            frame,
            plan,
            self.method.expected,
            None if search is None else search.exact,
            tuple(tasks),
            tuple(encode_ms),
            tuple(answers),
            partition_ms,
            (time.perf_counter() - begin) * 1e3,
        )

    def _receive(
        self, sent: _Sent, times: Sequence[Answer], speeds: Mapping[str, float]
    ) -> Measured:
        """Fuse what is there in time by the computed times, and keep what there is to learn."""
        network = self._conditions.network
        costs = [
            BlockCost(planned.slot.worker, encode, len(task.data), one.decode_ms + one.detect_ms)
            for planned, encode, task, one in zip(
                sent.plan.blocks, sent.encode_ms, sent.tasks, times, strict=True
            )
        ]
        done = done_ms(costs, sent.partition_ms, network, speeds)
        fused = everything = self._fuse(sent, [True] * len(done))
        makespan = all_answers = max(done, default=sent.partition_ms) + everything.fusion_ms
        in_time = [True] * len(done)
        if sent.expected is not None:
            patience = PATIENCE * sent.expected.budget_ms
            in_time = [at <= patience - everything.fusion_ms for at in done]
            if not all(in_time):
                fused = self._fuse(sent, in_time)
                makespan = max(patience, sent.partition_ms + fused.fusion_ms)
        self._outcome = self._learned(sent, costs, in_time, fused, speeds)
        size = sum(cost.size for cost in costs)
        timing = Timing(
            latency_ms=sent.wall_ms + everything.wall_ms,
            makespan_ms=makespan,
            all_answers_ms=all_answers,
            serial_ms=sum(cost.work_ms for cost in costs),
            partition_ms=sent.partition_ms,
            encode_ms=sum(sent.encode_ms),
            decode_ms=sum(one.decode_ms for one in times),
            transfer_ms=network.transfer_ms(size),
            fusion_ms=fused.fusion_ms,
            blocks=len(costs),
            late=in_time.count(False),
            sent_bytes=size,
            held_up=max((one.held_up for one in times), default=1.0),
        )
        return Measured(fused.detections, timing, sent.expected, sent.exact)

    def _fuse(self, sent: _Sent, in_time: Sequence[bool]) -> _Fused:
        begin, fusing = time.perf_counter(), self._clock()
        found = {
            planned.slot: answer.detections
            for planned, answer, there in zip(sent.plan.blocks, sent.answers, in_time, strict=True)
            if there
        }
        detections = fuse(sent.plan, found, sent.frame.size, self._conditions.fusion)
        fusion_ms = (self._clock() - fusing) * 1e3
        if self._conditions.reckoned is not None:
            fusion_ms = FUSION_MS
        return _Fused(detections, fusion_ms, (time.perf_counter() - begin) * 1e3)

    def _learned(
        self,
        sent: _Sent,
        costs: Sequence[BlockCost],
        in_time: Sequence[bool],
        fused: _Fused,
        speeds: Mapping[str, float],
    ) -> FrameOutcome:
        """What the method is to learn; late answers tell their times and nothing else."""
        outcomes = [
            BlockOutcome(
                there,
                cost.work_ms / speeds[cost.worker],
                self._conditions.network.transfer_ms(cost.size),
                cost.size,
                cost.encode_ms,
            )
            for cost, there in zip(costs, in_time, strict=True)
        ]
        detections = fused.detections
        if not self.method.learns_from_all:
            least = self._conditions.observed_confidence
            detections = detections.take(detections.confidence >= least)
        return FrameOutcome(
            detections,
            sent.plan.blocks,
            tuple(outcomes),
            sent.frame.stamp_ns,
            sent.partition_ms + fused.fusion_ms,
        )


def _spread(blocks: Sequence[PlannedBlock], cores: int) -> list[int]:
    """Which core takes which block, where there may be fewer cores than workers planned for."""
    names = {f"core_{k:04}": k for k in range(cores)}
    requests = [replace(planned.request, worker=None) for planned in blocks]
    placed = assign(requests, dict.fromkeys(names, len(blocks)))
    return [names[planned.slot.worker] for planned in placed]

"""What came of each plan, put together from what the nodes tell of its frame.

Only durations are combined, each taken on one clock; times of different machines are never
subtracted from one another. Times in seconds are of the partitioner's monotonic clock. Fusion
counts from the plan's arrival there, on its own clock, so that the plan's way to it has to be
reckoned: as in NTP, half of what is left of the time from the plan to the fused detections when all
that fusion had it for is taken off. Where fusion runs on the robot, as it should, that is a
millisecond or two.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from re_pose_ros.detections import Detections
from re_pose_ros.partition.base import BlockOutcome, FrameOutcome
from re_pose_ros.plan import Expectation, Plan, PlannedBlock
from re_pose_ros.plan_outcome import PlanOutcome, blocks_text, number

FUSION = "fusion"
PATIENCE_S = 0.5
"""How long a fused frame is kept from being settled for what fusion still has to tell of it."""
HISTORY = 256
"""Frames that are kept at most."""


@dataclass(frozen=True, slots=True)
class SentBlock:
    """How a block left the robot.

    Attributes:
        size: bytes of its image or features.
        encode_ms: for cropping and encoding it.
        published_s: when it was handed over for sending.
        setting: how the network was shared for it, as text; empty without co-inference.
    """

    size: int
    encode_ms: float
    published_s: float
    setting: str = ""


@dataclass(slots=True)
class FrameAccount:
    """One frame, from its plan on.

    Attributes:
        plan: its blocks.
        expected: of the plan; None of methods that expect nothing.
        received_s: when the partitioner had the frame.
        planned_s: when the plan was published.
        sent: per block of the plan; empty until all are sent.
        told: key-value pairs by the node that told them.
        detections: fused; None while the frame is in flight.
        fused_s: when they came.
        observed, settled: whether ``FrameAccounts`` has given it out.
    """

    plan: Plan
    expected: Expectation | None
    received_s: float
    planned_s: float
    sent: tuple[SentBlock, ...] = ()
    told: dict[str, Mapping[str, str]] = field(default_factory=dict)
    detections: Detections | None = None
    fused_s: float = 0.0
    observed: bool = False
    settled: bool = False

    @property
    def partition_ms(self) -> float:
        return (self.planned_s - self.received_s) * 1e3

    def value(self, node: str, key: str) -> float | None:
        """A number that ``node`` told; None where it did not."""
        return number(self.told.get(node, {}).get(key))

    def answered_ms(self, planned: PlannedBlock) -> float | None:
        """From the plan to the block's answer; None where none is known of."""
        answered = self.value(FUSION, f"answered_ms/{planned.slot}")
        return None if answered is None else self._plan_way_ms() + answered

    def _plan_way_ms(self) -> float:
        """How long the plan took to fusion; see the top."""
        had = [self.value(FUSION, f"{stage}_ms") for stage in ("workers", "fusion")]
        if None in had:
            return 0.0
        left = (self.fused_s - self.planned_s) * 1e3 - sum(ms for ms in had if ms is not None)
        return max(left, 0.0) / 2


class FrameAccounts:
    """The frames that are in flight, or fused and not yet given out; not thread-safe."""

    def __init__(self) -> None:
        self._accounts: OrderedDict[int, FrameAccount] = OrderedDict()

    @property
    def in_flight(self) -> int:
        """How many frames are planned and not fused."""
        return sum(account.detections is None for account in self._accounts.values())

    def open(self, account: FrameAccount) -> None:
        """A plan is about to be published."""
        self._accounts.pop(account.plan.stamp_ns, None)
        self._accounts[account.plan.stamp_ns] = account
        while len(self._accounts) > HISTORY:
            self._accounts.popitem(last=False)

    def sent(self, stamp_ns: int, blocks: Sequence[SentBlock]) -> None:
        """The blocks of a frame's plan are on their way."""
        if account := self._accounts.get(stamp_ns):
            account.sent = tuple(blocks)

    def tell(self, stamp_ns: int, node: str, values: Mapping[str, str]) -> None:
        """Take what a node tells of a frame; nothing where nobody waits for it."""
        if account := self._accounts.get(stamp_ns):
            account.told[node] = values

    def fused(self, stamp_ns: int, detections: Detections, now_s: float) -> None:
        """Take a frame's fused detections; nothing where the frame is not in flight."""
        account = self._accounts.get(stamp_ns)
        if account is not None and account.detections is None:
            account.detections, account.fused_s = detections, now_s

    def give_up(self, before_s: float) -> int:
        """Forget the frames in flight that were planned before; how many those are."""
        lost = [
            stamp
            for stamp, account in self._accounts.items()
            if account.detections is None and account.planned_s < before_s
        ]
        for stamp in lost:
            del self._accounts[stamp]
        return len(lost)

    def take(self) -> list[FrameAccount]:
        """The frames fused since the last call, with what is known of them by now."""
        taken = [a for a in self._accounts.values() if a.detections is not None and not a.observed]
        for account in taken:
            account.observed = True
        self._forget()
        return taken

    def settle(self, now_s: float) -> list[FrameAccount]:
        """The fused frames of which all is told, or will not be any more; each once."""
        settled = [
            account
            for account in self._accounts.values()
            if account.detections is not None
            and not account.settled
            and (FUSION in account.told or now_s - account.fused_s >= PATIENCE_S)
        ]
        for account in settled:
            account.settled = True
        self._forget()
        return settled

    def _forget(self) -> None:
        for stamp in [s for s, a in self._accounts.items() if a.observed and a.settled]:
            del self._accounts[stamp]


# From an account to what partitioners and users are told.


def frame_outcome(account: FrameAccount) -> FrameOutcome:
    """What the partitioner is to learn from a fused frame.

    A detector works on a frame's blocks as one batch, and its answers come together. So the
    ``compute_ms`` of its blocks are shares that add up to the batch's time, and so are their
    ``transfer_ms``, by bytes: from the publication of the worker's last block to its last answer,
    less what the worker says that it had the whole batch for. What was sent while other blocks
    were still being encoded has cost nothing and is not in it. It is None where a block of the
    worker is missing, since it then waited for that, and where nothing is left.
    """
    assert account.detections is not None
    blocks = account.plan.blocks
    missing = account.told.get(FUSION, {}).get("missing", "").split(",")
    transfers = _transfers(account)
    outcomes = []
    for k, planned in enumerate(blocks):
        slot = planned.slot
        sent = account.sent[k] if account.sent else None
        outcomes.append(
            BlockOutcome(
                answered=str(slot) not in missing,
                compute_ms=account.value(slot.worker, f"compute_ms/{slot.index}"),
                transfer_ms=transfers.get(k),
                sent_bytes=None if sent is None else sent.size,
                encode_ms=None if sent is None else sent.encode_ms,
            )
        )
    fusion_ms = account.value(FUSION, "fusion_ms")
    return FrameOutcome(
        _with_blocks(account.detections, account.told.get(FUSION, {}), len(blocks)),
        blocks,
        tuple(outcomes),
        account.plan.stamp_ns,
        None if fusion_ms is None else account.partition_ms + fusion_ms,
        (account.fused_s - account.received_s) * 1e3,
    )


def plan_outcome(account: FrameAccount) -> PlanOutcome | None:
    """What happened beside what was expected; None where nothing was."""
    if account.expected is None or account.detections is None:
        return None
    happened_ms = (account.fused_s - account.received_s) * 1e3
    return PlanOutcome.of(account.expected, happened_ms, account.detections)


def predicted_texts(plan: Plan, expected: Expectation) -> dict[str, str]:
    """The expectation as key-value pairs, with the clusters that the plan was made from."""
    return {
        "predicted_ms": f"{expected.makespan_ms:.3f}",
        "predicted_value": f"{expected.value:.3f}",
        "budget_ms": f"{expected.budget_ms:.3f}",
        "objective": expected.objective,
        **_predicted_slots(plan, expected),
        "clusters": blocks_text(expected.clusters),
    }


def outcome_texts(account: FrameAccount) -> dict[str, str]:
    """``plan_outcome`` as key-value pairs, with those of each slot; empty where there is none.

    ``happened_ms/<slot>`` is from the partitioner having the frame to fusion having the answer.
    """
    outcome = plan_outcome(account)
    if outcome is None or account.expected is None:
        return {}
    answers = [(planned.slot, account.answered_ms(planned)) for planned in account.plan.blocks]
    return {
        **outcome.texts(),
        "blocks": str(len(account.plan.blocks)),
        **_predicted_slots(account.plan, account.expected),
        **{
            f"happened_ms/{slot}": f"{account.partition_ms + ms:.3f}"
            for slot, ms in answers
            if ms is not None
        },
    }


def shared_texts(account: FrameAccount) -> dict[str, str]:
    """What came of a fused frame by worker, as key-value pairs; empty without co-inference.

    ``unanswered/<worker>`` are blocks without an answer in time, ``waited_ms/<worker>`` how long
    after the plan that was. Where there are none, ``answered_ms/<worker>`` is from the plan to the
    worker's last answer, and ``transfer_ms/<worker>`` what of that its blocks were under way, as in
    ``frame_outcome``.
    """
    if not any(block.setting for block in account.sent):
        return {}
    texts = {}
    for worker, members in _by_worker(account).items():
        answers = [account.answered_ms(account.plan.blocks[k]) for k in members]
        known = [ms for ms in answers if ms is not None]
        texts[f"unanswered/{worker}"] = str(len(answers) - len(known))
        if len(known) < len(answers):
            waited = account.value(FUSION, "workers_ms")
            if waited is not None:
                texts[f"waited_ms/{worker}"] = f"{waited:.3f}"
            continue
        texts[f"answered_ms/{worker}"] = f"{max(known):.3f}"
        outside = _outside_ms(account, worker, members)
        if outside is not None and any(account.sent[k].size for k in members):
            texts[f"transfer_ms/{worker}"] = f"{outside:.3f}"
    return texts


def _predicted_slots(plan: Plan, expected: Expectation) -> dict[str, str]:
    slots = plan.slots
    # A method may have no idea of the single blocks.
    done = zip(slots, expected.done_ms, strict=True) if expected.done_ms else ()
    return {
        **{f"predicted_ms/{slot}": f"{ms:.3f}" for slot, ms in done},
        **{f"variant/{b.slot}": str(b.request.variant or "") for b in plan.blocks},
    }


def _transfers(account: FrameAccount) -> dict[int, float]:
    """Milliseconds by the place of the block, as far as they are known."""
    found = {}
    for worker, members in _by_worker(account).items():
        outside = _outside_ms(account, worker, members)
        total = sum(account.sent[k].size for k in members)
        if outside is not None and total > 0:
            found.update({k: outside * account.sent[k].size / total for k in members})
    return found


def _by_worker(account: FrameAccount) -> dict[str, list[int]]:
    """Places of the blocks that were sent, by worker."""
    workers: dict[str, list[int]] = {}
    for k, planned in enumerate(account.plan.blocks if account.sent else ()):
        workers.setdefault(planned.slot.worker, []).append(k)
    return workers


def _outside_ms(account: FrameAccount, worker: str, members: Sequence[int]) -> float | None:
    """What a worker's batch took besides the worker; see ``frame_outcome``."""
    answers = [account.answered_ms(account.plan.blocks[k]) for k in members]
    known = [ms for ms in answers if ms is not None]
    working = account.value(worker, "processing_ms")
    if working is None or len(known) < len(answers):
        return None
    queued = account.value(worker, "queued_ms") or 0.0
    sent = max(account.sent[k].published_s for k in members) - account.planned_s
    outside = max(known) - sent * 1e3 - queued - working
    return outside if outside > 0 else None


def _with_blocks(detections: Detections, told: Mapping[str, str], blocks: int) -> Detections:
    """``detections`` with the blocks that saw them, where fusion tells that."""
    seen = [number(text) for text in told.get("seen_in", "").split(",")]
    known = [int(k) for k in seen if k is not None and 0 <= k < blocks]
    if not len(seen) == len(known) == len(detections):
        return detections
    return Detections(
        detections.xyxy, detections.confidence, detections.class_id, np.array(known, np.int32)
    )

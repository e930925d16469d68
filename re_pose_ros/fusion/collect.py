"""Bringing together what the workers answer for each frame, in the order of the frames."""

from __future__ import annotations

import bisect
from collections import OrderedDict
from dataclasses import dataclass, field, replace
from typing import Generic, TypeVar

from re_pose_ros.errors import InputError
from re_pose_ros.plan import Plan, Slot

T = TypeVar("T")

EARLY_ANSWERS_PER_FRAME = 8
"""How many answers without a plan are held, per frame of ``history``."""


@dataclass(frozen=True, slots=True)
class CollectedFrame(Generic[T]):
    """A frame that is no longer waited for.

    Attributes:
        plan: what was asked for.
        answers: per slot that answered.
        missing: slots that did not, in the plan's order.
        waited: seconds from the plan's arrival to now.
        arrivals: per slot that answered, the time given with the answer.
    """

    plan: Plan
    answers: dict[Slot, T]
    missing: tuple[Slot, ...]
    waited: float
    arrivals: dict[Slot, float]


@dataclass(frozen=True, slots=True)
class CollectorCounts:
    """What has happened since the start; all are totals.

    Attributes:
        plans: accepted plans.
        frames: frames given out, ``partial`` of them with something missing.
        answers: answers that were accepted for a plan.
        late_answers: for a frame given out already, or whose plan never came.
        unknown_answers: from a slot that the frame's plan does not name.
        duplicate_answers: a second answer of a slot for one frame.
        duplicate_plans: a plan for a frame that is being waited for already.
        stale_plans: a plan no newer than the last frame given out.
        overflow_plans: a plan refused because ``history`` frames were waiting already.
    """

    plans: int = 0
    frames: int = 0
    partial: int = 0
    answers: int = 0
    late_answers: int = 0
    unknown_answers: int = 0
    duplicate_answers: int = 0
    duplicate_plans: int = 0
    stale_plans: int = 0
    overflow_plans: int = 0


@dataclass(slots=True)
class _Waiting(Generic[T]):
    plan: Plan
    since: float
    answers: dict[Slot, T] = field(default_factory=dict)
    arrivals: dict[Slot, float] = field(default_factory=dict)
    given_up: set[Slot] = field(default_factory=set)

    def missing(self) -> tuple[Slot, ...]:
        return tuple(slot for slot in self.plan.slots if slot not in self.answers)


class FrameCollector(Generic[T]):
    """Waits for the answers that plans name and gives the frames out in the order of their stamps.

    It has no clock: every time is given by the caller, in seconds of one monotonic clock. Call
    ``pop_ready`` after each event and at ``next_deadline``. Not thread-safe.

    Answers may come before their plan. At most ``history`` frames and 8 answers without a plan for
    each of them are held, whatever comes in: with ``history`` frames waiting the oldest is due at
    once, and if the caller still does not take it, further plans are refused and counted.

    Attributes:
        deadline: seconds from a plan's arrival after which its frame is given out as it is; may be
            changed at any time and then holds for the waiting frames too.
        history: see above, at least 1.
    """

    def __init__(self, deadline: float, history: int = 64) -> None:
        """Raises InputError where ``deadline`` is not positive or ``history`` below 1."""
        if not deadline > 0:
            raise InputError(f"the fusion deadline must be above 0 s, got {deadline}")
        if history < 1:
            raise InputError(f"the fusion history must be at least 1 frame, got {history}")
        self.deadline = deadline
        self.history = history
        self._counts = CollectorCounts()
        self._lost: set[str] = set()
        self.reset()

    def reset(self) -> None:
        """Forget all frames, as when the source starts over; counts and lost workers stay."""
        self._stamps: list[int] = []
        self._waiting: dict[int, _Waiting[T]] = {}
        self._early: OrderedDict[tuple[int, Slot], tuple[T, float]] = OrderedDict()
        self._last: int | None = None

    @property
    def counts(self) -> CollectorCounts:
        return self._counts

    def __len__(self) -> int:
        """Frames waiting."""
        return len(self._stamps)

    @property
    def early_answers(self) -> int:
        """Answers held for plans that have not come."""
        return len(self._early)

    def add_plan(self, plan: Plan, now: float) -> bool:
        """Wait for the plan's answers; False where it was ignored (and counted)."""
        stamp = plan.stamp_ns
        if stamp in self._waiting:
            self._count("duplicate_plans")
            return False
        if self._is_past(stamp):
            self._count("stale_plans")
            return False
        if len(self._stamps) >= self.history:
            self._count("overflow_plans")
            return False
        self._count("plans")
        waiting: _Waiting[T] = _Waiting(plan, now)
        bisect.insort(self._stamps, stamp)
        self._waiting[stamp] = waiting
        for key in [key for key in self._early if key[0] == stamp]:
            answer, arrival = self._early.pop(key)
            self._accept(waiting, key[1], answer, arrival)
        return True

    def add_answer(self, slot: Slot, stamp_ns: int, answer: T, now: float) -> bool:
        """Take a worker's answer; False where it was ignored (and counted)."""
        waiting = self._waiting.get(stamp_ns)
        if waiting is not None:
            return self._accept(waiting, slot, answer, now)
        if self._is_past(stamp_ns):
            self._count("late_answers")
            return False
        if (stamp_ns, slot) in self._early:
            self._count("duplicate_answers")
            return False
        self._early[stamp_ns, slot] = (answer, now)
        if len(self._early) > EARLY_ANSWERS_PER_FRAME * self.history:
            self._early.popitem(last=False)
            self._count("late_answers")
        return True

    def worker_lost(self, worker: str, now: float) -> None:
        """Stop waiting for ``worker``; what it answered already is kept.

        Its outstanding answers are not waited for even if it comes back: its blocks went with it.
        """
        del now
        self._lost.add(worker)
        for waiting in self._waiting.values():
            waiting.given_up.update(slot for slot in waiting.missing() if slot.worker == worker)

    def worker_back(self, worker: str) -> None:
        """Wait for ``worker`` again, in plans that came after it was lost."""
        self._lost.discard(worker)

    def pop_ready(self, now: float) -> list[CollectedFrame[T]]:
        """The frames no longer waited for, by rising stamp; none overtakes an earlier one.

        A frame is ready when all its answers are there, when only lost workers are missing, or
        when its deadline has passed.
        """
        ready: list[CollectedFrame[T]] = []
        while self._stamps:
            waiting = self._waiting[self._stamps[0]]
            missing = waiting.missing()
            if not (
                all(slot in waiting.given_up or slot.worker in self._lost for slot in missing)
                or now >= waiting.since + self.deadline
                or len(self._stamps) >= self.history
            ):
                break
            self._last = self._stamps.pop(0)
            del self._waiting[self._last]
            self._count("frames")
            if missing:
                self._count("partial")
            ready.append(
                CollectedFrame(
                    waiting.plan, waiting.answers, missing, now - waiting.since, waiting.arrivals
                )
            )
        if ready:
            self._drop_past_answers()
        return ready

    def next_deadline(self) -> float | None:
        """When ``pop_ready`` is due if no further answer comes; None where nothing waits."""
        if not self._stamps:
            return None
        return self._waiting[self._stamps[0]].since + self.deadline

    def _accept(self, waiting: _Waiting[T], slot: Slot, answer: T, arrival: float) -> bool:
        if slot not in waiting.plan.slots:
            self._count("unknown_answers")
            return False
        if slot in waiting.answers:
            self._count("duplicate_answers")
            return False
        waiting.answers[slot] = answer
        waiting.arrivals[slot] = arrival
        self._count("answers")
        return True

    def _is_past(self, stamp: int) -> bool:
        return self._last is not None and stamp <= self._last

    def _drop_past_answers(self) -> None:
        past = [key for key in self._early if self._is_past(key[0])]
        for key in past:
            del self._early[key]
        self._count("late_answers", len(past))

    def _count(self, name: str, by: int = 1) -> None:
        self._counts = replace(self._counts, **{name: getattr(self._counts, name) + by})

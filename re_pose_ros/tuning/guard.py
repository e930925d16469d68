"""Whether a policy that has come into use does worse than the one before it.

What decisions bring depends on links and loads as much as on who decides. So each reward counts as
its distance from the best that was predicted at the decision: what a short deadline or a slow link
costs is in both. And it counts as worse only what is beyond chance: a single late block outweighs
many others. That is a comparison over time all the same, and no experiment; the bounds are ours.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from re_pose_ros.coinference.profile import ActionTable
from re_pose_ros.errors import InputError
from re_pose_ros.tuning.reward import RewardTerms, accuracy, reward, rewards
from re_pose_ros.tuning.transitions import Transition

RUN = 10
"""Neighbouring decisions that are taken as one in what is said of chance."""

Z, Z_EARLY = 1.64, 3.0
"""Standard errors that may be chance, when the window is over and before that."""


@dataclass(frozen=True, slots=True)
class Bound:
    """How much worse a new policy may do; InputError for what makes no sense.

    Attributes:
        window: decisions that are compared, before and after; 20 at least.
        loss: of reward per decision.
        late: share of late blocks.
    """

    window: int = 100
    loss: float = 0.02
    late: float = 0.02

    def __post_init__(self) -> None:
        if self.window < 2 * RUN:
            raise InputError(f"a policy is watched for {2 * RUN} decisions at least")
        for name in ("loss", "late"):
            if not 0 <= getattr(self, name) < math.inf:
                raise InputError(f"the guard's {name} is not a number from 0 on")


@dataclass(frozen=True, slots=True, eq=False)
class Kept:
    """Of decisions, the shortfall of their rewards and whether they were late; each (2,).

    Attributes:
        mean: over them.
        error: its standard error, over runs of neighbours.
    """

    mean: NDArray[np.float64]
    error: NDArray[np.float64]


@dataclass
class Guard:
    """Follows what decisions bring; not thread-safe.

    Attributes:
        table: the actions.
        bound: see there.
        terms: of the reward.
    """

    table: ActionTable
    bound: Bound = field(default_factory=Bound)
    terms: RewardTerms = field(default_factory=RewardTerms)

    def __post_init__(self) -> None:
        self._recent: deque[tuple[float, bool]] = deque(maxlen=self.bound.window)
        self._before: Kept | None = None
        self._after_ns = -1
        self._seen: list[tuple[float, bool]] = []

    @property
    def watching(self) -> bool:
        """Whether a policy is being watched."""
        return self._before is not None

    @property
    def ready(self) -> bool:
        """Whether enough is known of the policy in use to compare another one with."""
        return len(self._recent) == self.bound.window

    @property
    def seen(self) -> int:
        """Decisions of the policy that is watched."""
        return len(self._seen)

    def begin(self, after_ns: int) -> None:
        """Another policy is in use for frames stamped later."""
        self._before, self._after_ns = _means(self._recent), after_ns
        self._seen = []

    def take(self, transition: Transition) -> None:
        """What came of a decision."""
        came = self._shortfall(transition), transition.latency_ms > transition.deadline_ms
        if self._before is None:
            self._recent.append(came)
        elif transition.stamp_ns > self._after_ns:
            self._seen.append(came)

    def judge(self) -> tuple[bool, str] | None:
        """Whether the watched policy may stay, and by what; None while too little is known.

        A policy that was judged is no longer watched.
        """
        before, bound, count = self._before, self.bound, len(self._seen)
        if before is None or count < 2 * RUN:
            return None
        now = _means(self._seen)
        whole = count >= bound.window
        more = now.mean - before.mean
        chance = (Z if whole else Z_EARLY) * np.sqrt(now.error**2 + before.error**2)
        bad = bool((more > chance + np.array([bound.loss, bound.late])).any())
        if not (bad or whole):
            return None
        self._before = None
        self._recent.clear()
        if not bad:
            self._recent.extend(self._seen)
        return not bad, (
            f"{-more[0]:+.3f} in reward per decision and {more[1]:+.1%} late over {count} decisions"
        )

    def forget(self) -> None:
        """Another policy is in use that is not compared with any."""
        self._before = None
        self._recent.clear()

    def _shortfall(self, came: Transition) -> float:
        row = came.state[None]
        last = np.array([came.last])
        best = rewards(self.table, row, last, self.terms)[0]
        sees = accuracy(self.table, row)[0, [came.action]]
        ratio = np.array([came.latency_ms / came.deadline_ms])
        got = reward(sees, ratio, np.array([came.action != came.last]), self.terms)[0]
        return float(best[came.allowed].max(initial=got) - got)


def _means(entries: deque[tuple[float, bool]] | list[tuple[float, bool]]) -> Kept:
    values = np.array(entries, np.float64)
    runs = values[: len(values) // RUN * RUN].reshape(-1, RUN, 2).mean(axis=1)
    return Kept(values.mean(axis=0), runs.std(axis=0, ddof=1) / np.sqrt(len(runs)))

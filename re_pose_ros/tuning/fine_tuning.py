"""Fine-tuning of a policy while it is in use: when it is learned, what is used, what is taken back.

Another process learns (``commands.fine_tune``), reading the transitions that the tuner keeps, and
leaves a candidate with a verdict. Here is decided when it is started, whether what it left is
used, and, by a ``Guard``, whether that stays in use. Whatever becomes of the other process, there
is a last good policy; the first of these is the one that all candidates are made from.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

from re_pose_ros.coinference.profile import ActionTable
from re_pose_ros.errors import InputError
from re_pose_ros.parameters.table import Values
from re_pose_ros.tuning.background import Background
from re_pose_ros.tuning.choosing import make_chooser, policy_path
from re_pose_ros.tuning.guard import Bound, Guard
from re_pose_ros.tuning.transitions import Transition

CANDIDATE, VERDICT, REFUSED = "candidate.npz", "verdict.json", "refused.txt"
MOST_WAITS = 8
"""So many times longer than usual is waited at most after policies that had to be taken back."""


@dataclass(frozen=True, slots=True)
class Files:
    """What is read and written.

    Attributes:
        table: of the actions.
        base: the policy that candidates are made from.
        transitions: file of the ``TransitionLog``.
        folder: for candidates, policies and what is remembered of them.
    """

    table: Path
    base: Path
    transitions: Path
    folder: Path

    def command(self, in_use: Path) -> list[str]:
        """What learns one candidate."""
        return [
            *(sys.executable, "-m", "re_pose_ros", "fine-tune", "--background"),
            *("--table", str(self.table)),
            *("--policy", str(self.base)),
            *("--in-use", str(in_use)),
            *("--transitions", str(self.transitions)),
            *("--out", str(self.folder)),
        ]


@dataclass(frozen=True, slots=True)
class Schedule:
    """When a candidate is learned; InputError for what cannot be.

    Attributes:
        every: transitions from one to the next.
        limit_s: that one may take.
    """

    every: int = 1000
    limit_s: float = 600.0

    def __post_init__(self) -> None:
        if self.every < 1 or not self.limit_s > 0:
            raise InputError("fine-tuning needs at least a transition and some time")


@dataclass
class FineTuning:
    """Which policy is used; not thread-safe.

    Attributes:
        table: the actions.
        files: see there.
        schedule: ditto.
        bound: of the guard.
        command: what learns a candidate, for a policy in use.
        in_use: the policy that decides.
        doing: what it waits for.
        problem: what went wrong last; empty where nothing did, or another candidate came since.
        counts: candidates, those that were used, and those that were taken back.

    Raises InputError where the folder cannot be made.
    """

    table: ActionTable
    files: Files
    schedule: Schedule = field(default_factory=Schedule)
    bound: Bound = field(default_factory=Bound)
    command: Callable[[Path], Sequence[str]] | None = None

    def __post_init__(self) -> None:
        try:
            self.files.folder.mkdir(parents=True, exist_ok=True)
            known = self._path(REFUSED)
            self._refused = set(known.read_text("utf-8").split() if known.exists() else ())
        except (OSError, UnicodeError) as error:
            raise InputError(f"{self.files.folder} cannot be used: {error}") from error
        self._good = self.in_use = self.files.base
        self._guard = Guard(self.table, self.bound)
        self._process = Background(self._path("learner.log"))
        self._new, self._waits = 0, 1
        self._candidate: tuple[Path, str] | None = None
        self.doing, self.problem = "", ""
        self.counts = {"candidates": 0, "used": 0, "taken_back": 0}

    def happened(self, transitions: Sequence[Transition]) -> None:
        """What came of decisions, after it was written down."""
        self._new += len(transitions)
        for transition in transitions:
            self._guard.take(transition)

    def tend(self, now_s: float, stamp_ns: int) -> bool:
        """Go on with whatever is due; whether another policy is in use from now on.

        Args:
            now_s: of a monotonic clock.
            stamp_ns: of the last frame that was planned by the policy in use.
        """
        if self._guard.watching:
            return self._judge(stamp_ns)
        if self._candidate is not None:
            return self._use(stamp_ns)
        ended = self._process.ended(now_s)
        if ended is not None:
            self._take(ended.good, ended.reason)
        elif self._process.running:
            self.doing = "learning"
        elif (left := self._waits * self.schedule.every - self._new) > 0:
            self.doing = f"waiting for {left} more transitions"
        else:
            self._learn(now_s)
        return False

    def stop(self) -> None:
        """End the other process."""
        self._process.stop()

    def _learn(self, now_s: float) -> None:
        self._new, self.doing = 0, "learning"
        command = (self.command or self.files.command)(self.in_use)
        try:
            for name in (CANDIDATE, VERDICT):
                self._path(name).unlink(missing_ok=True)
            self._process.start(command, self.schedule.limit_s, now_s)
        except (OSError, InputError) as error:
            self.problem = f"no policy could be learned: {error}"

    def _take(self, good: bool, reason: str) -> None:
        """What the process left."""
        self.counts["candidates"] += 1
        try:
            if not good:
                raise InputError(reason)
            verdict = self._verdict()
            if not verdict["passed"]:
                # That is the usual case, not a problem.
                self.problem, self.doing = "", f"nothing better was found: {verdict['reason']}"
                return
            name = str(verdict["candidate"])
            content = self._path(CANDIDATE).read_bytes()
            if sha256(content).hexdigest() != name:
                raise InputError("the candidate is not the one that was judged")
            if name in self._refused:
                raise InputError("the candidate was taken back before")
            path = self._path(f"policy_{name[:12]}.npz")
            path.write_bytes(content)
            make_chooser(str(path), self.table)
        except (OSError, InputError) as error:
            self.problem = f"no policy could be learned: {error}"
            return
        self.problem = ""
        self._candidate = path, name

    def _verdict(self) -> dict[str, Any]:
        """InputError where there is none."""
        try:
            found = json.loads(self._path(VERDICT).read_text(encoding="utf-8"))
            if not isinstance(found["passed"], bool):
                raise TypeError("passed")
            return {"candidate": str(found["candidate"]), "reason": str(found["reason"])} | {
                "passed": found["passed"]
            }
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise InputError("it left no verdict that can be read") from error

    def _use(self, stamp_ns: int) -> bool:
        """Begin to use a candidate, once it can be compared with what is in use."""
        assert self._candidate is not None
        if not self._guard.ready:
            self.doing = "a candidate waits until enough is known of the policy in use"
            return False
        self.in_use, _ = self._candidate
        self.counts["used"] += 1
        self._guard.begin(stamp_ns)
        return True

    def _judge(self, stamp_ns: int) -> bool:
        """Whether what is watched has to go."""
        assert self._candidate is not None
        self.doing = f"watching {self.in_use.name}: {self._guard.seen} of {self.bound.window}"
        judged = self._guard.judge()
        if judged is None:
            return False
        stays, by = judged
        (path, name), self._candidate = self._candidate, None
        if stays:
            self._good, self._waits = path, 1
            self._tidy()
            return False
        self.in_use, self._waits = self._good, min(2 * self._waits, MOST_WAITS)
        self._new = 0
        self.counts["taken_back"] += 1
        self.problem = f"{path.name} was taken back: {by}; {self.in_use.name} is in use again"
        self._refused.add(name)
        try:
            self._path(REFUSED).write_text("\n".join(sorted(self._refused)) + "\n", "utf-8")
        except OSError as error:
            self.problem += f" ({REFUSED} cannot be written: {error.strerror})"
        self._tidy()
        return True

    def _tidy(self) -> None:
        """Leave no policies but the good one."""
        for path in self.files.folder.glob("policy_*.npz"):
            if path not in (self._good, self.in_use, self.files.base):
                path.unlink(missing_ok=True)

    def _path(self, name: str) -> Path:
        return self.files.folder / name


def fine_tuning_of(values: Values, table: ActionTable, table_path: Path) -> FineTuning | None:
    """As the parameters of the node ``tuner`` say; None where there is no policy to be fine-tuned.

    Raises InputError where the folder cannot be used.
    """
    base = policy_path(values.text("policy"))
    if base is None:
        return None
    transitions = Path(values.text("transitions")).expanduser()
    folder = Path(values.text("fine_tune_folder")).expanduser()
    return FineTuning(
        table,
        Files(table_path, base, transitions, folder),
        Schedule(values.whole("fine_tune_every"), values.real("fine_tune_limit")),
        Bound(values.whole("fine_tune_window"), values.real("fine_tune_loss")),
    )

"""``bench fine-tuning``: what fine-tuning mends where costs are others than the table's.

Simulated robots live with the shipped policy under costs that their tables do not have and their
measurements do not tell, but for what comes of their blocks. Each keeps its own transitions, makes
candidates of them, checks them, uses what passes and watches it, as the node does; only that
learning takes no time here.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from re_pose_ros.bench.command import check_writable
from re_pose_ros.coinference.profile import ActionTable
from re_pose_ros.coinference.setting import DEVICE, Setting
from re_pose_ros.errors import InputError
from re_pose_ros.provenance import commit, machine
from re_pose_ros.training.fine_tuning import FineTuning, check, fine_tune
from re_pose_ros.training.tuner_task import HELD_OUT_SEED, WEIGHTS, Task, make_task, task_of
from re_pose_ros.tuning import episodes, rules
from re_pose_ros.tuning.calibration import Calibration
from re_pose_ros.tuning.guard import Bound, Guard
from re_pose_ros.tuning.policy import Policy
from re_pose_ros.tuning.records import Records
from re_pose_ros.tuning.simulation import Simulation
from re_pose_ros.tuning.state import width
from re_pose_ros.tuning.traces import Traces
from re_pose_ros.tuning.transitions import Transition

Arrays = Mapping[str, NDArray[Any]]

Floats = NDArray[np.float64]

_COUNTS = ("candidates", "used", "taken_back")

Factors = Callable[[Setting], tuple[float, float]]
"""How many times as long a setting takes robot and worker."""

DRIFTS: dict[str, Factors] = {
    "none": lambda setting: (1.0, 1.0),
    "robot_network": lambda setting: (1.6 if setting.cut != 0 else 1.0, 1.0),
    "robot_alone": lambda setting: (1.6 if setting.cut == DEVICE else 1.0, 1.0),
    "worker_pictures": lambda setting: (1.0, 1.6 if setting.cut == 0 else 1.0),
    "robot_faster": lambda setting: (0.7 if setting.cut != 0 else 1.0, 1.0),
}
"""What is other than in the table: what the robot computes of the network, before a cut or all of
it; only where it computes all of it; what workers do with pictures; and the first to the better."""


@dataclass(frozen=True, slots=True)
class FineTuningOptions:
    """What is run.

    Attributes:
        drifts: of ``DRIFTS``.
        robots: simulated, each with links, loads and speed of its own.
        every: blocks from one candidate to the next.
        rounds: candidates of a robot; it goes on for as many blocks after the last.
        how: candidates are made.
        bound: of the guard.

    Raises InputError for what cannot be.
    """

    drifts: tuple[str, ...] = tuple(DRIFTS)
    robots: int = 8
    every: int = 1000
    rounds: int = 2
    how: FineTuning = field(default_factory=FineTuning)
    bound: Bound = field(default_factory=Bound)

    def __post_init__(self) -> None:
        for name in self.drifts:
            if name not in DRIFTS:
                raise InputError(f"drift '{name}' is unknown; known: {', '.join(DRIFTS)}")
        if self.robots < 1 or self.rounds < 1 or self.every < self.bound.window:
            raise InputError("bench fine-tuning needs robots, rounds, and blocks for the guard")


@dataclass(eq=False)
class Life:
    """A simulated robot with a policy that may be exchanged.

    Attributes:
        task: the settings.
        traces: one, of what happens to it.
        actual: the costs that it really has.
        guard: told of all that comes.
        kept: transitions.
        rewards: of all blocks so far.
        late: ditto.
    """

    task: Task
    traces: Traces
    actual: ActionTable
    guard: Guard
    kept: list[Transition] = field(default_factory=list)
    rewards: list[float] = field(default_factory=list)
    late: list[bool] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._simulation = Simulation(self.task.table, self.traces, actual=self.actual)

    @property
    def over(self) -> bool:
        """Whether it has come to its last block."""
        return self._simulation.over

    def block(self, chooser: rules.Chooser) -> None:
        """One more block."""
        simulation = self._simulation
        step, row, last = simulation.step_number, simulation.measured.copy(), simulation.last
        masks = simulation.masks()
        action = chooser.choose(row, last, masks)
        came = simulation.step(action)
        self.rewards.append(float(came.reward[0]))
        self.late.append(not came.in_time[0])
        deadline = float(self.traces.deadline_ms[step, 0])
        transition = Transition(
            "robot",
            step,
            row[0],
            int(last[0]),
            int(action[0]),
            float(came.latency_ms[0]),
            int(came.bytes[0]),
            deadline,
            masks[0],
        )
        self.kept.append(transition)
        self.guard.take(transition)


def bench_fine_tuning(
    options: FineTuningOptions, *, file: Path | None = None, table: ActionTable | None = None
) -> dict[str, Any]:
    """Run it, print its tables, and write the result after each drift.

    Raises InputError for what cannot be read or written.
    """
    if file is not None:
        check_writable(file)
    arrays, task = _shipped(table)
    blocks = options.every * (options.rounds + 1)
    traces = task.traces(HELD_OUT_SEED + 3, options.robots, blocks + 1)
    content: dict[str, Any] = {
        "kind": "bench fine-tuning",
        "version": 1,
        "machine": machine(),
        "commit": commit(),
        "options": asdict(options),
        "drifts": {},
    }
    for name in options.drifts:
        actual = drifted(task.table, DRIFTS[name])
        content["drifts"][name] = _drift(arrays, task, traces, actual, options)
        if file is not None:
            file.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    content["forced"] = _forced(arrays, task, traces, options)
    if file is not None:
        file.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    print(shown(content))
    return content


def drifted(table: ActionTable, factors: Factors) -> ActionTable:
    """The table with other costs."""
    actions = []
    for action in table.actions:
        robot, worker = factors(action.setting)
        device = tuple(robot * ms for ms in action.device_ms)
        edge = tuple(worker * ms for ms in action.edge_ms)
        actions.append(replace(action, device_ms=device, edge_ms=edge))
    return replace(table, actions=tuple(actions))


def shown(content: Mapping[str, Any]) -> str:
    """The tables for reading, in Markdown."""
    head = ("drift", "policy", "reward", "in time", "gap closed", "per robot")
    rows: list[tuple[str, ...]] = [head, ("---",) * len(head)]
    for drift, of in content["drifts"].items():
        for name in ("shipped", "fine_tuned", "cautious", "oracle"):
            own = of[name]
            closed = f"{of['closed']:.0%}" if name == "fine_tuned" and of["closed"] else ""
            told = (
                f"{of['better']} better, {of['worse']} worse of {len(of['robots'])}; "
                f"{of['used']} of {of['candidates']} candidates used, {of['taken_back']} taken back"
                if name == "fine_tuned"
                else ""
            )
            reward = f"{own['reward']:.4f}"
            rows.append((drift, name, reward, f"{own['in_time']:.4f}", closed, told))
    titles = ("forced into use", "passed the check", "taken back", "after", "lost per block")
    forced = [
        (
            name,
            f"{of['passed']} of {of['robots']}",
            f"{of['taken_back']} of {of['robots']}",
            "-" if of["decisions"] is None else f"{of['decisions']:.0f} decisions",
            f"{of['loss']:.3f}",
        )
        for name, of in content["forced"].items()
    ]
    return f"{_markdown(rows)}\n\n{_markdown([titles, ('---',) * len(titles), *forced])}"


def _markdown(rows: Sequence[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _shipped(table: ActionTable | None) -> tuple[dict[str, Any], Task]:
    with np.load(WEIGHTS / "tuner.npz", allow_pickle=False) as content:
        arrays = dict(content)
    whole = table or make_task("detector").table
    known = set(arrays["settings"].tolist())
    return arrays, task_of(whole, whole.only(lambda setting: str(setting) in known))


def _chooser(arrays: Arrays, task: Task) -> rules.Chooser:
    names = np.array(list(map(str, task.part.settings)))
    return rules.Within(Policy({**arrays, "settings": names}, task.part), task.part, task.table)


def _others(
    arrays: Arrays, task: Task, traces: Traces, actual: ActionTable
) -> dict[str, tuple[Floats, Floats]]:
    """What comes of policies that stay as they are: rewards and in time, each (T - 1, N)."""
    choosers = {
        "shipped": _chooser(arrays, task),
        "cautious": rules.Greedy(task.table, caution=1.05),
    }
    found = {}
    for name, chooser in choosers.items():
        rolled = episodes.roll(chooser, task.table, traces, actual=actual)
        found[name] = rolled.reward, rolled.in_time.astype(np.float64)
    # With the costs that it really has, since it sees all.
    rolled = episodes.roll(rules.oracle(actual), actual, traces)
    found["oracle"] = rolled.reward, rolled.in_time.astype(np.float64)
    return found


def _life(
    arrays: Arrays, task: Task, traces: Traces, actual: ActionTable, options: FineTuningOptions
) -> tuple[Life, dict[str, Any]]:
    """One robot with the shipped policy, fine-tuned."""
    life = Life(task, traces, actual, Guard(task.table, options.bound))
    good = in_use = dict(arrays)
    chooser = _chooser(in_use, task)
    told: dict[str, Any] = {"candidates": 0, "used": 0, "taken_back": 0, "rounds": []}
    for number in range(options.rounds + 1):
        for _ in range(options.every):
            life.block(chooser)
            judged = life.guard.judge()
            if judged is not None and judged[0]:
                good = in_use
            elif judged is not None:
                in_use = good
                chooser = _chooser(in_use, task)
                told["taken_back"] += 1
        if number < options.rounds and not life.guard.watching and life.guard.ready:
            candidate, verdict = _candidate(arrays, in_use, task, life.kept, options, number)
            told["candidates"] += 1
            told["rounds"].append({"passed": verdict.passed, "reason": verdict.reason})
            if verdict.passed:
                in_use = candidate
                chooser = _chooser(in_use, task)
                told["used"] += 1
                life.guard.begin(life.kept[-1].stamp_ns)
    return life, told


def _candidate(
    arrays: Arrays,
    in_use: Arrays,
    task: Task,
    kept: list[Transition],
    options: FineTuningOptions,
    number: int,
) -> tuple[dict[str, Any], Any]:
    records = Records.of(kept[-4000:], task.table).only(task.part)
    held_out = records.held_out()
    learned, judged = records.select(~held_out), records.select(held_out)
    known = Calibration.of(learned)
    how = replace(options.how, seed=options.how.seed + number)
    candidate = fine_tune(arrays, task, learned, known, how)
    return candidate, check(candidate, in_use, task, judged, known)


def _drift(
    arrays: Arrays, task: Task, traces: Traces, actual: ActionTable, options: FineTuningOptions
) -> dict[str, Any]:
    """Means over robots, of all blocks but those before the first candidate."""
    every = options.every
    brought = _others(arrays, task, traces, actual)
    lives = [
        _life(arrays, task, traces.select(slice(k, k + 1)), actual, options)
        for k in range(options.robots)
    ]
    brought["fine_tuned"] = (
        np.array([life.rewards for life, _ in lives]).T,
        1.0 - np.array([life.late for life, _ in lives]).T,
    )
    means = {name: of[0][every:].mean(axis=0) for name, of in brought.items()}
    found: dict[str, Any] = {
        name: {
            "reward": _rounded(of[0][every:].mean()),
            "in_time": _rounded(of[1][every:].mean()),
            "by_robot": [_rounded(mean) for mean in means[name]],
            "by_round": [_rounded(part.mean()) for part in np.split(of[0], options.rounds + 1)],
        }
        for name, of in brought.items()
    }
    gains = means["fine_tuned"] - means["shipped"]
    gap = float((means["oracle"] - means["shipped"]).mean())
    return {
        **found,
        "closed": _rounded(gains.mean() / gap) if gap > 0 else None,
        "better": int((gains > 1e-4).sum()),
        "worse": int((gains < -1e-4).sum()),
        **{key: sum(told[key] for _, told in lives) for key in _COUNTS},
        "robots": [told for _, told in lives],
    }


def _forced(
    arrays: Arrays, task: Task, traces: Traces, options: FineTuningOptions
) -> dict[str, Any]:
    """Candidates that nobody would use, and the shipped policy itself, put into use unasked."""
    found = {}
    own = _chooser(arrays, task)
    usual = episodes.roll(own, task.table, traces).reward
    for name, candidate in _bad(arrays, task).items():
        passed, taken_back, decisions, loss = 0, 0, [], []
        bad = _chooser(candidate, task)
        for k in range(options.robots):
            one = traces.select(slice(k, k + 1))
            life = Life(task, one, task.table, Guard(task.table, options.bound))
            for _ in range(options.every):
                life.block(own)
            records = Records.of(life.kept, task.table).only(task.part)
            held_out = records.held_out()
            known = Calibration.of(records.select(~held_out))
            verdict = check(candidate, arrays, task, records.select(held_out), known)
            passed += verdict.passed
            life.guard.begin(life.kept[-1].stamp_ns)
            judged = None
            while judged is None:
                life.block(bad)
                judged = life.guard.judge()
            used = len(life.rewards) - options.every
            part = slice(options.every, len(life.rewards))
            loss.append(float(np.mean(usual[part, k]) - np.mean(life.rewards[part])))
            if not judged[0]:
                taken_back += 1
                decisions.append(used)
        found[name] = {
            "robots": options.robots,
            "passed": passed,
            "taken_back": taken_back,
            "decisions": float(np.mean(decisions)) if decisions else None,
            "loss": round(float(np.mean(loss)), 4),
        }
    return found


def _rounded(value: float | np.floating[Any]) -> float:
    return round(float(value), 6)


def _bad(arrays: Arrays, task: Task) -> dict[str, Arrays]:
    part, count = task.part, len(task.part.actions)
    columns = slice(width(part), width(part) + count)
    fast = dict(arrays)
    fast["actor.0.bias"] = arrays["actor.0.bias"] - arrays["actor.0.weight"][:, columns].sum(axis=1)
    last = max(k for k in range(9) if f"actor.{k}.bias" in arrays)
    lame = dict(arrays)
    lame[f"actor.{last}.bias"] = arrays[f"actor.{last}.bias"].copy()
    lame[f"actor.{last}.bias"][part.fallback] += 1e3
    random = np.random.default_rng(0)
    noise = {
        name: array
        if name in ("settings", "activation")
        else random.normal(0, array.std(), array.shape).astype(np.float32)
        for name, array in arrays.items()
    }
    return {
        "the shipped one itself": arrays,
        "all seems twice as fast": fast,
        "always the earliest exit": lame,
        "random weights": noise,
    }

"""``bench coinference``: ways to choose settings of co-inference, on held-out traces.

Robots, links and workers are simulated block by block with costs and accuracies that were measured
on the real networks; what is compared is only how a setting is chosen.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from re_pose_ros.bench.coinference_view import save_plot, table
from re_pose_ros.bench.command import check_writable
from re_pose_ros.bench.plot import check_plot
from re_pose_ros.coinference.profile import ActionTable
from re_pose_ros.errors import InputError
from re_pose_ros.provenance import commit, machine
from re_pose_ros.training.tuner import TunerTraining, chooser_of, name_of, train_tuner
from re_pose_ros.training.tuner_command import ABLATIONS, usual
from re_pose_ros.training.tuner_task import (
    CHOICE_SEED,
    HELD_OUT_SEED,
    TABLES,
    WEIGHTS,
    Task,
    make_task,
)
from re_pose_ros.tuning import episodes, rules
from re_pose_ros.tuning.reward import RewardTerms
from re_pose_ros.tuning.traces import Traces

SHIPPED = {"detector": "tuner.npz", "alexnet": "tuner_alexnet.npz"}
"""Policies among the weights, by graph."""

LEARNED = ("sac_d", "dqn", "ppo")

CAUTIONS = (1.0, 1.02, 1.05, 1.1, 1.2)
"""What the cautious greedy rule may multiply predicted latencies with."""

FIGURES = ("reward", "regret_pct", "deadline_hit", "accuracy", "bytes", "switches")
_QUICK_TRACES = 100
_HARDER: dict[str, Any] = {"doppler_hz": (0.1, 0.5), "error": (0.1, 0.4), "hold_s": (15.0, 60.0)}


@dataclass(frozen=True, slots=True)
class CoinferenceOptions:
    """What is run.

    Attributes:
        graphs: of ``tuner_task.TABLES``.
        seeds: of trainings.
        ablation_seeds: ditto, of what is varied.
        quick: the shipped policies, one seed of the others, at most 100 traces, and no ablations
            but those there are.
        trains: whether policies that are not there are trained; else they are left out.
        traces: held-out ones.
        blocks: of each.
        trained: folder of ``train tuner``.
        steps: of trainings in place of the usual; 0 for the usual.

    Raises InputError for what cannot be.
    """

    graphs: tuple[str, ...] = ("alexnet", "detector")
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    ablation_seeds: tuple[int, ...] = (0, 1)
    quick: bool = False
    trains: bool = True
    traces: int = 400
    blocks: int = 256
    trained: Path = Path("out/train/tuner")
    steps: int = 0

    def __post_init__(self) -> None:
        for graph in self.graphs:
            if graph not in TABLES:
                raise InputError(f"graph '{graph}' is unknown; known: {', '.join(TABLES)}")
        if not self.seeds or self.traces < 1 or self.blocks < 1:
            raise InputError("bench coinference needs at least one seed, trace and block")


def bench_coinference(
    options: CoinferenceOptions,
    *,
    tables: Mapping[str, ActionTable] | None = None,
    file: Path | None = None,
    plot: Path | None = None,
) -> dict[str, Any]:
    """Run it, write the result after each graph and print its table.

    Args:
        options: see there.
        tables: measured settings by graph, in place of those shipped.
        file: the result as JSON.
        plot: regret and lateness as a picture.

    Raises InputError for what cannot be read or written.
    """
    for path in filter(None, (file, plot)):
        check_writable(path)
    if plot is not None:
        check_plot(plot)
    if options.quick:
        options = replace(options, traces=min(options.traces, _QUICK_TRACES))
    content: dict[str, Any] = {
        "kind": "bench coinference",
        "version": 1,
        "machine": machine(),
        "commit": commit(),
        "options": {**asdict(options), "trained": str(options.trained)},
        "notes": _notes(),
        "graphs": {},
    }
    for graph in options.graphs:
        task = make_task(graph, table=(tables or {}).get(graph))
        content["graphs"][graph] = run_graph(task, options)
        if file is not None:
            file.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    if plot is not None:
        save_plot(content, plot)
    print(table(content))
    return content


def run_graph(task: Task, options: CoinferenceOptions) -> dict[str, Any]:
    """All policies and ablations of a graph, on the same traces."""
    held_out = task.traces(HELD_OUT_SEED, options.traces, options.blocks + 1)
    chosen = _rules(task, options)
    missing: list[str] = []
    learned = {name: _learned(name, task, options, missing) for name in LEARNED}
    rolled: dict[str, list[episodes.Rolled]] = {}
    for name, choosers in {**{k: [c] for k, (c, _) in chosen.items()}, **learned}.items():
        rolled[name] = [episodes.roll(chooser, task.table, held_out) for chooser in choosers]
    names = ("sac_d", "dqn", "ppo", *chosen)
    policies = {name: _figures(rolled[name]) for name in names if rolled[name]}
    for name, (_, about) in chosen.items():
        policies[name] |= about
    kept = {name: rolled[name] for name in ("greedy", "greedy_cautious", "sac_d", "dqn")}
    return {
        "model": task.table.model,
        "model_hash": task.table.model_hash,
        "settings": len(task.table.actions),
        "learned_settings": list(map(str, task.part.settings)),
        "scenarios": _scenarios(task),
        "policies": policies,
        "versus": _versus(rolled),
        "by_condition": _by_condition(kept, held_out),
        "harder": _harder(task, options, chosen, learned),
        "ablations": _ablations(task, options, held_out, missing),
        "missing": sorted(set(missing)),
    }


def _rules(
    task: Task, options: CoinferenceOptions
) -> dict[str, tuple[rules.Chooser, dict[str, Any]]]:
    """Choosers without learning and what was chosen for them, on other traces."""
    count = min(options.traces, 200)
    seen, table_ = task.traces(CHOICE_SEED, count, options.blocks + 1), task.table
    found: dict[str, tuple[rules.Chooser, dict[str, Any]]] = {}
    for name, make in (
        ("best_fixed", rules.best_fixed),
        ("device_only", rules.device_only),
        ("edge_only", rules.edge_only),
    ):
        fixed = make(table_, seen)
        found[name] = fixed, {"setting": str(table_.settings[fixed.action])}
    found["greedy"] = rules.Greedy(table_), {}
    careful = [rules.Greedy(table_, caution=caution) for caution in CAUTIONS]
    best = max(careful, key=lambda rule: episodes.roll(rule, table_, seen).reward.mean())
    found["greedy_cautious"] = best, {"caution": best.caution}
    found["oracle"] = rules.oracle(table_), {}
    return found


def _learned(
    algorithm: str, task: Task, options: CoinferenceOptions, missing: list[str]
) -> list[rules.Chooser]:
    shipped = WEIGHTS / SHIPPED[task.graph]
    if options.quick and algorithm == "sac_d" and _fits(shipped, task):
        return [chooser_of(shipped, task)]
    seeds = options.seeds[:1] if options.quick else options.seeds
    trainings = [replace(usual(algorithm), seed=seed) for seed in seeds]
    return _choosers(trainings, task, options, missing, options.trains)


def _fits(path: Path, task: Task) -> bool:
    if not path.exists():
        return False
    try:
        chooser_of(path, task)
    except InputError:
        return False
    return True


def _choosers(
    trainings: Sequence[TunerTraining],
    task: Task,
    options: CoinferenceOptions,
    missing: list[str],
    trains: bool,
) -> list[rules.Chooser]:
    found: list[rules.Chooser] = []
    for training in trainings:
        if options.steps and training.steps:
            training = replace(training, steps=options.steps)
        folder = options.trained / task.graph
        path = folder / f"{name_of(training)}.npz"
        if not path.exists():
            if not trains:
                missing.append(path.stem)
                continue
            own = make_task(task.graph, training.variant, task.table)
            train_tuner(training, own, folder)
        found.append(chooser_of(path, task))
    return found


def _ablations(
    task: Task, options: CoinferenceOptions, held_out: Traces, missing: list[str]
) -> dict[str, Any]:
    found = {}
    trains = options.trains and not options.quick
    for name, training in ABLATIONS.items():
        trainings = [replace(training, seed=seed) for seed in options.ablation_seeds]
        choosers = _choosers(trainings, task, options, missing, trains)
        if choosers:
            found[name] = _figures(
                [episodes.roll(chooser, task.table, held_out) for chooser in choosers]
            )
    return found


def _figures(rolled: Sequence[episodes.Rolled]) -> dict[str, Any]:
    """Means over trainings; ``std`` over them and ``by_seed`` where there are several."""
    each = [episodes.figures(one) for one in rolled]
    means: dict[str, Any] = {name: _mean([of[name] for of in each]) for name in FIGURES}
    means["latency_ms"] = {q: _mean([of["latency_ms"][q] for of in each]) for q in ("p50", "p95")}
    means["std"] = {name: _std([of[name] for of in each]) for name in FIGURES}
    means["by_seed"] = each if len(each) > 1 else []
    return means


def _versus(rolled: Mapping[str, Sequence[episodes.Rolled]]) -> dict[str, Any]:
    """Reward of sac_d less that of others, per seed, and the share of traces where it is higher."""
    found = {}
    for name, others in rolled.items():
        if name == "sac_d" or not others or not rolled["sac_d"]:
            continue
        theirs = np.mean([other.reward.mean(axis=0) for other in others], axis=0)
        gains = [own.reward.mean(axis=0) - theirs for own in rolled["sac_d"]]
        found[name] = {
            "reward": _mean([float(gain.mean()) for gain in gains]),
            "std": _std([float(gain.mean()) for gain in gains]),
            "standard_error_over_traces": _rounded(
                np.mean(gains, axis=0).std() / np.sqrt(len(gains[0]))
            ),
            "better_seeds": sum(bool(gain.mean() > 0) for gain in gains),
            "better_traces": _rounded(np.mean([(gain > 0).mean() for gain in gains])),
        }
    return found


def _by_condition(
    rolled: Mapping[str, Sequence[episodes.Rolled]], traces: Traces
) -> dict[str, dict[str, Any]]:
    """Regret and deadlines met in the thirds of the traces by what makes choosing hard."""
    bandwidth = np.log2(traces.bandwidth_mbit_s)
    measures = {
        "error_of_measured_bandwidth": np.log(traces.noise).std(axis=0),
        "change_of_bandwidth_per_block": np.abs(np.diff(bandwidth, axis=0)).mean(axis=0),
        "change_of_robot_load": np.abs(np.diff(np.log2(traces.robot_load), axis=0)).mean(axis=0),
    }
    found: dict[str, dict[str, Any]] = {}
    for what, values in measures.items():
        thirds = np.array_split(values.argsort(), 3)
        found[what] = {
            label: {name: _part(of, columns) for name, of in rolled.items() if of}
            for label, columns in zip(("least", "middle", "most"), thirds, strict=True)
            if len(columns)
        }
    return found


def _part(rolled: Sequence[episodes.Rolled], columns: Any) -> dict[str, float | None]:
    best = [float(one.best[:, columns].mean()) for one in rolled]
    got = [float(one.reward[:, columns].mean()) for one in rolled]
    lost = [100 * (b - g) / max(abs(b), 1e-9) for b, g in zip(best, got, strict=True)]
    hit = [float(one.in_time[:, columns].mean()) for one in rolled]
    return {"regret_pct": _mean(lost), "deadline_hit": _mean(hit)}


def _harder(
    task: Task,
    options: CoinferenceOptions,
    chosen: Mapping[str, tuple[rules.Chooser, Any]],
    learned: Mapping[str, Sequence[rules.Chooser]],
) -> dict[str, Any]:
    """The same policies where links change several times as fast as those learned on."""
    harder = replace(task, scenarios=replace(task.scenarios, **_HARDER))
    traces = harder.traces(HELD_OUT_SEED + 1, options.traces, options.blocks + 1)
    roll: Callable[[rules.Chooser], episodes.Rolled] = lambda c: episodes.roll(  # noqa: E731
        c, task.table, traces
    )
    found = {
        name: _figures([roll(chosen[name][0])]) for name in ("greedy", "greedy_cautious", "oracle")
    }
    found |= {name: _figures([roll(c) for c in of]) for name, of in learned.items() if of}
    for figures in found.values():
        del figures["by_seed"]
    return {"scenarios": {k: list(v) for k, v in _HARDER.items()}, "policies": found}


def _scenarios(task: Task) -> dict[str, Any]:
    names = ("robot_speed", "edge_speed", "sending", "round_trip", "period", "doppler_hz")
    return {name: list(getattr(task.scenarios, name)) for name in names}


def _notes() -> dict[str, Any]:
    return {
        "simulated": "robots, links and workers are simulated block by block; times, bytes and "
        "accuracy of every setting were measured on the real networks",
        "reward": asdict(RewardTerms()),
        "regret_pct": "against the best setting of every true state that the policy came into, by "
        "enumeration, in percent of its reward; the oracle sees what no robot can measure in time",
        "accuracy": "0 for late blocks",
        "switches": "per 100 blocks",
        "std": "of the mean figures over training seeds, sample standard deviation",
        "sac_d": "begins with training.tuner_start, which sees the simulated reward of all "
        "settings; dqn and ppo of stable-baselines3 learn from as many blocks without it; "
        "ablations has each the other way",
        "masks": "what cannot be done is masked for all when they choose, for sac_d also when it "
        "learns",
        "greedy": "the setting with the best reward if what is measured stays as it is; "
        "greedy_cautious multiplies predicted latencies with the factor that was best on other "
        "traces",
        "alexnet": "takes a millisecond where it was measured, so its robots are taken to be 10 to "
        "40 times slower, with deadlines in proportion; an assumption, as the paper's Raspberry Pi",
        "harder": "bandwidth changes several times as fast, and is measured with larger errors, "
        "than in training",
    }


def _rounded(value: float | np.floating[Any]) -> float:
    return round(float(value), 6)


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return _rounded(np.mean(known)) if len(known) == len(values) else None


def _std(values: Sequence[float]) -> float | None:
    return _rounded(np.std(values, ddof=1)) if len(values) > 1 else None

"""``bench coinference``: ways to choose settings of co-inference, on held-out traces.

Robots, links and workers are simulated block by block with costs and accuracies that were measured
on the real networks; what is compared is only how a setting is chosen.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from re_pose_ros.bench.coinference_figures import by_condition, over_trainings, part, versus
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
    VARIANTS,
    WEIGHTS,
    Task,
    make_task,
    settings_of,
)
from re_pose_ros.tuning import episodes, rules
from re_pose_ros.tuning.recorded import Recordings
from re_pose_ros.tuning.reward import RewardTerms
from re_pose_ros.tuning.traces import Traces

SHIPPED = {"detector": "tuner.npz", "alexnet": "tuner_alexnet.npz"}
"""Policies among the weights, by graph."""

LEARNED = ("sac_d", "dqn", "ppo")
RULES = ("best_fixed", "device_only", "edge_only", "greedy", "greedy_cautious", "oracle")

CAUTIONS = (1.0, 1.02, 1.05, 1.1, 1.2)
"""What the cautious greedy rule may multiply predicted latencies with."""

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
        policies: files of others that are compared, too, where there is one graph.
        recordings: of links and loads, which the policies are judged on as well.
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
    policies: tuple[Path, ...] = ()
    recordings: Recordings = field(default_factory=Recordings)
    steps: int = 0

    def __post_init__(self) -> None:
        for graph in self.graphs:
            if graph not in TABLES:
                raise InputError(f"graph '{graph}' is unknown; known: {', '.join(TABLES)}")
        if self.policies and len(self.graphs) != 1:
            raise InputError("a policy is for one graph; name one with --graphs")
        for path in self.policies:
            if path.stem in (*LEARNED, *RULES):
                raise InputError(f"policy {path} has the name of another; rename the file")
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
        "options": _told(options),
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
    learned |= {path.stem: [chooser_of(path, task)] for path in options.policies}
    rolled: dict[str, list[episodes.Rolled]] = {}
    for name, choosers in {**{k: [c] for k, (c, _) in chosen.items()}, **learned}.items():
        rolled[name] = [episodes.roll(chooser, task.table, held_out) for chooser in choosers]
    names = (*learned, *chosen)
    policies = {name: over_trainings(rolled[name]) for name in names if rolled[name]}
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
        "versus": versus(rolled),
        "by_condition": by_condition(kept, held_out),
        "harder": _harder(task, options, chosen, learned),
        "recorded": _recorded(task, options, chosen, learned),
        "without": _without(task, held_out),
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
            found[name] = over_trainings(
                [episodes.roll(chooser, task.table, held_out) for chooser in choosers]
            )
    return found


def _harder(
    task: Task,
    options: CoinferenceOptions,
    chosen: Mapping[str, tuple[rules.Chooser, Any]],
    learned: Mapping[str, Sequence[rules.Chooser]],
) -> dict[str, Any]:
    """The same policies where links change several times as fast as those learned on."""
    harder = replace(task, scenarios=replace(task.scenarios, **_HARDER))
    found = _elsewhere(harder, HELD_OUT_SEED + 1, options, chosen, learned)
    return {"scenarios": {k: list(v) for k, v in _HARDER.items()}, "policies": found}


def _recorded(
    task: Task,
    options: CoinferenceOptions,
    chosen: Mapping[str, tuple[rules.Chooser, Any]],
    learned: Mapping[str, Sequence[rules.Chooser]],
) -> dict[str, Any]:
    """The same policies on recorded links and loads; empty where none are given."""
    recordings = options.recordings
    if not recordings.digest:
        return {}
    scenarios = replace(task.scenarios, traces=recordings.links, load_traces=recordings.loads)
    if recordings.links:
        scenarios = replace(scenarios, fading=0.0, steps=0.0, recorded=1.0)
    replayed = replace(task, scenarios=scenarios)
    found = _elsewhere(replayed, HELD_OUT_SEED + 2, options, chosen, learned)
    return {
        "digest": recordings.digest,
        "links": len(recordings.links),
        "loads": len(recordings.loads),
        "policies": found,
    }


def _elsewhere(
    task: Task,
    seed: int,
    options: CoinferenceOptions,
    chosen: Mapping[str, tuple[rules.Chooser, Any]],
    learned: Mapping[str, Sequence[rules.Chooser]],
) -> dict[str, Any]:
    """Rules and learned policies on other traces than the usual ones."""
    traces = task.traces(seed, options.traces, options.blocks + 1)
    choosers = {name: [chosen[name][0]] for name in ("greedy", "greedy_cautious", "oracle")}
    choosers |= {name: list(of) for name, of in learned.items() if of}
    found = {
        name: over_trainings([episodes.roll(chooser, task.table, traces) for chooser in of])
        for name, of in choosers.items()
    }
    for figures in found.values():
        del figures["by_seed"]
    return found


def _without(task: Task, held_out: Traces) -> dict[str, Any]:
    """What the best choice loses without some settings, whoever chooses.

    Regret of the oracle of the settings that are left, against that of all: over all traces, and
    over the third of them whose links carry least until the deadline.
    """
    carried = (held_out.bandwidth_mbit_s * held_out.deadline_ms).mean(axis=0)
    slow = carried.argsort()[: -(-held_out.count // 3)]
    found = {}
    for variant in filter(None, VARIANTS):
        left = settings_of(task.table, variant)
        best = rules.Within(rules.oracle(left), left, task.table)
        rolled = [episodes.roll(best, task.table, held_out)]
        found[variant] = {
            "learned_settings": list(
                map(str, make_task(task.graph, variant, task.table).part.settings)
            ),
            "oracle": over_trainings(rolled),
            "slowest_third": part(rolled, slow),
        }
    return found


def _told(options: CoinferenceOptions) -> dict[str, Any]:
    """Options as the result has them."""
    told = {entry.name: getattr(options, entry.name) for entry in fields(options)}
    return told | {
        "trained": str(options.trained),
        "policies": [path.name for path in options.policies],
        "recordings": options.recordings.digest,
    }


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

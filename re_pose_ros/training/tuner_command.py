"""``train tuner``: all seeds of the algorithms, in an order in which results come early."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from re_pose_ros.coinference.profile import ActionTable
from re_pose_ros.errors import InputError
from re_pose_ros.training import tuner_report
from re_pose_ros.training.process_pool import process_pool
from re_pose_ros.training.tuner import ALGORITHMS, TunerTraining, name_of, train_tuner
from re_pose_ros.training.tuner_task import TABLES, VARIANTS, make_task
from re_pose_ros.tuning.recorded import Recordings

FROM_NOTHING_STEPS = 131_072
"""Of algorithms without a start: as many blocks as the others saw before and while they learned."""

ABLATIONS: dict[str, TunerTraining] = {
    "no_start": TunerTraining(start=0, steps=FROM_NOTHING_STEPS),
    "start_only": TunerTraining(steps=0),
    "gamma_0.5": TunerTraining(gamma=0.5),
    "gamma_0.9": TunerTraining(gamma=0.9),
    **{
        f"no_start_entropy_{share}": TunerTraining(start=0, steps=FROM_NOTHING_STEPS, entropy=share)
        for share in (0.05, 0.5, 0.98)
    },
    **{name: TunerTraining(variant=name) for name in VARIANTS if name},
    "dqn_with_start": TunerTraining("dqn"),
    "ppo_with_start": TunerTraining("ppo"),
}
"""What is varied, each of ``usual('sac_d')`` or of another algorithm's.

The target entropy is varied without the start: after it the learning rate is so low, and the steps
so few, that the temperature cannot follow any target.
"""


def usual(algorithm: str) -> TunerTraining:
    """How an algorithm is compared: sac_d with a start, the others of stable-baselines3 without."""
    if algorithm == "sac_d":
        return TunerTraining()
    return TunerTraining(algorithm, start=0, steps=FROM_NOTHING_STEPS)


@dataclass(frozen=True, slots=True)
class TunerOptions:
    """What is trained.

    Attributes:
        graphs: of ``tuner_task.TABLES``.
        algorithms: of ``tuner.ALGORITHMS``.
        seeds: each trained by itself.
        ablations: names of ``ABLATIONS``.
        steps: of each, in place of the usual; 0 for the usual.
        table: measured settings in place of those shipped, where there is one graph.
        recordings: to train on and judge with, beside what is drawn.
        processes: trainings at once; 0 for as many as there are cores.
        out: folder, with one of each graph in it.

    Raises InputError for an unknown name.
    """

    graphs: tuple[str, ...] = ("detector",)
    algorithms: tuple[str, ...] = ("sac_d",)
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    ablations: tuple[str, ...] = ()
    steps: int = 0
    table: Path | None = None
    recordings: Recordings = field(default_factory=Recordings)
    processes: int = 0
    out: Path = Path("out/train/tuner")

    def __post_init__(self) -> None:
        for given, known, what in (
            (self.graphs, TABLES, "graph"),
            (self.algorithms, ALGORITHMS, "algorithm"),
            (self.ablations, ABLATIONS, "ablation"),
        ):
            for name in given:
                if name not in known:
                    raise InputError(f"{what} '{name}' is unknown; known: {', '.join(known)}")
        if not self.seeds:
            raise InputError("training a tuner needs at least one seed")
        if self.table is not None and len(self.graphs) != 1:
            raise InputError("a table of settings is that of one graph; name one with --graph")

    def trainings(self) -> list[tuple[str, TunerTraining]]:
        """Graph and training of each, those first that results need most."""
        found = [
            (graph, self._of(usual(algorithm), seed))
            for graph in self.graphs
            for seed in self.seeds
            for algorithm in self.algorithms
        ]
        found += [
            (graph, self._of(ABLATIONS[name], seed))
            for seed in self.seeds
            for graph in self.graphs
            for name in self.ablations
        ]
        return found

    def _of(self, training: TunerTraining, seed: int) -> TunerTraining:
        steps = self.steps if self.steps and training.steps else training.steps
        return replace(training, seed=seed, steps=steps, recorded=self.recordings.digest)


def train_and_report(options: TunerOptions) -> None:
    """Train what is not there yet; each graph's folder gets its best policy and a report.

    The shipped policy is the ``sac_d`` with the highest reward on traces that neither training nor
    reports use, among those that meet 0.999 of the deadlines that the oracle meets if there is one.

    Raises InputError for what cannot be read or written.
    """
    trainings = options.trainings()
    processes = options.processes or len(os.sched_getaffinity(0))
    work = partial(_train, table=options.table, recordings=options.recordings, out=options.out)
    if processes == 1 or len(trainings) < 2:
        for graph, training in trainings:
            work(graph, training)
    else:
        with process_pool(processes) as pool:
            for job in [pool.submit(work, *of) for of in trainings]:
                job.result()
    for graph in options.graphs:
        own = [training for of, training in trainings if of == graph]
        folder = options.out / graph
        report(graph, own, folder, options.table, options.recordings)


def report(
    graph: str,
    trainings: Sequence[TunerTraining],
    folder: Path,
    table: Path | None = None,
    recordings: Recordings | None = None,
) -> None:
    """Judge trained policies, and write report and the best policy into their folder."""
    task = make_task(graph, table=table, recordings=recordings)
    paths = {name_of(training): folder / f"{name_of(training)}.npz" for training in trainings}
    content = tuner_report.judge(task, paths)
    tuner_report.write(content, folder)
    if content["shipped"]:
        shutil.copyfile(paths[content["shipped"]], folder / "tuner.npz")


def _train(
    graph: str,
    training: TunerTraining,
    table: Path | None,
    recordings: Recordings,
    out: Path,
) -> None:
    given = ActionTable.read(table) if table else None
    train_tuner(training, make_task(graph, training.variant, given, recordings), out / graph)

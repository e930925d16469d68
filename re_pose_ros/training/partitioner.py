"""Train the agent that refines the partitioner's groups, by proximal policy optimisation."""

from __future__ import annotations

import json
import math
import os
import shutil
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from re_pose_ros.errors import InputError
from re_pose_ros.partition.agent import Agent
from re_pose_ros.partition.refine import Terms
from re_pose_ros.training.drives import Beginning, beginnings_of
from re_pose_ros.training.layouts import Layout, collect, layouts_of
from re_pose_ros.training.partition_env import PartitionEnv, shipped_profiles
from re_pose_ros.training.partition_report import best_of, judge, report, write
from re_pose_ros.training.process_pool import process_pool

_ENVIRONMENTS, _STEPS = 16, 128
_BATCH, _EPOCHS = 512, 4
_LEARNING_RATE, _ENTROPY = 7e-4, 0.005
_KEEP_EVERY = 20
_LEAST_SIDE = 2.0
_DRIVES = 800
_OTHER_DRIVES = 1001
"""From a seed to that of the drives of the second half of a training; no other training's."""

CHOICE_SEED, REPORT_SEED = 500, 900
"""First seeds of the scenes that the best agent is chosen on, and that are reported on."""
_HELD_OUT, _CHOICES, _JUDGED = 30, 40, 100


@dataclass(frozen=True, slots=True)
class PartitionerTraining:
    """What determines a trained agent, but for the arithmetic of the machine.

    Attributes:
        seed: of the first weights and of what is drawn, 0 to 1000.
        steps: of all environments together.
        terms: of the planner's score that it is rewarded for; None: for what is really found.
        discount: of rewards in later steps, 0 to 1.
    """

    seed: int = 0
    steps: int = 300_000
    terms: Terms | None = None
    discount: float = 0.99

    def __post_init__(self) -> None:
        if not 0 <= self.seed <= 1000:
            raise InputError(f"seed {self.seed} is not between 0 and 1000")
        if self.steps < _ENVIRONMENTS * _STEPS:
            raise InputError(f"steps is {self.steps}; it has to be at least 2048")
        if not 0 <= self.discount <= 1:
            raise InputError(f"discount {self.discount} is not between 0 and 1")


def train_agents(
    trainings: Sequence[PartitionerTraining],
    layouts: Sequence[Layout],
    folder: Path,
    processes: int = 1,
) -> list[Path]:
    """Train agents, several at once; one that is there already is not trained anew.

    Frames of the first half of a training are from drives by greedy merging and splitting, those of
    the second from drives by the agent of the first: what it meets on the robot is its own doing.
    Each leaves ``<name>.npz`` and its curve, ``<name>.json``, in ``folder``; one that was
    interrupted goes on from where it was last kept.

    Args:
        trainings: different from one another.
        layouts: where objects are.
        folder: is made where it is missing.
        processes: trainings at once.

    Raises:
        InputError: there is nothing to train on, or the folder cannot be written.
    """
    useful = [layout for layout in layouts if _objects(layout) >= 2]
    if not useful:
        raise InputError("no frame has two objects; there is nothing to train a partitioner on")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{folder} cannot be made: {error.strerror}") from error
    paths = [folder / f"{name_of(training)}.npz" for training in trainings]
    left = [(t, path) for t, path in zip(trainings, paths, strict=True) if not path.exists()]
    if processes == 1 or len(left) < 2:
        for training, path in left:
            _train(training, useful, path, 0)
        return paths
    with process_pool(processes) as pool:
        jobs = [
            pool.submit(_train, training, useful, path, place)
            for place, (training, path) in enumerate(left)
        ]
        for job in jobs:
            job.result()
    return paths


def _objects(layout: Layout) -> int:
    """How many are large enough to be planned for."""
    sides = layout.boxes[:, 2:] - layout.boxes[:, :2]
    return int((sides > _LEAST_SIDE).all(axis=1).sum())


def train_and_report(
    trainings: Sequence[PartitionerTraining],
    data: Sequence[str],
    folder: Path,
    *,
    scenes: int,
    processes: int = 0,
) -> None:
    """Train agents on generated scenes and the user's data, choose the best and report on all.

    ``folder`` gets ``partitioner.npz``, the best on scenes from seed 500 on, and its report on
    scenes from seed 900 on.

    Raises:
        InputError: data or folder cannot be used, or there is nothing to train on.
    """
    if scenes < 1 and not data:
        raise InputError("scenes is 0 and there is no --data; there is nothing to train on")
    processes = processes or len(os.sched_getaffinity(0))
    layouts = layouts_of(data)
    layouts += collect(folder / "layouts", scenes, 0, processes)
    paths = train_agents(trainings, layouts, folder / "agents", processes)
    agents = {path.stem: Agent.load(path) for path in paths}
    held_out = [
        collect(folder / f"layouts_{first}", _HELD_OUT, 0, processes, first)
        for first in (CHOICE_SEED, REPORT_SEED)
    ]
    chosen = best_of(judge(held_out[0], agents, _CHOICES), list(agents))
    result = judge(held_out[1], agents, _JUDGED)
    made = {
        path.stem: json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
        for path in paths
    }
    words = f"generated scenes with seeds {REPORT_SEED} to {REPORT_SEED + _HELD_OUT - 1}"
    write(report(result, made, chosen, words), folder)
    shutil.copyfile(folder / "agents" / f"{chosen}.npz", folder / "partitioner.npz")


def numbers(text: str) -> list[int]:
    """Seeds as ``0,1,2``; InputError for anything else."""
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isascii() and part.isdigit() and len(part) < 6 for part in parts):
        raise InputError(f"seeds '{text}' are no numbers; expected as 0,1,2")
    if len(set(parts)) != len(parts):
        raise InputError(f"seeds '{text}' name one twice")
    return [int(part) for part in parts]


def terms_of(text: str) -> Terms | None:
    """Terms as ``found=1,makespan=0.1``; those not named are 0, and no text is None.

    Raises:
        InputError: an unknown term, or a weight that is no number.
    """
    if not text:
        return None
    known = dict.fromkeys(asdict(Terms()), 0.0)
    for item in text.split(","):
        name, _, weight = item.partition("=")
        if name not in known:
            raise InputError(f"term '{name}' is unknown; known: {', '.join(known)}")
        try:
            known[name] = float(weight)
        except ValueError:
            raise InputError(f"weight '{weight}' of term {name} is no number") from None
        if not math.isfinite(known[name]):
            raise InputError(f"weight '{weight}' of term {name} is not finite")
    return Terms(**known)


def name_of(training: PartitionerTraining) -> str:
    """File name of a training: its seed and what is not as usual."""
    terms = {} if training.terms is None else asdict(training.terms)
    changed = [f"{key}{weight:g}" for key, weight in terms.items() if weight]
    if training.discount != PartitionerTraining().discount:
        changed.append(f"discount{training.discount:g}")
    if training.steps != PartitionerTraining().steps:
        changed.append(f"steps{training.steps}")
    return "-".join(["partitioner", *changed, f"seed{training.seed}"])


def _train(
    training: PartitionerTraining, layouts: Sequence[Layout], path: Path, place: int
) -> None:
    import torch
    from stable_baselines3 import PPO
    from stable_baselines3.common.vec_env import DummyVecEnv, VecMonitor

    from re_pose_ros.training.partition_policy import PartitionPolicy

    torch.set_num_threads(1)
    curve = _kept(path) or []
    beginnings: list[Beginning] = []
    make: Callable[[], PartitionEnv] = partial(PartitionEnv, beginnings, training.terms)
    environments = VecMonitor(DummyVecEnv([make] * _ENVIRONMENTS), info_keywords=())
    if curve:
        agent = PPO.load(path.with_suffix(".zip"), env=environments, device="cpu")
    else:
        agent = PPO(
            PartitionPolicy,
            environments,
            learning_rate=lambda left: _LEARNING_RATE * max(left, 0.05),
            n_steps=_STEPS,
            batch_size=_BATCH,
            n_epochs=_EPOCHS,
            gamma=training.discount,
            gae_lambda=0.95,
            ent_coef=_ENTROPY,
            seed=training.seed,
            device="cpu",
        )
    bar = tqdm(
        total=training.steps,
        initial=agent.num_timesteps,
        desc=path.stem,
        unit="step",
        position=place,
        dynamic_ncols=True,
    )
    half, begun = training.steps // 2, agent.num_timesteps
    with bar:
        callback = _watch(training, path, curve, bar)
        for steps, driver in ((half, None), (training.steps, path.with_suffix(".half.npz"))):
            left = steps - agent.num_timesteps
            if left <= 0:
                continue
            if driver is not None and (begun < half or not driver.exists()):
                _write(agent, driver)
            beginnings[:] = _beginnings(training, layouts, driver)
            agent.set_env(environments)  # has all episodes begin anew
            agent.learn(left, callback=callback, reset_num_timesteps=not curve)
    _keep(agent, training, path, curve)
    _write(agent, path)


def _beginnings(
    training: PartitionerTraining, layouts: Sequence[Layout], driver: Path | None
) -> list[Beginning]:
    """Of drives by greedy, or by the agent of a file."""
    agent, seed = None, training.seed
    if driver is not None:
        agent, seed = Agent.load(driver), training.seed + _OTHER_DRIVES
    return beginnings_of(layouts, shipped_profiles(), _DRIVES, seed, agent)


def _write(agent: Any, path: Path) -> None:
    """What ``Agent.load`` reads; all of it or nothing."""
    partial_file = path.with_suffix(".part")
    with partial_file.open("wb") as file:
        np.savez(file, **agent.policy.tensors())
    partial_file.replace(path)


def _watch(
    training: PartitionerTraining, path: Path, curve: list[dict[str, float]], bar: Any
) -> Any:
    from stable_baselines3.common.callbacks import BaseCallback

    class Watch(BaseCallback):
        """Shows progress, keeps the curve and, now and then, all."""

        def __init__(self) -> None:
            super().__init__()
            self._gains: list[float] = []
            self._rollouts = 0

        def _on_step(self) -> bool:
            self._gains += [info["gain"] for info in self.locals["infos"] if "gain" in info]
            return True

        def _on_rollout_end(self) -> None:
            episodes = list(self.model.ep_info_buffer or ())
            point = {
                "steps": float(self.num_timesteps),
                "gain": float(np.mean(self._gains)) if self._gains else 0.0,
                "reward": float(np.mean([e["r"] for e in episodes])) if episodes else 0.0,
                "length": float(np.mean([e["l"] for e in episodes])) if episodes else 0.0,
            }
            self._gains.clear()
            curve.append(point)
            bar.update(self.num_timesteps - bar.n)
            bar.set_postfix(gain=f"{point['gain']:.4f}", length=f"{point['length']:.1f}")
            self._rollouts += 1
            if self._rollouts % _KEEP_EVERY == 0:
                _keep(self.model, training, path, curve)

    return Watch()


def _keep(
    agent: Any, training: PartitionerTraining, path: Path, curve: Sequence[dict[str, float]]
) -> None:
    """Write all that is needed to go on, so that what was kept before is there until it is done."""
    new = path.with_name(f"{path.stem}.part.zip")
    agent.save(new)
    text = json.dumps({"training": asdict(training), "curve": list(curve)}) + "\n"
    written = path.with_name(f"{path.stem}.part.json")
    written.write_text(text, encoding="utf-8")
    new.replace(path.with_suffix(".zip"))
    written.replace(path.with_suffix(".json"))


def _kept(path: Path) -> list[dict[str, float]] | None:
    """The curve of a training that can go on; None where there is none, or it is broken."""
    try:
        with zipfile.ZipFile(path.with_suffix(".zip")) as archive:
            # A file that was cut may end in an archive of its own, that of the weights.
            if "data" not in archive.namelist() or archive.testzip() is not None:
                return None
        content = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
        return list(content["curve"])
    except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile):
        return None

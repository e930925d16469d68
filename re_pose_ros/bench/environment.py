"""``bench environment``: how fast the environment steps that the partitioner's agent is trained in.

Timed is one environment on one core with actions that are drawn from the possible ones, new
episodes with them: what a training does besides the network's own part.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from re_pose_ros.bench.command import check_writable
from re_pose_ros.bench.table import aligned
from re_pose_ros.errors import InputError
from re_pose_ros.partition.refine import ACTIONS, Terms
from re_pose_ros.provenance import commit, machine
from re_pose_ros.training.drives import Beginning, beginnings_of
from re_pose_ros.training.layouts import collect
from re_pose_ros.training.partition_env import PartitionEnv, shipped_profiles

REWARDS: Mapping[str, Terms | None] = {"score": Terms(), "found": None}
"""Terms of the environment by what the agent is rewarded for."""

CHUNK = 25
"""Steps that are timed together."""
STOPS = 0.1
"""Share of the actions that stop."""


@dataclass(frozen=True)
class EnvironmentOptions:
    """What is timed.

    Attributes:
        scenes: generated ones that drives go through.
        drives: whose frames the episodes begin in.
        steps: per replay.
        repeats: replays of the same episodes.
        seed: of drives, episodes and actions.

    Raises InputError for a value that cannot be used.
    """

    scenes: int = 12
    drives: int = 60
    steps: int = 1500
    repeats: int = 6
    seed: int = 3

    def __post_init__(self) -> None:
        for name in ("scenes", "drives", "steps", "repeats"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} is {getattr(self, name)}; it has to be at least 1")
        if self.seed < 0:
            raise InputError(f"seed is {self.seed}; it has to be 0 or more")


def bench_environment(options: EnvironmentOptions, *, file: Path | None = None) -> dict[str, Any]:
    """Time the environment with each reward, write the result as JSON and print its table.

    Raises:
        InputError: the file cannot be written.
    """
    if file is not None:
        check_writable(file)
    with TemporaryDirectory() as folder:
        layouts = collect(Path(folder), options.scenes, options.seed, 1)
    useful = [layout for layout in layouts if len(layout.boxes) >= 2]
    begins = beginnings_of(useful, shipped_profiles(), options.drives, options.seed)
    rewards = {}
    with tqdm(total=len(REWARDS) * options.repeats, unit="replay") as bar:
        for name, terms in REWARDS.items():
            replays = []
            for _ in range(options.repeats):
                replays.append(_replay(begins, terms, options))
                bar.update()
            rewards[name] = _summary(np.array(replays), options)
    content = {
        "kind": "bench environment",
        "version": 1,
        "machine": machine(),
        "commit": commit(),
        "settings": asdict(options),
        "notes": {
            "steps_per_s": "of one environment on one core, by processor time, resets with it",
            "runs": "each replay",
            "least": f"from the least time that each {CHUNK} steps took in any replay: what the "
            "work takes where nothing interferes",
            "found": "what a frame began with is planned once, in the first replay",
        },
        "beginnings": len(begins),
        "steps_per_s": rewards,
    }
    if file is not None:
        file.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    print(table(content))
    return content


def _replay(
    begins: Sequence[Beginning], terms: Terms | None, options: EnvironmentOptions
) -> list[float]:
    """Seconds that each chunk of steps took."""
    env, random = PartitionEnv(begins, terms), np.random.default_rng(options.seed)
    seen, _ = env.reset(seed=options.seed)
    taken = []
    for first in range(0, options.steps, CHUNK):
        began = time.process_time()
        for _ in range(min(CHUNK, options.steps - first)):
            possible = seen[-ACTIONS:].nonzero()[0]
            stops = random.random() < STOPS
            action = 0 if stops else possible[random.integers(len(possible))]
            seen, _, ended, _, _ = env.step(np.int64(action))
            if ended:
                seen, _ = env.reset()
        taken.append(time.process_time() - began)
    return taken


def _summary(taken: NDArray[np.float64], options: EnvironmentOptions) -> dict[str, Any]:
    """Steps per second; ``taken`` (replays, chunks) are seconds."""
    return {
        "least": round(options.steps / float(taken.min(axis=0).sum())),
        "runs": [round(options.steps / float(own.sum())) for own in taken],
    }


def table(content: Mapping[str, Any]) -> str:
    """The result for reading."""
    rows: list[Sequence[str]] = [("rewarded by", "steps/s", "in single replays")]
    for name, figures in content["steps_per_s"].items():
        runs = figures["runs"]
        rows.append((name, str(figures["least"]), f"{min(runs)} to {max(runs)}"))
    return "\n".join(aligned(rows))

"""Transitions, and other processes that only pretend to learn, for tests of fine-tuning."""

from __future__ import annotations

import sys
from itertools import pairwise
from pathlib import Path

import numpy as np

from re_pose_ros.coinference.profile import ActionTable
from re_pose_ros.tuning.policy import save_policy
from re_pose_ros.tuning.rules import Chooser
from re_pose_ros.tuning.simulation import Simulation
from re_pose_ros.tuning.state import width
from re_pose_ros.tuning.traces import Traces
from re_pose_ros.tuning.transitions import Transition


def recorded(
    chooser: Chooser, table: ActionTable, traces: Traces, actual: ActionTable | None = None
) -> list[Transition]:
    """What a tuner would have kept of simulated robots, each as a worker of its own."""
    simulation, found = Simulation(table, traces, actual=actual), []
    while not simulation.over:
        k, rows, last = simulation.step_number, simulation.measured.copy(), simulation.last
        masks = simulation.masks()
        actions = chooser.choose(rows, last, masks)
        came = simulation.step(actions)
        found += [
            Transition(
                f"worker_{n}",
                k,
                rows[n],
                int(last[n]),
                int(actions[n]),
                float(came.latency_ms[n]),
                int(came.bytes[n]),
                float(traces.deadline_ms[k, n]),
                masks[n],
            )
            for n in range(traces.count)
        ]
    return found


def policy_arrays(table: ActionTable, prefers: int = 0) -> dict[str, np.ndarray]:
    """A policy that prefers one action wherever it may be taken."""
    count = len(table.actions)
    inputs = width(table) + 2 * count
    bias = np.zeros(count, np.float32)
    bias[prefers] = 1.0
    return {
        "activation": np.array("tanh"),
        "actor.0.weight": np.zeros((4, inputs), np.float32),
        "actor.0.bias": np.zeros(4, np.float32),
        "actor.1.weight": np.zeros((count, 4), np.float32),
        "actor.1.bias": bias,
    }


def write_policy(path: Path, table: ActionTable, prefers: int = 0) -> Path:
    """A file of ``policy_arrays``."""
    save_policy(path, policy_arrays(table, prefers), table)
    return path


def informed_policy(path: Path, table: ActionTable) -> Path:
    """A file of a policy that goes by what is predicted, as trained ones begin."""
    import torch

    from re_pose_ros.training import tuner_start
    from re_pose_ros.tuning.reward import RewardTerms

    torch.manual_seed(0)
    inputs, count = width(table) + 2 * len(table.actions), len(table.actions)
    sizes = (inputs, 64, 64, count)
    layers = [torch.nn.Linear(*pair) for pair in pairwise(sizes)]
    tuner_start.inform(layers, table, RewardTerms(), tuner_start.POLICY_SCALE)
    arrays = {"activation": np.array("tanh")}
    for k, layer in enumerate(layers):
        arrays[f"actor.{k}.weight"] = layer.weight.detach().numpy()
        arrays[f"actor.{k}.bias"] = layer.bias.detach().numpy()
    save_policy(path, arrays, table)
    return path


def python(code: str) -> list[str]:
    """A process that runs a few lines."""
    return [sys.executable, "-c", code]

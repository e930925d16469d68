"""A table of actions and traces that tests of the tuner use; the figures are made up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from re_pose_ros.coinference.profile import Action, ActionTable
from re_pose_ros.coinference.setting import BITS, DEVICE, Setting
from re_pose_ros.tuning.traces import Traces

SIZES = (320, 640, 960)
_AREA = np.array(SIZES) ** 2 / 640**2
_WHOLE = 12 + 30 * _AREA
_PIXELS = 640 * 360 * 3 * _AREA
_EXITS = {"p3": (0.35, (0.36, 0.50, 0.48)), "p4": (0.62, (0.42, 0.62, 0.68))}
_EXITS["p5"] = (1.0, (0.45, 0.72, 0.83))
_JPEG = {30: (0.9, 0.033), 50: (0.94, 0.047), 70: (0.97, 0.065), 90: (0.995, 0.13)}
_CUTS = {4: (0.22, 0.045), 6: (0.38, 0.032), 10: (0.58, 0.02)}
_BITS = {2: 0.72, 4: 0.94, 6: 0.98, 8: 0.985}


def action(
    setting: Setting, kept: float, device: np.ndarray, edge: np.ndarray, size: np.ndarray
) -> Action:
    by_size = tuple(round(kept * value, 4) for value in _EXITS[setting.exit][1])
    costs = (tuple(float(v) for v in np.round(row, 3)) for row in (device, edge, size))
    return Action(setting, round(float(np.mean(by_size)), 4), by_size, *costs)


def detector_table() -> ActionTable:
    """Two early exits and the last, each on the robot, of JPEG pictures, and of features: 43."""
    actions, none = [], np.zeros(3)
    for name, (depth, _) in _EXITS.items():
        actions.append(action(Setting(name, DEVICE, 0, 0), 1.0, _WHOLE * depth, none, none))
        for quality, (kept, rate) in _JPEG.items():
            encode, decode = 1.5 + 2.5 * _AREA, 2 + 3 * _AREA
            setting, size = Setting(name, 0, 0, quality), _PIXELS * rate + 300
            actions.append(action(setting, kept, encode, decode + _WHOLE * depth, size))
        for cut, (at, rate) in _CUTS.items():
            for bits in BITS if at < depth else ():
                head, tail = _WHOLE * at + 1 + 2 * _AREA, _WHOLE * (depth - at) + 1 + 2 * _AREA
                size = _PIXELS * rate * bits / 8 + 800
                actions.append(action(Setting(name, cut, bits, 0), _BITS[bits], head, tail, size))
    machine = {"cpu": "none", "threads": 1}
    return ActionTable("detector", "scene-n", "ab" * 32, machine, SIZES, (16, 48), tuple(actions))


def small_table() -> ActionTable:
    """Round figures at one input size: robot alone at two exits, one picture, one cut."""
    rows = (
        (Setting("early", DEVICE, 0, 0), 0.4, (0.2, 0.6), 20.0, 0.0, 0.0),
        (Setting("last", DEVICE, 0, 0), 0.8, (0.6, 1.0), 80.0, 0.0, 0.0),
        (Setting("last", 0, 0, 70), 0.75, (0.5, 1.0), 5.0, 85.0, 50_000.0),
        (Setting("last", 3, 4, 0), 0.7, (0.5, 0.9), 15.0, 60.0, 10_000.0),
    )
    actions = tuple(Action(s, a, by, (d,), (e,), (b,)) for s, a, by, d, e, b in rows)
    return ActionTable("detector", "small", "cd" * 32, {}, (640,), (32.0,), actions)


def classifier_table() -> ActionTable:
    """Objects have no sizes."""
    known = small_table()
    actions = tuple(replace(entry, accuracy_by_size=None) for entry in known.actions)
    return replace(known, graph="alexnet", model="alexnet", size_edges=(), actions=actions)


def steady(steps: int, count: int = 1, **changed: object) -> Traces:
    """Traces for ``small_table`` on which nothing ever changes, but for what is given."""
    values: dict[str, object] = {
        "bandwidth_mbit_s": 10.0,
        "rtt_ms": 4.0,
        "connected": True,
        "robot_load": 1.0,
        "edge_load": 0.5,
        "edge_wait_ms": 0.0,
        "input_size": 640.0,
        "deadline_ms": 100.0,
        "noise": 1.0,
    }
    assert not changed.keys() - values.keys() - {"period_ms", "features", "shares"}
    shape = (steps, count)
    arrays = {
        name: np.array(np.broadcast_to(np.asarray(_column(changed.get(name, value))), shape))
        for name, value in values.items()
    }
    period = np.full(count, changed.get("period_ms", 200.0), float)
    features = np.full(count, changed.get("features", True), bool)
    shares = np.array(np.broadcast_to(np.asarray(changed.get("shares", (0.5, 0.5))), (*shape, 2)))
    return Traces(**arrays, period_ms=period, features=features, shares=shares)


def _column(value: object) -> object:
    """A sequence is what changes from step to step."""
    return np.asarray(value)[:, None] if isinstance(value, Sequence) else value

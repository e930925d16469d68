"""Workers that are lost and found again, as everybody in one process hears of them."""

from __future__ import annotations

import os
import signal
from types import SimpleNamespace
from typing import Any, cast

import pytest

from re_pose_ros.nodes.base import PipelineNode
from re_pose_ros.nodes.presence import Presence
from re_pose_ros.parameters.table import Values

from .harness import Bench

pytestmark = pytest.mark.ros


def listener(bench: Bench) -> Presence:
    """One more in the probe's process that listens to ``edge_0``."""
    node = bench.probe.node
    given: dict[str, Any] = {"workers": ["edge_0"], "crop_workers": [], "liveliness_lease": 1.0}
    stand_in = SimpleNamespace(
        values=Values(given), subscription=node.create_subscription, get_logger=node.get_logger
    )
    return Presence(cast(PipelineNode, stand_in), lambda state: None)


def test_who_begins_to_listen_later_hears_of_a_return_as_well(bench: Bench) -> None:
    """The robot's process has two listeners; the later one matches a worker that is alive."""
    detector = bench.fake_detector("edge_0")
    presences: list[Presence] = []

    def all_know(alive: bool) -> bool:
        states = [presence.states["edge_0"] for presence in presences]
        return all(state.ready is alive for state in states)

    for _ in range(2):
        presences.append(listener(bench))
        bench.wait_for(lambda: all_know(True), "edge_0", 30.0)
    for _ in range(2):
        os.kill(detector.pid, signal.SIGSTOP)
        bench.wait_for(lambda: all_know(False), "that edge_0 is gone", 30.0)
        os.kill(detector.pid, signal.SIGCONT)
        bench.wait_for(lambda: all_know(True), "that edge_0 is back", 30.0)
    detector.kill()
    bench.wait_for(lambda: all_know(False), "that edge_0 is gone for good", 30.0)
    bench.fake_detector("edge_0")
    bench.wait_for(lambda: all_know(True), "the next edge_0", 30.0)

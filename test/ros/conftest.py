"""Fixtures of the tests that run nodes on real DDS."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from .harness import Bench

# Before rclpy is imported. Runs side by side must not hear each other, nor the network.
os.environ.setdefault("ROS_DOMAIN_ID", str(1 + os.getpid() % 100))
os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
os.environ["YOLO_AUTOINSTALL"] = "false"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Processes that find each other on a busy machine get a second chance, told as a rerun."""
    for item in items:
        if item.get_closest_marker("ros"):
            item.add_marker(pytest.mark.flaky(reruns=1))


@pytest.fixture
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bench]:
    """Starts nodes for one test and ends them with it."""
    from .harness import Bench

    with Bench(request.node.name, tmp_path) as started:
        yield started

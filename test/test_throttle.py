"""A process that gets a part of a core."""

from __future__ import annotations

import subprocess
import sys

import pytest

from re_pose_ros.bench.throttle import Throttle
from re_pose_ros.errors import InputError

BUSY = """
import time
begin = time.monotonic()
while time.monotonic() - begin < 1.0:
    pass
print(time.process_time())
"""


def test_a_throttled_process_gets_no_more_than_its_part() -> None:
    try:
        with Throttle(0.3) as throttle:
            command = [*throttle.prefix, sys.executable, "-c", BUSY]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
    except InputError as error:
        pytest.skip(str(error))
    assert float(done.stdout) < 0.5


def test_without_a_limit_nothing_is_put_before_a_command() -> None:
    with Throttle(0.0) as throttle:
        assert throttle.prefix == ()

"""Fixtures that several tests use."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
from hypothesis import settings

# The same examples in every run, and no verdict on the speed of a busy machine.
settings.register_profile("steady", deadline=None, derandomize=True)
settings.load_profile("steady")

# Under nohup, or in the background of a script, signals are ignored, and so they are by all
# processes that are started; what has a handler is not handed down.
for number in (signal.SIGINT, signal.SIGHUP):
    if signal.getsignal(number) == signal.SIG_IGN:
        signal.signal(number, lambda number, frame: None)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The data beside the checkout; tests that need it skip where it is absent."""
    folder = Path(__file__).resolve().parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("needs the test data, which is not in ../shared/data")
    return folder

"""A process of low priority beside this one: started, watched and ended."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from re_pose_ros.errors import InputError

STOP_S = 2.0
"""A process that is asked to end has so long until it is made to."""


class Ended(NamedTuple):
    """How a process ended: whether all was well, and if not, why."""

    good: bool
    reason: str


class Background:
    """One process at a time; it is ended with this object's ``stop``, or after its time.

    Its standard input stays open as long as this process lives, by which it knows; what it prints
    goes to a file.
    """

    def __init__(self, log: Path) -> None:
        self._log = log
        self._child: subprocess.Popen[bytes] | None = None
        self._until_s = 0.0

    @property
    def running(self) -> bool:
        """Whether there is one whose end has not been told."""
        return self._child is not None

    def start(self, command: Sequence[str], limit_s: float, now_s: float) -> None:
        """Start one; InputError where that cannot be."""
        self.stop()
        try:
            with self._log.open("wb") as log:
                self._child = subprocess.Popen(
                    command,
                    stdin=subprocess.PIPE,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    # Ctrl-C reaches its owner alone, which ends it.
                    start_new_session=True,
                )
        except OSError as error:
            raise InputError(f"{command[0]} cannot be started: {error.strerror}") from error
        self._until_s = now_s + limit_s

    def ended(self, now_s: float) -> Ended | None:
        """How it ended, once; None while it runs, or where there is none."""
        child = self._child
        if child is None:
            return None
        code = child.poll()
        if code is None and now_s < self._until_s:
            return None
        if code is None:
            self.stop()
            return Ended(False, "it did not end in its time")
        self.stop()
        return Ended(code == 0, "" if code == 0 else f"it ended with code {code}: {self._last()}")

    def stop(self) -> None:
        """End it, where it runs."""
        child, self._child = self._child, None
        if child is None:
            return
        if child.poll() is None:
            child.terminate()
            try:
                child.wait(STOP_S)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
        if child.stdin is not None:
            with suppress(OSError):
                child.stdin.close()

    def _last(self) -> str:
        try:
            lines = self._log.read_text(encoding="utf-8", errors="replace").split("\n")
        except OSError:
            return "no output"
        return next((line.strip() for line in reversed(lines) if line.strip()), "no output")

"""Processes that get a part of a core only: a control group with a quota of the kernel's."""

from __future__ import annotations

import itertools
import os
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from re_pose_ros.errors import InputError

PERIOD_US = 10_000
"""In which the quota may be used up; a block takes several."""

_GROUPS = Path("/sys/fs/cgroup")
_numbers = itertools.count()


class Throttle:
    """A context manager that makes the group, and removes it when its processes have ended.

    The kernel stops them for the rest of each period in which they have used up their quota, so
    they do the same work, later.

    Attributes:
        prefix: what a command has to be preceded by to run in the group; empty for a whole core.
    """

    def __init__(self, cores: float) -> None:
        """``cores`` that all its processes have together, 0 for no limit."""
        self._cores = cores
        self._group: Path | None = None
        self.prefix: tuple[str, ...] = ()

    def __enter__(self) -> Throttle:
        """Raises InputError where this user or this machine cannot have such a group."""
        if not self._cores:
            return self
        first = not (_GROUPS / "cgroup.controllers").exists()
        group = (_own_group() if first else _GROUPS) / f"rp_{os.getpid()}_{next(_numbers)}"
        quota = str(round(self._cores * PERIOD_US))
        try:
            if not first:
                (_GROUPS / "cgroup.subtree_control").write_text("+cpu")
            group.mkdir()
            self._group = group
            if first:
                (group / "cpu.cfs_period_us").write_text(str(PERIOD_US))
                (group / "cpu.cfs_quota_us").write_text(quota)
            else:
                (group / "cpu.max").write_text(f"{quota} {PERIOD_US}")
        except OSError as error:
            self._remove()
            raise InputError(
                f"the robot cannot be given a part of a core here: {error}; leave it a whole one"
            ) from None
        # ``ip netns exec`` hides the groups by a /sys of its own; this process still sees them.
        join = f'echo $$ > /proc/{os.getpid()}/root{group}/cgroup.procs && exec "$@"'
        self.prefix = ("sh", "-c", join, "sh")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._remove()

    def _remove(self) -> None:
        if self._group is not None:
            with suppress(OSError):
                self._group.rmdir()


def _own_group() -> Path:
    """Of this process, in version 1; what is below it has what it has of the cores."""
    for line in Path("/proc/self/cgroup").read_text(encoding="utf-8").splitlines():
        _, controllers, path = line.split(":", 2)
        if "cpu" in controllers.split(","):
            return _GROUPS / "cpu" / path.lstrip("/")
    return _GROUPS / "cpu"

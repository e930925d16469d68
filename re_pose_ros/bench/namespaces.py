"""Two hosts on one machine: network namespaces with a link between them whose rate is limited."""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
from collections.abc import Sequence
from types import TracebackType

from re_pose_ros.errors import InputError

ROBOT_ADDRESS, EDGE_ADDRESS = "10.213.47.1", "10.213.47.2"

BUFFER_MS = 50
"""What the link holds back at most, as a modem does; what is more is dropped."""

LEAST_BURST = 16_000
"""Bytes that may go at once."""

_numbers = itertools.count()


class Link:
    """A robot and an edge machine, joined by a cable; a context manager that leaves nothing behind.

    What the robot sends is limited by a token bucket (tc-tbf); answers are not.

    Attributes:
        robot, edge: what a command has to be preceded by to run there.
    """

    def __init__(self) -> None:
        """Raises InputError where this user or this machine cannot have namespaces."""
        for tool in ("ip", "tc"):
            if shutil.which(tool) is None:
                raise InputError(f"'{tool}' is not installed; it comes with the package iproute2")
        if os.geteuid() != 0:
            raise InputError("network namespaces need root; run this with sudo or in a container")
        number = f"{os.getpid() % 100_000}_{next(_numbers)}"
        self._names = f"rp_robot_{number}", f"rp_edge_{number}"
        self.robot, self.edge = (("ip", "netns", "exec", name) for name in self._names)

    def __enter__(self) -> Link:
        edge = self._names[1]
        try:
            for name in self._names:
                _run("ip", "netns", "add", name)
            _run(*self.robot, "ip", "link", "add", "wire", "type", "veth", "peer", "name", "far")
            _run(*self.robot, "ip", "link", "set", "far", "netns", edge, "name", "wire")
            for way, address in ((self.robot, ROBOT_ADDRESS), (self.edge, EDGE_ADDRESS)):
                _run(*way, "ip", "address", "add", f"{address}/24", "dev", "wire")
                for device in ("lo", "wire"):
                    _run(*way, "ip", "link", "set", device, "up")
                # By which DDS finds its peers.
                _run(*way, "ip", "route", "add", "224.0.0.0/4", "dev", "wire")
        except BaseException:
            self._remove()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._remove()

    def _remove(self) -> None:
        for name in self._names:
            subprocess.run(["ip", "netns", "delete", name], stderr=subprocess.DEVNULL, check=False)

    def limit(self, mbit_s: float) -> None:
        """As the function of that name."""
        limit(self.robot, mbit_s)


def limit(robot: Sequence[str], mbit_s: float) -> None:
    """What the robot can send from now on; 0 cuts the link."""
    if mbit_s <= 0:
        _run(*robot, "ip", "link", "set", "wire", "down")
        return
    _run(*robot, "ip", "link", "set", "wire", "up")
    _run(*robot, "ip", "route", "replace", "224.0.0.0/4", "dev", "wire")
    burst = max(LEAST_BURST, round(mbit_s * 1e6 / 8 * 0.002))
    rate = ("rate", f"{mbit_s:g}mbit", "burst", str(burst), "latency", f"{BUFFER_MS}ms")
    _run(*robot, "tc", "qdisc", "replace", "dev", "wire", "root", "tbf", *rate)


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        reason = " ".join((done.stderr or done.stdout).split())
        raise InputError(f"'{' '.join(command)}' failed: {reason}")

"""When a frame would be done on N workers, from times measured one block at a time.

There are rarely as many idle cores as workers to be reported on, so the makespan is computed: the
robot plans and then encodes block after block, a block is sent when it is encoded and the link is
free, a worker takes its blocks in the order of the plan, and the last answer is followed by the
fusion. Answers are small and travel in no time.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from re_pose_ros.errors import InputError

Links = Literal["shared", "own"]


@dataclass(frozen=True, slots=True)
class Network:
    """What blocks travel on.

    Attributes:
        bandwidth_mbit_s: of a link, in 10^6 bits per second.
        links: ``shared``, one uplink of the robot for all blocks, or ``own``, one per worker.

    Raises InputError for a bandwidth that is not positive, or other links.
    """

    bandwidth_mbit_s: float = 100.0
    links: Links = "shared"

    def __post_init__(self) -> None:
        if not (math.isfinite(self.bandwidth_mbit_s) and self.bandwidth_mbit_s > 0):
            raise InputError(f"a bandwidth of {self.bandwidth_mbit_s} Mbit/s carries nothing")
        if self.links not in get_args(Links):
            raise InputError(f"links '{self.links}' are none of {', '.join(get_args(Links))}")

    def transfer_ms(self, size: int) -> float:
        """Time that ``size`` bytes take."""
        return size * 8e-3 / self.bandwidth_mbit_s


@dataclass(frozen=True, slots=True)
class BlockCost:
    """What one block of a plan takes.

    Attributes:
        worker: who has it.
        encode_ms: on the robot.
        size: bytes sent.
        work_ms: decoding and detecting on a worker of speed 1.
    """

    worker: str
    encode_ms: float
    size: int
    work_ms: float


def sending_order(blocks: Sequence[BlockCost], network: Network) -> list[int]:
    """The order in which to send blocks, so that no worker waits for long.

    The worker that has most work left comes next, with the block of it that keeps it busy longest
    for the time it takes to send: after Johnson's rule for two machines in a row (Naval Research
    Logistics Quarterly 1954), which is optimal for one worker; for several it is ours.
    """
    waiting: dict[str, list[int]] = {}
    for k, block in enumerate(blocks):
        waiting.setdefault(block.worker, []).append(k)
    left = {worker: sum(blocks[k].work_ms for k in own) for worker, own in waiting.items()}

    eagerness = [
        block.work_ms / max(block.encode_ms + network.transfer_ms(block.size), 1e-6)
        for block in blocks
    ]
    for own in waiting.values():
        own.sort(key=lambda k: (-eagerness[k], k))
    order = []
    while waiting:
        worker = max(waiting, key=lambda name: (left[name], name))
        own = waiting[worker]
        k = own.pop(0)
        left[worker] -= blocks[k].work_ms
        if not own:
            del waiting[worker]
        order.append(k)
    return order


def done_ms(
    blocks: Sequence[BlockCost],
    begin_ms: float,
    network: Network,
    speeds: Mapping[str, float],
) -> list[float]:
    """When each block's answer is there, in milliseconds from having the frame.

    Args:
        blocks: in the order in which they are encoded and sent.
        begin_ms: when the first is begun with: the time of planning on the robot.
        network: what the blocks travel on.
        speeds: work per time of each worker; 1 for those not named.
    """
    encoded = begin_ms
    links: dict[str, float] = {}
    workers: dict[str, float] = {}
    done = []
    for block in blocks:
        encoded += block.encode_ms
        link = block.worker if network.links == "own" else ""
        links[link] = max(encoded, links.get(link, 0.0)) + network.transfer_ms(block.size)
        begin = max(links[link], workers.get(block.worker, 0.0))
        workers[block.worker] = begin + block.work_ms / speeds.get(block.worker, 1.0)
        done.append(workers[block.worker])
    return done


def makespan_ms(
    blocks: Sequence[BlockCost],
    partition_ms: float,
    fusion_ms: float,
    network: Network,
    speeds: Mapping[str, float],
) -> float:
    """From having the frame to having its detections, in milliseconds.

    Args:
        blocks: in the order in which they are encoded and sent.
        partition_ms: time of planning on the robot.
        fusion_ms: time of fusion on the robot.
        network: what the blocks travel on.
        speeds: work per time of each worker; 1 for those not named.
    """
    answers = done_ms(blocks, partition_ms, network, speeds)
    return max(answers, default=partition_ms) + fusion_ms

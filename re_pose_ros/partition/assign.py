"""Which worker slot takes which block."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from re_pose_ros.plan import BlockRequest, PlannedBlock, Slot


def input_pixels(request: BlockRequest) -> float:
    """Network-input pixels of a request, which keeps the block's aspect ratio.

    Where it names no variant, those of the block.
    """
    if request.variant is None:
        return float(request.block.area)
    block = request.block
    aspect = min(block.width, block.height) / max(block.width, block.height)
    return request.variant.input_size**2 * aspect


def assign(
    requests: Sequence[BlockRequest],
    workers: Mapping[str, int],
    cost: Callable[[BlockRequest], float] = input_pixels,
    speed: Mapping[str, float] | None = None,
) -> tuple[PlannedBlock, ...]:
    """Place each request on a slot so that the busiest worker has little more than its share.

    Requests that name their worker go there; the others by longest processing time first (Graham
    1969): by falling cost, each to the worker that would be done with it first among those with a
    free slot. The result is in the order of ``requests``.

    Args:
        requests: the blocks.
        workers: slots of each worker that is alive.
        cost: work of a request, in any unit.
        speed: work per time of each worker; 1 for those not named.

    Raises:
        ValueError: more requests than slots, or a worker is named that is not there.
    """
    total = sum(workers.values())
    if len(requests) > total:
        raise ValueError(f"{len(requests)} blocks for {total} worker slots")
    speed = speed or {}
    busy = dict.fromkeys(sorted(workers), 0.0)
    used = dict.fromkeys(busy, 0)
    placed: dict[int, PlannedBlock] = {}
    costs = [cost(request) for request in requests]
    # Those that know their worker first.
    for k in sorted(range(len(requests)), key=lambda k: (requests[k].worker is None, -costs[k])):
        free = [worker for worker in busy if used[worker] < workers[worker]]
        done = {worker: busy[worker] + costs[k] / speed.get(worker, 1.0) for worker in free}
        worker = requests[k].worker or min(free, key=done.__getitem__)
        if worker not in done:
            raise ValueError(f"no slot is left on worker '{worker}' for {requests[k].block}")
        placed[k] = PlannedBlock(Slot(worker, used[worker]), requests[k])
        busy[worker] = done[worker]
        used[worker] += 1
    return tuple(placed[k] for k in range(len(requests)))

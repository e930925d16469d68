"""From groups and looks to blocks with networks and workers, within the budget."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from statistics import median

import numpy as np
from numpy.typing import NDArray

from re_pose_ros.geometry import Block
from re_pose_ros.partition.base import PartitionSettings
from re_pose_ros.partition.groups import BINS, Floats, Groups, bin_middles
from re_pose_ros.partition.looks import Looks
from re_pose_ros.partition.outlook import Choices, Conditions
from re_pose_ros.plan import BlockRequest, Variant
from re_pose_ros.planning import Assignment, Objective, Options, solve
from re_pose_ros.planning.costs import STRIDE, CostModel
from re_pose_ros.planning.makespan import BlockCost, Network, done_ms, sending_order

LATENCY_SHARE = 0.95
"""latency: share of the greatest value that is wanted at least."""
PRICE_OF_BUDGET = 0.2
"""balanced: share of all value that using up the budget costs."""
ROUNDS = 2
"""How often a plan that would be late is made anew."""
TOLERATED = 0.03
"""Share of the budget by which a plan may be late before it is made anew."""
LEAST_SHARE, MOST_SHARE = 0.2, 1.2
"""What is planned with is between these shares of the budget."""
MISSED_VALUE = 0.005
"""Share of a plan's value that may be missed so that it is made sooner; recall is known less well
than that."""
LEAST_VALUE = 1e-6
"""What a required look is worth at least, so that it can be chosen."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """A plan.

    Attributes:
        requests: in the order in which they are to be sent.
        value: expected number of objects found, of those that are expected.
        worth: what was planned for: the weight of what is found by all blocks, looks with them.
        makespan_ms: from having the frame to having its detections.
        done_ms: per request, from having the frame to having the answer.
        share: of the time left, what to plan with at first in the next frame.
    """

    requests: tuple[BlockRequest, ...]
    value: float
    worth: float
    makespan_ms: float
    done_ms: tuple[float, ...]
    share: float


@dataclass(frozen=True, slots=True, eq=False)
class _Task:
    """Blocks to choose for: the groups, and behind them the looks.

    ``expected`` (K,) is the weight of the groups' objects, ``per_weight`` (K,) how many objects are
    expected for each unit of it.
    """

    extent: Floats
    weight: Floats
    value: Floats
    compute_ms: Floats
    pixels: Floats
    look: NDArray[np.bool_]
    required: NDArray[np.bool_]
    expected: Floats
    per_weight: Floats
    workers: tuple[str, ...]
    slots: NDArray[np.int64]
    variants: tuple[Variant, ...]


@dataclass(frozen=True, slots=True, eq=False)
class _Found:
    """An assignment, the order of sending, and when the answers are there."""

    assignment: Assignment
    order: list[int]
    done_ms: list[float]

    @property
    def late(self) -> float:
        return max(self.done_ms, default=0.0)


def chosen_blocks(
    groups: Groups,
    looks: Looks,
    conditions: Conditions,
    workers: Mapping[str, int],
    costs: CostModel,
    settings: PartitionSettings,
    share: float = 1.0,
    lag_ms: float = 0.0,
) -> Chosen:
    """The best blocks for a frame.

    Args:
        groups: of objects that are expected.
        looks: taken whatever they are worth; some may be left out where the budget is too small.
        conditions: what there is to look with.
        workers: slots by name.
        costs: of the workers.
        settings: budget and objective.
        share: of the time that is left, what is planned with at first; that of the frame before.
        lag_ms: by how much frames are done later than was expected.
    """
    task = _task(groups, looks, conditions, workers, costs)
    if not len(task.extent):
        return Chosen((), 0.0, 0.0, 0.0, (), share)
    overhead = costs.overhead_ms + lag_ms
    budget = max(settings.budget_ms - overhead, 1.0)
    found: _Found | None = None
    for _ in range(1 + ROUNDS):
        new = _simulated(task, _solved(task, share * budget, costs, settings), costs)
        if found is None or new.late <= budget or new.late < found.late:
            found = new
        ratio = budget / max(new.late, 1e-3)
        # What is early may go on so, since steps are coarse; what is late must not.
        if ratio < 1:
            # The limit may have been far above what the assignment took.
            share = min(share, new.assignment.makespan_ms / budget) * ratio
        else:
            share *= ratio**0.5
        share = min(max(share, LEAST_SHARE), MOST_SHARE)
        if new.late <= budget * (1 + TOLERATED):
            break
    assert found is not None
    found = _in_time(task, found, budget * (1 + TOLERATED), costs)
    return _chosen(task, found, groups.objects.frame_size, overhead, share)


def _in_time(task: _Task, found: _Found, budget_ms: float, costs: CostModel) -> _Found:
    """Without the blocks that would be late, as far as they need not be sent."""
    while found.late > budget_ms:
        late = [
            (at, k)
            for at, k in zip(found.done_ms, found.order, strict=True)
            if at > budget_ms and not task.required[k]
        ]
        if not late:
            break
        worker = found.assignment.worker.copy()
        worker[max(late)[1]] = -1
        found = _simulated(task, replace(found.assignment, worker=worker), costs)
    return found


def by_rule(
    groups: Groups,
    looks: Looks,
    conditions: Conditions,
    workers: Mapping[str, int],
    costs: CostModel,
    settings: PartitionSettings,
) -> Chosen:
    """As ``chosen_blocks``, without regard to the budget: what planning is compared with.

    Each block takes the smallest input at which three of four of its objects have the wanted size,
    as in ``clusters``, a look the smallest that is sharp enough; the blocks that take longest go
    first, each to the worker that is done with it first.
    """
    task = _task(groups, looks, conditions, workers, costs)
    inputs = conditions.worth.input_size
    scale = conditions.worth.views(task.extent[:, 2:] - task.extent[:, :2]).scale
    below = np.cumsum(task.weight, axis=1) / np.maximum(task.weight.sum(axis=1), 1e-9)[:, None]
    small = bin_middles()[(below < 0.25).sum(axis=1).clip(0, BINS - 1)]
    wanted = np.where(task.look, looks.scale, settings.target_object / small)
    enough = scale >= wanted[:, None] * 0.999
    ordered = np.where(enough, inputs, np.inf)
    variant = np.where(enough.any(axis=1), ordered.argmin(axis=1), inputs.argmax())
    time = task.compute_ms[:, np.arange(len(variant)), variant]
    worker = np.full(len(variant), -1)
    free, slots = np.zeros(len(task.workers)), task.slots.copy()
    order = np.argsort(-time.min(axis=0), kind="stable")
    order = order[(task.required | ~task.look)[order]]
    for k in order[: int(slots.sum())].tolist():
        done = np.where(slots > 0, free + time[:, k], np.inf)
        worker[k] = first = int(done.argmin())
        free[first] = done[first]
        slots[first] -= 1
    assignment = Assignment(variant, worker, 0.0, 0.0, 0.0, False)
    found = _simulated(task, assignment, costs)
    return _chosen(task, found, groups.objects.frame_size, costs.overhead_ms, 1.0)


def _chosen(
    task: _Task, found: _Found, frame_size: tuple[int, int], overhead_ms: float, share: float
) -> Chosen:
    variant = found.assignment.variant
    expected = [k for k in found.order if not task.look[k]]
    return Chosen(
        tuple(_request(task, found.assignment, k, frame_size) for k in found.order),
        float(sum(task.value[k, variant[k]] * task.per_weight[k] for k in expected)),
        float(sum(task.value[k, variant[k]] for k in found.order)),
        overhead_ms + found.late,
        tuple(overhead_ms + at for at in found.done_ms),
        share,
    )


def _task(
    groups: Groups,
    looks: Looks,
    conditions: Conditions,
    workers: Mapping[str, int],
    costs: CostModel,
) -> _Task:
    extent = np.concatenate([groups.extent, looks.extent])
    weight = np.concatenate([groups.weight, looks.weight])
    sides = extent[:, 2:] - extent[:, :2]
    variants = conditions.worth.variants
    choices = Choices.of(weight, sides, conditions)
    value = choices.value.copy()
    begin = len(groups)
    if len(looks):
        value[begin:][looks.required] += LEAST_VALUE
        enough = choices.scale[begin:] >= looks.scale * 0.999
        enough |= ~enough.any(axis=1, keepdims=True) & (
            choices.scale[begin:] == choices.scale[begin:].max(axis=1, keepdims=True)
        )
        value[begin:][~enough] = 0.0
    names = tuple(workers)
    views = conditions.worth.views(sides)
    return _Task(
        extent,
        weight,
        value,
        costs.compute_times(names, variants, views.input_pixels),
        views.image_pixels,
        np.arange(len(extent)) >= begin,
        np.concatenate([np.zeros(begin, bool), looks.required]),
        groups.weight.sum(axis=1),
        _per_weight(groups),
        names,
        np.array([workers[name] for name in names], np.int64),
        variants,
    )


def _per_weight(groups: Groups) -> Floats:
    """(K,) how many objects each group is expected to have, over their weight."""
    if not len(groups):
        return np.empty(0)
    objects, own = groups.objects, np.concatenate(groups.members)
    counts = np.array([len(members) for members in groups.members])
    begins = np.cumsum(counts) - counts
    there, weight = (
        np.add.reduceat(of[own], begins) for of in (objects.probability, objects.weight)
    )
    return np.asarray(there / weight)


def _solved(
    task: _Task,
    limit_ms: float,
    costs: CostModel,
    settings: PartitionSettings,
) -> Assignment:
    """Variants and workers, where each worker waits for its share of one round of sending."""
    send = np.array([costs.sending_ms(worker, 1.0) for worker in task.workers])
    send += costs.encode_ms(1.0)
    # While the first blocks travel nobody works; later ones travel while others are worked on.
    typical = median(task.pixels.min(axis=1).tolist()) * float(send.mean())
    offset = typical * np.arange(1, len(task.workers) + 1)
    price = PRICE_OF_BUDGET * float(task.expected.sum()) / settings.budget_ms
    options = Options(
        task.value,
        task.compute_ms + send[:, None, None] * task.pixels * (1 / len(task.workers)),
        limit_ms,
        np.minimum(offset, limit_ms / 2),
        task.slots,
        task.required,
    )
    objective = Objective(settings.objective, LATENCY_SHARE, price)
    return solve(options, objective, tolerated=MISSED_VALUE)


def _simulated(
    task: _Task,
    assignment: Assignment,
    costs: CostModel,
) -> _Found:
    """In which order to send what was chosen, and when the answers are there."""
    sent = np.flatnonzero(assignment.worker >= 0).tolist()
    network = Network(8.0)  # a kilobyte takes a millisecond
    sending = [costs.sending_ms(name, 1.0) for name in task.workers]
    blocks = []
    for k in sent:
        row, column = int(assignment.worker[k]), int(assignment.variant[k])
        pixels = float(task.pixels[k, column])
        blocks.append(
            BlockCost(
                task.workers[row],
                costs.encode_ms(pixels),
                round(sending[row] * pixels * 1e3),
                float(task.compute_ms[row, k, column]) + costs.settings.link_ms,
            )
        )
    order = sending_order(blocks, network)
    done = done_ms([blocks[k] for k in order], 0.0, network, {})
    return _Found(assignment, [sent[k] for k in order], done)


def _request(
    task: _Task, assignment: Assignment, k: int, frame_size: tuple[int, int]
) -> BlockRequest:
    variant = task.variants[int(assignment.variant[k])]
    weight = 0.0 if task.look[k] else float(task.expected[k])
    share = float(task.value[k, int(assignment.variant[k])]) / weight if weight > 0 else 0.0
    return BlockRequest(
        snapped(task.extent[k].tolist(), variant, frame_size),
        variant,
        min(max(share, 0.0), 1.0),
        task.workers[int(assignment.worker[k])],
    )


def snapped(extent: list[float], variant: Variant, frame_size: tuple[int, int]) -> Block:
    """The block in whole pixels whose network input has no empty border.

    The shorter side grows to what a multiple of the network's stride shows, as far as the frame
    goes; that costs nothing, since the border would be computed all the same.
    """
    width, height = frame_size
    left, top = max(math.floor(extent[0]), 0), max(math.floor(extent[1]), 0)
    right, bottom = min(math.ceil(extent[2]), width), min(math.ceil(extent[3]), height)
    wide, high = right - left, bottom - top
    scale = variant.input_size / max(wide, high)
    if wide >= high:
        top, bottom = _grown(top, bottom, scale, height)
    else:
        left, right = _grown(left, right, scale, width)
    return Block(left, top, right - left, bottom - top)


def _grown(low: int, high: int, scale: float, length: int) -> tuple[int, int]:
    strides = math.ceil((high - low) * scale / STRIDE - 1e-9)
    side = min(max(math.floor(strides * STRIDE / scale), high - low), length)
    begin = min(max(low - (side - (high - low)) // 2, 0), length - side)
    return begin, begin + side

"""From groups and looks to blocks: snapped to strides, in slots and budget, times as computed."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import partition_cases as cases
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from re_pose_ros.detection.preprocess import canvas_size
from re_pose_ros.distribution import ObjectDistribution
from re_pose_ros.partition.base import PartitionContext, PartitionSettings
from re_pose_ros.partition.blocks import TOLERATED, Chosen, by_rule, chosen_blocks, snapped
from re_pose_ros.partition.groups import Groups, Objects
from re_pose_ros.partition.looks import Looks, grid_looks, unknown_sizes
from re_pose_ros.partition.workforce import Workforce, input_area
from re_pose_ros.plan import BlockRequest, Variant
from re_pose_ros.planning.costs import CostSettings
from re_pose_ros.planning.makespan import BlockCost, Network, makespan_ms
from re_pose_ros.planning.options import OBJECTIVES

STRIDE = 32
OVERHEAD = 5.0
seeds = st.integers(0, 10_000)
SPEEDS = {"edge_0": 1.0, "edge_1": 0.5, "edge_2": 2.0}


@settings(max_examples=300)
@given(
    st.sampled_from([(640, 480), (1280, 720), (3840, 2160), (333, 777)]),
    st.lists(st.floats(0, 1), min_size=4, max_size=4),
    st.sampled_from([160, 320, 480, 640, 1280]),
)
def test_a_snapped_block_shows_its_extent_and_wastes_no_input(
    frame_size: tuple[int, int], corners: list[float], input_size: int
) -> None:
    width, height = frame_size
    left, right = sorted(at * width for at in corners[:2])
    top, bottom = sorted(at * height for at in corners[2:])
    right, bottom = max(right, min(left + 8, width)), max(bottom, min(top + 8, height))
    left, top = min(left, right - 8), min(top, bottom - 8)
    block = snapped([left, top, right, bottom], Variant("net", input_size), frame_size)
    x1, y1, x2, y2 = block.xyxy
    assert 0 <= x1 <= left and 0 <= y1 <= top
    assert right <= x2 <= width and bottom <= y2 <= height
    # Only as much is added as does not cost another stride.
    scale = input_size / max(block.width, block.height)
    extent = np.ceil([right, bottom]) - np.floor([left, top])
    assert (np.array([block.width, block.height]) * scale <= extent * scale + STRIDE + 1e-6).all()
    canvas = canvas_size((block.width, block.height), input_size, STRIDE)
    for padded, side, length in zip(canvas, (block.width, block.height), frame_size, strict=True):
        # A row of the picture may be missing to the next stride, but where the frame ends.
        assert side == length or padded - side * scale <= scale + 0.5 + 1e-6


def test_a_block_at_the_border_grows_inwards() -> None:
    variant = Variant("net", 320)
    assert snapped([3520, 2060, 3840, 2160], variant, (3840, 2160)).xyxy == (3520, 2032, 3840, 2160)
    assert snapped([0, 0, 320, 100], variant, (3840, 2160)).xyxy == (0, 0, 320, 128)
    assert snapped([100, 0, 200, 320], variant, (3840, 2160)).xyxy == (86, 0, 214, 320)
    assert snapped([100, 0, 420, 100], variant, (3840, 110)).xyxy == (100, 0, 420, 110)


# Plans.


def workforce(where: PartitionContext) -> Workforce:
    made = Workforce(CostSettings(link_ms=0.5, overhead_ms=OVERHEAD))
    made.meet(where.profiles)
    made.costs.observe_overhead(OVERHEAD)
    return made


def plan(
    groups: Groups,
    budget_ms: float,
    *,
    looks: Looks | None = None,
    where: PartitionContext | None = None,
    objective: str = "accuracy",
    share: float = 1.0,
) -> Chosen:
    where = where or cases.context(SPEEDS)
    made = workforce(where)
    how = made.conditions(where.workers, where.variants, budget_ms - OVERHEAD, 2.0)
    return chosen_blocks(
        groups,
        looks or Looks.none(),
        how,
        where.workers,
        made.costs,
        PartitionSettings(budget_ms=budget_ms, objective=objective),
        share,
    )


def aligned(seed: int, count: int) -> Groups:
    """Groups whose extents are whole pixels, and whole strides for all networks."""
    random = np.random.default_rng([seed, 3])
    groups = cases.grouped(cases.objects(seed, 3 * count), count, seed)
    sides = np.column_stack([np.full(len(groups), 640), 128 * random.integers(1, 6, len(groups))])
    low = random.integers(0, np.array(cases.FRAME) - sides)
    return replace(groups, extent=np.concatenate([low, low + sides], axis=1).astype(float))


def computed_ms(requests: tuple[BlockRequest, ...], made: Workforce) -> float:
    """The makespan of requests, by the costs that they were planned with."""
    blocks = []
    for request in requests:
        assert request.variant is not None and request.worker is not None
        pixels = float(np.prod(request.image_size))
        area = input_area(request.block.width, request.block.height, request.variant)
        work = made.costs.compute_times([request.worker], [request.variant], np.array([[area]]))
        blocks.append(
            BlockCost(
                request.worker,
                made.costs.encode_ms(pixels),
                round(made.costs.sending_ms(request.worker, pixels) * 1e3),
                float(work[0, 0, 0]) + made.costs.settings.link_ms,
            )
        )
    return makespan_ms(blocks, OVERHEAD, 0.0, Network(8.0), {})


@settings(max_examples=40)
@given(seeds, st.integers(1, 14), st.floats(25, 300), st.sampled_from(OBJECTIVES))
def test_predicted_times_are_those_that_are_computed(
    seed: int, count: int, budget: float, objective: str
) -> None:
    chosen = plan(aligned(seed, count), budget, objective=objective)
    made = workforce(cases.context(SPEEDS))
    assert len(chosen.done_ms) == len(chosen.requests)
    assert chosen.makespan_ms == max(chosen.done_ms, default=OVERHEAD)
    assert chosen.makespan_ms == pytest.approx(computed_ms(chosen.requests, made), rel=1e-3)


def test_predicted_times_are_those_of_blocks_as_they_are_sent() -> None:
    """Extents become whole pixels and strides; that may cost a little, but not always."""
    where = cases.context(SPEEDS, profile=cases.PROFILE)
    made, ratios = workforce(where), []
    for seed in range(40):
        groups = cases.grouped(cases.objects(seed, 20), 7, seed)
        chosen = plan(groups, 30.0 + 3 * seed, where=where)
        truth = computed_ms(chosen.requests, made) - OVERHEAD
        ratios.append(truth / (chosen.makespan_ms - OVERHEAD))
    assert np.mean(ratios) == pytest.approx(1, abs=0.005)
    assert max(ratios) < 1.05


@settings(max_examples=40)
@given(seeds, st.integers(1, 14), st.floats(20, 300), st.sampled_from(OBJECTIVES))
def test_requests_name_their_workers_within_the_slots(
    seed: int, count: int, budget: float, objective: str
) -> None:
    where = cases.context(SPEEDS, slots=2)
    groups = cases.grouped(cases.objects(seed, 3 * count), count, seed)
    chosen = plan(groups, budget, where=where, objective=objective)
    used = Counter(request.worker for request in chosen.requests)
    assert set(used) <= set(SPEEDS) and max(used.values(), default=0) <= 2
    assert len(chosen.requests) <= min(len(groups), where.slots)
    assert len(cases.placed(chosen.requests, where)) == len(chosen.requests)
    shown: Counter[int] = Counter()
    for request in chosen.requests:
        assert request.variant in where.variants
        assert 0 <= request.expected_accuracy <= 1
        x1, y1, x2, y2 = request.block.xyxy
        own = (groups.extent >= (x1, y1, 0, 0)) & (groups.extent <= (9e9, 9e9, x2, y2))
        shown.update(np.flatnonzero(own.all(axis=1)).tolist())
    assert len(shown) >= len(chosen.requests)
    assert 0 <= chosen.value <= groups.objects.weight.sum() + 1e-9


def test_the_budget_holds_where_nothing_is_required() -> None:
    """With networks so fast that sending takes as long."""
    where = cases.context(SPEEDS, profile=cases.PROFILE)
    late = []
    for seed in range(60):
        random = np.random.default_rng(seed)
        budget = float(np.exp(random.uniform(np.log(30), np.log(300))))
        count = int(random.integers(2, 14))
        groups = cases.grouped(cases.objects(seed, 3 * count), count, seed)
        chosen = plan(groups, budget, where=where)
        late.append((chosen.makespan_ms - OVERHEAD) / (budget - OVERHEAD) - 1)
    assert max(late) <= 2 * TOLERATED


@settings(max_examples=30)
@given(seeds, st.integers(1, 10), st.integers(1, 4), st.sampled_from(OBJECTIVES))
def test_required_looks_are_sent_and_sharp(
    seed: int, count: int, looks: int, objective: str
) -> None:
    groups = cases.grouped(cases.objects(seed, 3 * count), count, seed)
    random = np.random.default_rng(seed)
    low = random.uniform(0, 0.7, (looks, 2)) * cases.FRAME
    extent = np.concatenate([low, low + np.array(cases.FRAME) * 0.3], axis=1)
    weight = np.tile(unknown_sizes(cases.FRAME) * 0.01, (looks, 1))
    wanted = Looks(extent, weight, np.ones(looks, bool), 640 / 3840)
    chosen = plan(groups, 400.0, looks=wanted, objective=objective)
    for left, top, right, bottom in extent:
        shown = [
            request
            for request in chosen.requests
            if (np.array(request.block.xyxy[:2]) <= (left, top)).all()
            and (np.array(request.block.xyxy[2:]) >= (right, bottom)).all()
        ]
        assert max(request.input_scale for request in shown) >= wanted.scale * 0.99
    assert chosen.makespan_ms <= 400 * (1 + TOLERATED)


def test_of_looks_that_are_too_many_some_are_sent() -> None:
    nothing = Groups.of(cases.objects(0, 0), [])
    grid = grid_looks(cases.FRAME, 3, 48.0, 0.5)
    for budget in (8.0, 20.0, 60.0, 300.0):
        chosen = plan(nothing, budget, looks=grid)
        assert 1 <= len(chosen.requests) <= 9
        assert all(request.expected_accuracy == 0 for request in chosen.requests)
        assert chosen.value == 0
    assert len(chosen.requests) == 9


def test_looks_that_are_offered_are_not_sent_where_they_cost_too_much() -> None:
    groups = cases.grouped(cases.objects(1, 20), 5, 1)
    extent = np.array([[0.0, 0.0, 1280.0, 720.0]])
    rich = Looks(extent, unknown_sizes(cases.FRAME)[None] / 20, np.zeros(1, bool), 0.5)
    poor = replace(rich, weight=rich.weight * 1e-9)
    alone, without = plan(groups, 40.0), plan(groups, 40.0, looks=poor)
    assert without.value == pytest.approx(alone.value, rel=0.01)
    assert len(plan(groups, 400.0, looks=rich).requests) == len(plan(groups, 400.0).requests) + 1


def test_objectives_differ_as_they_say() -> None:
    groups = cases.grouped(cases.objects(3, 40), 8, 3)
    best, quick, between = (plan(groups, 250.0, objective=name) for name in OBJECTIVES)
    assert best.value >= between.value - 1e-9 and best.value >= quick.value - 1e-9
    assert quick.value >= 0.9 * best.value
    assert quick.makespan_ms < between.makespan_ms <= best.makespan_ms


def test_nothing_to_look_at_is_no_plan() -> None:
    chosen = plan(Groups.of(cases.objects(0, 0), []), 100.0, share=0.7)
    assert (chosen.requests, chosen.value, chosen.done_ms, chosen.share) == ((), 0.0, (), 0.7)


@settings(max_examples=25)
@given(seeds, st.integers(0, 14), st.booleans())
def test_blocks_by_rule_are_sharp_enough_whatever_it_takes(
    seed: int, count: int, look: bool
) -> None:
    where = cases.context(SPEEDS, slots=4)
    made = workforce(where)
    groups = Groups.of(cases.objects(seed, 0), [])
    if count:
        groups = cases.grouped(cases.objects(seed, 3 * count), count, seed)
    looks = grid_looks(cases.FRAME, 1, 48.0, 640 / 3840) if look else Looks.none()
    wanted = PartitionSettings(budget_ms=5.0, target_object=40.0)
    how = made.conditions(where.workers, where.variants, 0.0, 2.0)
    chosen = by_rule(groups, looks, how, where.workers, made.costs, wanted)
    assert len(chosen.requests) == min(len(groups) + look, 12)
    used = Counter(request.worker for request in chosen.requests)
    assert max(used.values(), default=0) <= 4
    for request in chosen.requests:
        assert request.variant is not None
        sharper = [v for v in where.variants if v.input_size > request.variant.input_size]
        if not sharper:
            continue
        x1, y1, x2, y2 = request.block.xyxy
        shown = (groups.extent >= (x1, y1, 0, 0)) & (groups.extent <= (9e9, 9e9, x2, y2))
        sizes = [
            np.quantile(groups.objects.size[groups.members[k]], 0.9)
            for k in np.flatnonzero(shown.all(axis=1))
        ]
        # Were most objects too small on this input, a larger one would have been taken.
        assert not sizes or max(sizes) * request.input_scale > 40.0 * 0.9
    assert len(chosen.done_ms) == len(chosen.requests)


def test_rare_objects_get_the_block_and_the_prediction_counts_objects() -> None:
    """Ten of one class here, one of another there, and slots for one block."""
    where = cases.context({"edge_0": 1.0}, slots=1)
    boxes = [(100 + 40 * k, 100, 130 + 40 * k, 130) for k in range(10)]
    found = ObjectDistribution.of([*boxes, (3000, 1500, 3030, 1530)], [0] * 10 + [1])
    labels = np.array([0] * 10 + [1])

    def chosen(counts: np.ndarray) -> Chosen:
        known = Objects.of(found, cases.FRAME, margin=0.5, least=96.0, counts=counts)
        return plan(Groups.labelled(known, labels), 200.0, where=where)

    alike, rare = chosen(np.ones(11)), chosen(np.array([0.1] * 10 + [10.0]))
    (of_many,), (of_one,) = alike.requests, rare.requests
    assert of_many.block.x < 600 and of_one.block.x > 2000
    assert 5 < alike.value <= 10 and 0.5 < rare.value <= 1

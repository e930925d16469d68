"""What looking is worth, and what a plan would achieve."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import permutations, product

import bench_model
import numpy as np
import partition_cases as cases
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from re_pose_ros.detection.preprocess import canvas_size
from re_pose_ros.detection.profile import Profile
from re_pose_ros.detection.size_accuracy import SizeAccuracy
from re_pose_ros.partition.groups import PER_OCTAVE, Floats
from re_pose_ros.partition.outlook import PRICES, Choices, Conditions, outlook
from re_pose_ros.partition.worth import (
    LARGEST_RISING,
    Worth,
    pooled_recall,
    usefulness,
)
from re_pose_ros.plan import Variant

seeds = st.integers(0, 10_000)


def accuracy(recall: Sequence[float | None], count: Sequence[int]) -> SizeAccuracy:
    edges = tuple(4.0 * 2**k for k in range(len(count) + 1))
    return SizeAccuracy(edges, tuple(recall), tuple(recall), tuple(count))


def known(*entries: SizeAccuracy | None, model: str = "net") -> Profile:
    """A profile with these accuracies for inputs of 160, 320, ..."""
    sizes = tuple(160 * 2**k for k in range(len(entries)))
    profile = bench_model.profile(model, sizes)
    variants = tuple(
        replace(entry, accuracy=own) for entry, own in zip(profile.variants, entries, strict=True)
    )
    return replace(profile, variants=variants)


# Recall and value.


def test_recall_is_pooled_over_the_inputs_by_their_objects() -> None:
    profile = known(
        accuracy((0.2, 0.5, 0.8), (10, 20, 40)), accuracy((0.6, None, 0.9), (30, 0, 10))
    )
    middles = np.array([4.0, 8.0, 16.0]) * np.sqrt(2)
    found = pooled_recall([profile], "net", middles)
    assert found == pytest.approx([0.5, 0.5, (0.8 * 40 + 0.9 * 10) / 50])
    # Larger than any that were measured: as the largest; smaller ones: down to nothing.
    assert pooled_recall([profile], "net", np.array([500.0])) == pytest.approx([0.82])
    assert pooled_recall([profile], "net", np.array([1.0, 4.0])) == pytest.approx([0, 0])
    rising = pooled_recall([profile], "net", np.geomspace(4, float(middles[0]), 20))
    assert (np.diff(rising) >= 0).all()


def test_a_bin_without_objects_is_passed_over() -> None:
    profile = known(accuracy((0.2, None, 0.8), (10, 0, 10)))
    middle = float(np.sqrt(8 * 16))
    assert pooled_recall([profile], "net", np.array([middle])) == pytest.approx([0.5])


@pytest.mark.parametrize(
    "profiles",
    [[], [known(None, None)], [known(accuracy((None, None), (0, 0)))], [known(None, model="x")]],
)
def test_unknown_recall_is_the_usual_one(profiles: list[Profile]) -> None:
    sizes = np.geomspace(1, 500, 30)
    assert pooled_recall(profiles, "net", sizes) == pytest.approx(cases.recall("net", sizes))


def test_what_is_larger_is_found_as_well_up_to_some_size() -> None:
    # Sizes from 4 to 1024, where the third bin happened to be bad.
    measured = accuracy((0.2, 0.6, 0.5, 0.7, 0.8, 0.9, 0.6, 0.4), (50,) * 8)
    sizes = np.geomspace(4, LARGEST_RISING * 0.7, 100)
    assert (np.diff(pooled_recall([known(measured)], "net", sizes)) >= -1e-12).all()
    assert pooled_recall([known(measured)], "net", np.array([700.0])) == pytest.approx(
        [0.4], abs=0.05
    )


def wanted(sizes: Floats) -> Floats:
    """What an object that is looked at is worth."""
    return cases.recall("net", sizes) * usefulness(sizes)


def test_usefulness_rises_a_little_with_the_size() -> None:
    values = usefulness(np.geomspace(1, 1000, 100))
    assert (np.diff(values) >= 0).all()
    assert 0.8 < values[0] < values[-1] == 1


@settings(max_examples=40)
@given(seeds, st.integers(1, 30), st.floats(0.02, 3.0))
def test_value_is_the_sum_of_the_recall_over_the_objects(
    seed: int, count: int, scale: float
) -> None:
    random = np.random.default_rng(seed)
    found = cases.objects(seed, count)
    found = replace(found, size=found.size.clip(2.01, 1000))
    groups = cases.grouped(found, 3, seed)
    worth = Worth.of([Variant("net", 320), Variant("net", 640)], cases.recall, 2.0)
    scales = np.full((len(groups), 2), scale) * random.uniform(0.5, 1, (len(groups), 2))
    values = worth.values(groups.weight, scales)
    # Sizes are binned, and so is the scale: each by half a bin at the most.
    slack = 2 ** (1 / PER_OCTAVE)
    for own, scale_row, row in zip(groups.members, scales, values, strict=True):
        weight, size = found.weight[own], found.size[own]
        for at, value in zip(scale_row, row, strict=True):
            if at > 2.0:
                assert value == 0
                continue
            low, high = (float(weight @ wanted(size * at * by)) for by in (1 / slack, slack))
            assert low - 1e-9 <= value <= high + 1e-9


@settings(max_examples=40)
@given(seeds)
def test_a_sharper_look_finds_no_less(seed: int) -> None:
    groups = cases.grouped(cases.objects(seed, 20), 4, seed)
    worth = Worth.of([Variant("net", 320)], cases.recall, 1.7)
    scales = np.geomspace(0.01, 1.7, 50)
    values = [worth.values(groups.weight, np.full((len(groups), 1), s)) for s in scales]
    assert (np.diff(np.array(values), axis=0) >= -1e-12).all()
    beyond = np.full((len(groups), 1), 1.7 * 1.001)
    assert not worth.values(groups.weight, beyond).any()


@settings(max_examples=40)
@given(
    st.integers(1, 4000),
    st.integers(1, 4000),
    st.lists(st.integers(1, 40).map(lambda k: 32 * k), min_size=1, max_size=4, unique=True),
)
def test_views_are_what_the_network_gets(width: int, height: int, inputs: list[int]) -> None:
    worth = Worth.of([Variant("net", size) for size in inputs], cases.recall, 2.0)
    views = worth.views(np.array([[width, height]], float))
    for column, size in enumerate(inputs):
        scale = size / max(width, height)
        assert views.scale[0, column] == pytest.approx(scale)
        canvas = float(np.prod(canvas_size((width, height), size, 32)))
        shorter = min(width, height) * scale
        if shorter % 32 < 0.5 + 1e-6:  # less than half a row, which resizing may drop
            assert canvas <= views.input_pixels[0, column] <= canvas + 32 * size
        else:
            assert views.input_pixels[0, column] == canvas


# Outlook.


def best_plan(choices: Choices, conditions: Conditions) -> float:
    """The greatest value of any choice of variants, workers and order of sending."""
    blocks, variants = choices.value.shape
    workers = range(len(conditions.speeds))
    best = 0.0
    for chosen in product(range(-1, variants), repeat=blocks):
        sent = [k for k in range(blocks) if chosen[k] >= 0]
        value = sum(choices.value[k, chosen[k]] for k in sent)
        if value <= best or len(sent) > conditions.slots:
            continue
        for order, where in product(permutations(sent), product(workers, repeat=len(sent))):
            link, free = 0.0, dict.fromkeys(workers, 0.0)
            for k, w in zip(order, where, strict=True):
                link += choices.send[k, chosen[k]]
                work = choices.work[k, chosen[k]] / conditions.speeds[w]
                free[w] = max(free[w], link) + work
            if max(free.values()) <= conditions.budget_ms + 1e-9:
                best = value
                break
    return best


@settings(max_examples=60)
@given(
    seeds,
    st.integers(1, 3),
    st.integers(1, 2),
    st.integers(1, 3),
    st.floats(5, 150),
    st.sampled_from([1.0, 20.0]),
)
def test_no_outlook_is_better_than_the_best_plan(
    seed: int, blocks: int, workers: int, slots: int, budget: float, link: float
) -> None:
    """Where working takes long, and where sending does."""
    how = cases.conditions(seed, workers=workers, inputs=(320, 640), budget_ms=budget, slots=slots)
    how = replace(how, send_ms=how.send_ms * link)
    groups = cases.grouped(cases.objects(seed, 12), blocks, seed)
    choices = Choices.of(groups.weight, groups.sides, how)
    view = outlook(choices, how)
    assert 0 <= view.value <= best_plan(choices, how) + 1e-9
    assert 0 <= view.makespan_ms <= budget
    assert (view.value > 0) == (view.makespan_ms > 0)


def test_a_block_is_sent_before_it_is_worked_on() -> None:
    how = cases.conditions(0, workers=2, inputs=(320,), budget_ms=1e4)
    how = replace(how, speeds=np.array([2.0, 0.5]), send_ms=1e-4)
    known_values = np.full((2, 1), 1.0)
    work, send = np.array([[40.0], [30.0]]), np.array([[7.0], [11.0]])
    choices = Choices(np.stack([np.ones((2, 1)), known_values, work, send, work + send]))
    # The fast one takes the longer from 7 to 27, and the other from there to 42.
    assert outlook(choices, how).makespan_ms == pytest.approx(42)
    choices.value[1] = 0.0
    assert outlook(choices, how).makespan_ms == pytest.approx(27)


@settings(max_examples=40)
@given(seeds, st.integers(1, 20), st.integers(1, 6))
def test_an_outlook_heeds_the_slots(seed: int, blocks: int, slots: int) -> None:
    how = cases.conditions(seed, budget_ms=1e6, slots=slots)
    found = cases.grouped(cases.objects(seed, 40), blocks, seed)
    choices = Choices.of(found.weight, found.sides, how)
    choices.value[:] = 1.0 + np.arange(len(found))[:, None] * 1e-3  # as no price parts equals
    assert outlook(choices, how).value <= min(slots, len(found)) * (1 + 1e-3 * len(found))


def test_what_cannot_be_done_in_time_is_worth_nothing() -> None:
    how = cases.conditions(1, budget_ms=0.5)
    first = cases.state(1)
    view = outlook(Choices.of(first.groups.weight, first.groups.sides, how), how)
    assert (view.value, view.makespan_ms) == (0.0, 0.0)
    nothing = Choices.of(np.empty((0, first.groups.weight.shape[1])), np.empty((0, 2)), how)
    assert outlook(nothing, how).value == 0.0


@settings(max_examples=40)
@given(
    seeds,
    st.integers(2, 30),
    st.integers(1, 10),
    st.floats(15, 300),
    st.sampled_from(PRICES.tolist()),
)
def test_a_hint_at_the_price_changes_nothing(
    seed: int, count: int, groups: int, budget: float, near: float
) -> None:
    """It may, but none was found among thousands; should one come up, look at what is lost."""
    first = cases.state(seed, count, groups, budget)
    assert outlook(first.choices, first.conditions, near) == outlook(
        first.choices, first.conditions
    )


@settings(max_examples=40)
@given(seeds, st.floats(10, 300))
def test_four_times_the_time_is_no_worse(seed: int, budget: float) -> None:
    short, long = (cases.state(seed, budget_ms=budget * by).outlook for by in (1.0, 4.0))
    assert long.value >= short.value - 1e-9

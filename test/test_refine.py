"""Merging and splitting groups until they are good, and what the agent sees of them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import partition_cases as cases
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from re_pose_ros.partition import worth as worth_module
from re_pose_ros.partition.groups import PER_OCTAVE, Floats, Groups, Objects
from re_pose_ros.partition.outlook import PRICES
from re_pose_ros.partition.policies import followed, greedy, refined
from re_pose_ros.partition.refine import (
    ACTIONS,
    FRAME_FEATURES,
    GROUP_FEATURES,
    MOST,
    STEPS,
    State,
    Terms,
)
from re_pose_ros.partition.worth import Worth, usefulness
from re_pose_ros.plan import Variant

seeds = st.integers(0, 10_000)
EVERYTHING = Terms(1.0, 0.3, 0.2, 0.1, 0.4)


@settings(max_examples=40)
@given(seeds, st.integers(1, 60), st.integers(1, 40))
def test_what_is_possible_can_be_done_and_nothing_else(seed: int, count: int, groups: int) -> None:
    first = cases.state(seed, count, groups)
    possible = first.possible()
    assert possible.shape == (ACTIONS,) and possible[0]
    assert first.applied(0) is None
    for action in range(1, ACTIONS):
        after = first.applied(action)
        assert (after is not None) == possible[action]
        if after is not None:
            assert len(after.groups) - len(first.groups) == (-1 if action <= MOST else 1)


@settings(max_examples=30)
@given(seeds, st.integers(2, 40), st.integers(1, 10))
def test_a_state_is_the_same_however_it_was_come_by(seed: int, count: int, groups: int) -> None:
    now = cases.state(seed, count, groups)
    random = np.random.default_rng(seed)
    for _ in range(4):
        now = now.applied(int(random.choice(np.flatnonzero(now.possible())))) or now
    fresh = State.of(now.groups, now.conditions)
    assert now.outlook == fresh.outlook
    assert (now.closest == fresh.closest).all()
    ours, theirs = now.changes.splits, fresh.changes.splits
    assert (ours.choices == theirs.choices).all()
    assert (ours.known == theirs.known).all()
    for a, b in zip(ours.groups, theirs.groups, strict=True):
        assert (a is None) == (b is None)
        if a is not None and b is not None:
            assert [own.tolist() for own in a.members] == [own.tolist() for own in b.members]
    for seen, again in zip(now.observed(2), fresh.observed(2), strict=True):
        assert (seen == again).all()


def test_nor_does_it_matter_how_many_groups_there_were() -> None:
    """Of many groups not all are seen; they are once others have been merged."""
    for seed in range(10):
        now = cases.state(seed, 90, MOST + 6)
        while len(now.groups) > MOST - 2:
            now = now.applied(1) or now
        fresh = State.of(now.groups, now.conditions)
        assert (now.possible() == fresh.possible()).all()


def test_the_score_is_the_sum_of_its_terms() -> None:
    first = cases.state(5)
    groups, view, how = first.groups, first.outlook, first.conditions
    areas = groups.sides.prod(axis=1)
    found = view.value / groups.objects.weight.sum()
    used = view.makespan_ms / how.budget_ms
    compact = min((groups.objects.size**2).sum() / areas.sum(), 1)
    expected = 1.0 * found - 0.3 * used + 0.2 * compact
    expected += -0.1 * np.log(areas).std() - 0.4 * len(groups) / how.slots
    assert first.score(EVERYTHING) == pytest.approx(expected)
    assert first.score(Terms()) == pytest.approx(found - 0.1 * used)
    assert 0 < found <= 1 and 0 < used <= 1
    nobody = State.of(Groups.of(groups.objects, []), how)
    assert nobody.score(EVERYTHING) == 0


@settings(max_examples=25)
@given(seeds, st.integers(1, 50), st.integers(1, 12), st.sampled_from([Terms(), EVERYTHING]))
def test_refining_never_ends_worse_than_it_began(
    seed: int, count: int, groups: int, terms: Terms
) -> None:
    first = cases.state(seed, count, groups)
    random = np.random.default_rng(seed)
    visited: list[State] = []

    def wander(now: State, step: int) -> int:
        assert step == len(visited)
        visited.append(now)
        return int(random.integers(1, ACTIONS))

    best = refined(first, STEPS, wander, terms)
    assert 1 <= len(visited) <= STEPS
    assert visited[0] is first
    assert best.score(terms) >= max(state.score(terms) for state in visited)
    assert refined(first, STEPS, lambda now, step: 0, terms) is first
    assert refined(first, STEPS, greedy, terms).score(terms) >= first.score(terms)


@settings(max_examples=25)
@given(seeds, st.integers(1, 50), st.integers(1, 12), st.integers(0, STEPS))
def test_following_ends_where_a_policy_stops(
    seed: int, count: int, groups: int, steps: int
) -> None:
    first = cases.state(seed, count, groups)
    random = np.random.default_rng(seed)
    actions: list[int] = []

    def wander(now: State, step: int) -> int:
        assert step == len(actions)
        can = np.flatnonzero(now.possible())
        actions.append(int(random.choice(can)) if random.random() < 0.9 else 0)
        return actions[-1]

    last, expected = followed(first, steps, wander), first
    assert len(actions) <= steps and 0 not in actions[:-1]
    for action in actions:
        expected = expected.applied(action) or expected
    assert (last.groups.extent == expected.groups.extent).all()
    assert (last is first) == (not actions or actions[0] == 0)


@settings(max_examples=25)
@given(seeds, st.integers(1, 40), st.integers(1, 8))
def test_greedy_takes_what_gains_most_at_the_price_and_else_stops(
    seed: int, count: int, groups: int
) -> None:
    first = cases.state(seed, count, groups)
    price = first.outlook.price

    def net(of: State) -> float:
        return float(of.choices.best(price)[0].sum())

    gains = {0: 0.0}
    for action in np.flatnonzero(first.possible())[1:].tolist():
        after = first.applied(action)
        assert after is not None
        gains[action] = net(after) - net(first)
    chosen = greedy(first, 0)
    # A merged group keeps what its parts were widened by; that may cost a little more.
    assert gains[chosen] == pytest.approx(max(gains.values()), abs=1e-6)
    assert (chosen == 0) == (max(gains.values()) <= 1e-9)


def test_who_may_make_fewer_changes_is_not_told_since_the_next_frame_goes_on() -> None:
    told: list[int] = []

    def count(now: State, step: int) -> int:
        told.append(step)
        return int(np.flatnonzero(now.possible())[1])

    for walk in (followed, refined):
        told.clear()
        walk(cases.state(3, 40, 8), 2, count)
        assert told == [0, 1]


# What the agent sees.


@settings(max_examples=30)
@given(seeds, st.integers(1, 120), st.integers(1, 40), st.floats(15, 400), st.integers(0, STEPS))
def test_observations_are_of_one_shape_and_of_moderate_size(
    seed: int, count: int, groups: int, budget: float, step: int
) -> None:
    now = cases.state(seed, count, groups, budget)
    rows, frame = now.observed(step)
    assert rows.shape == (MOST, GROUP_FEATURES) and frame.shape == (FRAME_FEATURES,)
    assert rows.dtype == frame.dtype == np.float32
    assert np.isfinite(rows).all() and np.isfinite(frame).all()
    there = min(len(now.groups), MOST)
    assert rows[:there].any(axis=1).all() and not rows[there:].any()
    assert np.abs(rows).max() < 10 and np.abs(frame).max() < 10
    assert frame[-1] == pytest.approx(step / STEPS)


def scaled(objects: Objects, by: float) -> Objects:
    """The same seen by a camera of ``by`` times the resolution; ``by`` is a power of two."""
    width, height = objects.frame_size
    return replace(
        objects,
        reach=objects.reach * by,
        centre=objects.centre * by,
        size=objects.size * by,
        bin=objects.bin + round(PER_OCTAVE * np.log2(by)),
        frame_size=(round(width * by), round(height * by)),
        least=objects.least * by,
    )


@settings(max_examples=25)
@given(seeds, st.integers(2, 40), st.integers(1, 8), st.sampled_from([0.5, 2.0]))
def test_observations_are_free_of_pixels(seed: int, count: int, groups: int, by: float) -> None:
    """With frame, boxes, inputs and strides so much larger, and pixels so much cheaper."""
    first = cases.state(seed, count, groups)
    how, seen = first.conditions, first.observed(1)

    def recall(model: str, sizes: Floats) -> Floats:
        # On inputs of so many more pixels objects are found, and of use, as on the others.
        share = usefulness(sizes / by) / usefulness(sizes)
        return np.asarray(cases.recall(model, sizes / by) * share)

    inputs = [Variant("net", round(size * by)) for size in how.worth.input_size.tolist()]
    other = replace(
        how,
        worth=Worth.of(inputs, recall, 2.0),
        pixel_ms=how.pixel_ms / by**2,
        send_ms=how.send_ms / by**2,
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(worth_module, "STRIDE", round(worth_module.STRIDE * by))
        larger = Groups.of(scaled(first.groups.objects, by), list(first.groups.members))
        second = State.of(larger, other)
        for ours, theirs in zip(seen, second.observed(1), strict=True):
            assert theirs == pytest.approx(ours, abs=1e-4)
        assert second.score(EVERYTHING) == pytest.approx(first.score(EVERYTHING))


@settings(max_examples=25)
@given(seeds, st.integers(10, 40), st.integers(3, 8), st.integers(-3, 3))
def test_observations_are_free_of_the_unit_of_time(
    seed: int, count: int, groups: int, steps: int
) -> None:
    """A machine that takes so much longer, given so much more time, but for the grid of prices."""
    first = cases.state(seed, count, groups, 25.0)
    how = first.conditions
    at = int(np.abs(PRICES - first.outlook.price).argmin())
    assume(0 < at - steps < len(PRICES) and at)  # at the least price, time is free
    by = float(PRICES[1] / PRICES[0]) ** steps
    slow = replace(
        how,
        base_ms=how.base_ms * by,
        pixel_ms=how.pixel_ms * by,
        send_ms=how.send_ms * by,
        budget_ms=how.budget_ms * by,
    )
    second = State.of(first.groups, slow)
    assert second.outlook.price == pytest.approx(PRICES[at - steps])
    for ours, theirs in zip(first.observed(0), second.observed(0), strict=True):
        assert theirs == pytest.approx(ours, abs=1e-4)


@settings(max_examples=25)
@given(seeds, st.integers(2, 60), st.integers(2, MOST))
def test_observations_do_not_depend_on_the_order_of_groups(
    seed: int, count: int, groups: int
) -> None:
    first = cases.state(seed, count, groups)
    order = np.random.default_rng(seed).permutation(len(first.groups)).tolist()
    members = [first.groups.members[k] for k in order]
    second = State.of(Groups.of(first.groups.objects, members), first.conditions)
    (rows, frame), (others, other) = first.observed(0), second.observed(0)
    # Groups that cost the same may change places, and the makespan a little with them.
    own = np.arange(FRAME_FEATURES) != 1
    assert other[own] == pytest.approx(frame[own], abs=1e-4)
    assert np.sort(others[:, 0]) == pytest.approx(np.sort(rows[:, 0]), abs=1e-4)
    assert second.outlook.value == pytest.approx(first.outlook.value)

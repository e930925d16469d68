"""The solver: against brute force and an integer programme, and what must hold for all cases."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.optimize import Bounds, LinearConstraint, milp

from re_pose_ros.errors import InputError
from re_pose_ros.planning import OBJECTIVES, Assignment, Objective, Options, solve
from re_pose_ros.planning.local_search import Placement, construct, improve, shorten
from re_pose_ros.planning.problem import CELLS, Problem, reduce_options, relax

CLOSE = 1e-6
WANTED = (
    Objective(),
    Objective("latency", share=0.8),
    Objective("latency", share=1.0),
    Objective("balanced", price=0.05),
    Objective("balanced", price=0.5),
)


def random_options(seed: int, blocks: int, variants: int, workers: int) -> Options:
    """Any values and times; in every third case small integers, so that many are equal."""
    random = np.random.default_rng([seed, blocks, variants, workers])
    if seed % 3 == 0:
        value = random.integers(0, 5, (blocks, variants)).astype(float)
        time = random.integers(1, 6, (workers, blocks, variants)) * 10.0
        if seed % 2:
            time[:] = time[:1]
    else:
        value = np.sort(random.uniform(0, 10, (blocks, variants)), 1)
        work = np.sort(random.uniform(5, 60, (blocks, variants)), 1)
        time = work / random.uniform(0.3, 1, (workers, 1, 1))
        time = time * random.uniform(0.8, 1.25, time.shape)
    time[random.random(time.shape) < 0.1] = np.inf
    return Options.of(
        value,
        time,
        random.uniform(10, 150),
        offset_ms=random.integers(0, 3, workers) * 8.0,
        slots=random.integers(0, blocks + 2, workers),
        required=random.random(blocks) < 0.2,
    )


def realistic_options(seed: int, blocks: int, speeds: tuple[float, ...]) -> Options:
    """Two networks at four input sizes on blocks with 1 to 40 objects."""
    random = np.random.default_rng([seed, blocks])
    size = np.array([160, 320, 480, 640] * 2)
    network = np.repeat([0, 1], 4)
    time = (12 + 58 * (size**2 - 160**2) / (640**2 - 160**2)) * np.where(network, 1.8, 1.0)
    share = np.exp(random.uniform(np.log(0.02), np.log(0.2), (blocks, 1)))
    found = 1 / (1 + np.exp(-1.8 * np.log2(share * size / (14 - 3 * network))))
    value = random.integers(1, 41, (blocks, 1)) * (0.85 + 0.1 * network) * found
    slowness = 1 / np.array(speeds)[:, None, None]
    return Options.of(
        value,
        slowness * time * random.uniform(0.8, 1, (blocks, 1)),
        random.uniform(60, 300),
        slots=8,
    )


def loads(options: Options, plan: Assignment) -> NDArray[np.float64]:
    """When each worker with a block is done; 0 for the others."""
    done = np.zeros(len(options.slots))
    for worker in set(plan.worker.tolist()) - {-1}:
        there = np.flatnonzero(plan.worker == worker)
        times = options.time_ms[worker, there, plan.variant[there]]
        done[worker] = options.offset_ms[worker] + times.sum()
    return done


def check(options: Options, plan: Assignment) -> None:
    """What every assignment owes."""
    sent = np.flatnonzero(plan.worker >= 0)
    np.testing.assert_array_equal(plan.worker >= 0, plan.variant >= 0)
    assert plan.value == pytest.approx(options.value[sent, plan.variant[sent]].sum())
    assert plan.value <= plan.value_bound * (1 + CLOSE)
    done = loads(options, plan)
    assert plan.makespan_ms == pytest.approx(done.max(initial=0.0))
    assert (np.bincount(plan.worker[sent], minlength=len(options.slots)) <= options.slots).all()
    assert plan.over_budget == (plan.makespan_ms > options.budget_ms * (1 + 1e-9))


def brute_force(options: Options) -> tuple[NDArray[np.float64], ...]:
    """(N,) required blocks sent, value and makespan of everything that is within the budget."""
    workers, blocks, variants = options.time_ms.shape
    choices = workers * variants + 1
    picks = np.indices((choices,) * blocks).reshape(blocks, -1).T
    sent = picks < choices - 1
    on, column = picks // variants, np.where(sent, picks % variants, 0)
    rows = np.arange(blocks)
    value = np.where(sent, options.value[rows, column], 0.0).sum(1)
    ok = np.ones(len(picks), bool)
    makespan = np.zeros(len(picks))
    for worker in range(workers):
        here = sent & (on == worker)
        times = np.where(here, options.time_ms[worker, rows, column], 0.0).sum(1)
        done = np.where(here.any(1), options.offset_ms[worker] + times, 0.0)
        ok &= (done <= options.budget_ms + 1e-9) & (here.sum(1) <= options.slots[worker])
        makespan = np.maximum(makespan, done)
    required = (sent & options.required).sum(1)
    return required[ok], value[ok], makespan[ok]


def score(objective: Objective, value: float, makespan: float) -> tuple[float, float]:
    if objective.name == "balanced":
        return value - objective.price * makespan, 0.0
    if objective.name == "latency":
        return 0.0, -makespan
    return value, -makespan


@pytest.mark.parametrize("objective", WANTED, ids=lambda o: f"{o.name}-{o.share}-{o.price}")
def test_small_cases_are_as_good_as_brute_force(objective: Objective) -> None:
    proved = 0
    cases = [
        (seed, blocks, variants, workers)
        for seed in range(3)
        for blocks in (1, 2, 3, 4)
        for variants in (1, 2, 3)
        for workers in (1, 2, 3)
    ]
    for case in cases:
        options = random_options(*case)
        plan = solve(options, objective)
        check(options, plan)
        required, value, makespan = brute_force(options)
        if plan.over_budget:
            assert required.max() == 0
            continue
        assert options.required[plan.worker >= 0].sum() == required.max(), case
        best = required == required.max()
        value, makespan = value[best], makespan[best]
        assert plan.value_bound >= value.max() * (1 - CLOSE), case
        if objective.name == "latency":
            enough = value >= objective.share * value.max() - 1e-9
            if plan.optimal:
                assert plan.value >= objective.share * value.max() - 1e-6, case
            value, makespan = value[enough], makespan[enough]
        oracle = max(score(objective, v, m) for v, m in zip(value, makespan, strict=True))
        if objective.name == "accuracy":
            oracle = value.max(), -makespan[value >= value.max() - 1e-9].min()
        got = score(objective, plan.value, plan.makespan_ms)
        if plan.optimal:
            assert got == pytest.approx(oracle, abs=1e-6), case
            proved += 1
        else:
            assert got[0] <= oracle[0] + 1e-6, case
    assert proved >= 0.9 * sum(not solve(random_options(*c)).over_budget for c in cases)


@pytest.mark.parametrize("tolerated", [0.01, 0.2])
def test_no_more_value_is_missed_than_is_tolerated(tolerated: float) -> None:
    for seed in range(60):
        options = random_options(seed, 5, 3, 2)
        best, quick = solve(options), solve(options, tolerated=tolerated)
        check(options, quick)
        assert quick.value_bound >= best.value - 1e-9
        if best.optimal:
            sent = [options.required[plan.worker >= 0].sum() for plan in (best, quick)]
            assert sent[0] == sent[1], seed
            assert quick.value >= (1 - tolerated) * best.value - 1e-9, seed
            assert quick.value == pytest.approx(best.value) or not quick.optimal, seed


def greatest_value(options: Options) -> float:
    """By integer programming; without required blocks."""
    workers, blocks, _ = options.time_ms.shape
    fits = options.offset_ms[:, None, None] + options.time_ms <= options.budget_ms
    time = np.where(fits, options.time_ms, 0.0)
    index = np.arange(fits.size).reshape(fits.shape)
    rows = np.zeros((blocks + 2 * workers, fits.size))
    for block in range(blocks):
        rows[block, index[:, block].ravel()] = 1
    for worker in range(workers):
        rows[blocks + worker, index[worker].ravel()] = time[worker].ravel()
        rows[blocks + workers + worker, index[worker].ravel()] = 1
    room = np.maximum(options.budget_ms - options.offset_ms, 0)
    result = milp(
        -np.broadcast_to(options.value, fits.shape).ravel(),
        integrality=np.ones(fits.size),
        bounds=Bounds(0, fits.ravel().astype(float)),
        constraints=LinearConstraint(
            rows, ub=np.concatenate([np.ones(blocks), room, options.slots])
        ),
        options={"mip_rel_gap": 1e-9},
    )
    return float(-result.fun)


def test_middling_cases_against_an_integer_programme() -> None:
    gaps, proved = [], 0
    for seed in range(45):
        random = np.random.default_rng(seed)
        shape = (int(random.integers(5, 9)), int(random.integers(1, 5)), int(random.integers(1, 4)))
        options = random_options(seed, *shape)
        options = replace(options, required=np.zeros(shape[0], bool))
        plan = solve(options)
        check(options, plan)
        best = greatest_value(options)
        assert plan.value <= best * (1 + CLOSE)
        assert plan.value_bound >= best * (1 - CLOSE)
        if plan.optimal:
            assert plan.value == pytest.approx(best, rel=CLOSE)
            proved += 1
        gaps.append(1 - plan.value / best if best else 0.0)
    assert proved >= 15
    assert np.mean(gaps) < 0.005
    assert max(gaps) < 0.08


def test_realistic_cases_are_close_to_an_integer_programme() -> None:
    gaps = []
    for seed in range(9):
        speeds = ((1.0, 1.0), (1.0, 0.5), (1.0, 1.0, 0.5))[seed % 3]
        options = realistic_options(seed, 7, speeds)
        plan = solve(options)
        check(options, plan)
        gaps.append(1 - plan.value / greatest_value(options))
    assert min(gaps) > -CLOSE
    assert np.mean(gaps) < 0.01


sizes = st.tuples(st.integers(0, 9999), st.integers(1, 6), st.integers(1, 4), st.integers(1, 4))


@settings(max_examples=60)
@given(sizes, st.sampled_from(OBJECTIVES))
def test_twice_the_times_is_twice_the_makespan(size: tuple[int, int, int, int], name: str) -> None:
    options = random_options(*size)
    scaled = replace(
        options,
        time_ms=options.time_ms * 4,
        offset_ms=options.offset_ms * 4,
        budget_ms=options.budget_ms * 4,
        value=options.value * 8,
    )
    plan = solve(options, Objective(name, price=0.25))
    twin = solve(scaled, Objective(name, price=0.5))
    np.testing.assert_array_equal(plan.worker, twin.worker)
    np.testing.assert_array_equal(plan.variant, twin.variant)
    assert twin.optimal == plan.optimal


@settings(max_examples=60)
@given(sizes, st.floats(1.0, 3.0))
def test_more_budget_never_gives_less(size: tuple[int, int, int, int], factor: float) -> None:
    options = random_options(*size)
    options = replace(options, required=np.zeros(size[1], bool))
    plan = solve(options)
    wide = solve(replace(options, budget_ms=options.budget_ms * factor))
    assume(wide.optimal)
    assert wide.value >= plan.value * (1 - CLOSE)


@settings(max_examples=60)
@given(sizes, st.floats(0.2, 1.0))
def test_a_faster_worker_never_hurts(size: tuple[int, int, int, int], factor: float) -> None:
    options = random_options(*size)
    options = replace(options, required=np.zeros(size[1], bool))
    time = options.time_ms.copy()
    time[0] *= factor
    plan, fast = solve(options), solve(replace(options, time_ms=time))
    assume(fast.optimal)
    assert fast.value >= plan.value * (1 - CLOSE)
    if fast.value <= plan.value * (1 + CLOSE) and plan.optimal:
        assert fast.makespan_ms <= plan.makespan_ms * (1 + CLOSE)


@settings(max_examples=60)
@given(
    st.integers(0, 9999),
    st.integers(1, 18),
    st.integers(1, 7),
    st.integers(1, 8),
    st.sampled_from(WANTED),
)
def test_every_case_is_valid_and_the_same_each_time(
    seed: int, blocks: int, variants: int, workers: int, objective: Objective
) -> None:
    options = random_options(seed, blocks, variants, workers)
    before = [options.value.copy(), options.time_ms.copy(), options.slots.copy()]
    plan, again = solve(options, objective), solve(options, objective)
    check(options, plan)
    np.testing.assert_array_equal(plan.worker, again.worker)
    np.testing.assert_array_equal(plan.variant, again.variant)
    for array, copy in zip([options.value, options.time_ms, options.slots], before, strict=True):
        np.testing.assert_array_equal(array, copy)


def test_latency_and_balanced_trade_value_for_time() -> None:
    for seed in range(8):
        options = realistic_options(seed, 12, (1.0, 1.0, 0.5, 0.33))
        plan = solve(options)
        quick = solve(options, Objective("latency", share=0.8))
        assert quick.value >= 0.8 * plan.value * 0.98
        assert quick.makespan_ms < 0.95 * plan.makespan_ms
        free, fair, dear = (
            solve(options, Objective("balanced", price=price)) for price in (0.0, 0.5, 1e6)
        )
        assert free.makespan_ms == plan.makespan_ms
        assert fair.value - 0.5 * fair.makespan_ms >= plan.value - 0.5 * plan.makespan_ms
        assert dear.makespan_ms == 0


def test_required_blocks_of_little_value_cost_little() -> None:
    for seed in range(12):
        options = realistic_options(seed, 22, (1.0, 1.0, 1.0, 1.0))
        options = replace(options, budget_ms=max(options.budget_ms, 100.0))
        looks = np.arange(22) >= 18
        value = np.where(looks[:, None], 1e-6 * (1 + options.value), options.value)
        options = replace(options, value=value, required=looks)
        bound = solve(options).value_bound
        for name, share in (("accuracy", 0.97), ("latency", 0.85)):
            plan = solve(options, Objective(name, share=0.9))
            check(options, plan)
            assert (plan.worker[looks] >= 0).all()
            assert plan.value >= share * bound


def test_a_required_block_goes_before_any_value() -> None:
    value, time = [[100.0], [0.0]], [[[50.0], [40.0]]]
    assert solve(Options.of(value, time, 60)).worker.tolist() == [0, -1]
    plan = solve(Options.of(value, time, 60, required=[False, True]))
    assert plan.worker.tolist() == [-1, 0]
    assert (plan.value, plan.makespan_ms, plan.over_budget) == (0, 40, False)
    assert plan.optimal
    dear = Objective("balanced", price=1e3)
    assert solve(Options.of(value, time, 60, required=[False, True]), dear).worker.tolist() == [
        -1,
        0,
    ]


def test_a_required_block_that_fits_nowhere_goes_where_it_is_done_first() -> None:
    value = [[5.0, 9.0], [3.0, 4.0]]
    time = [[[200.0, 300.0], [30.0, 60.0]], [[120.0, 150.0], [20.0, 70.0]]]
    options = Options.of(value, time, 65, offset_ms=[0, 10], required=[True, False])
    plan = solve(options)
    # The other block has the other worker to itself.
    assert plan.worker.tolist() == [1, 0]
    assert plan.variant.tolist() == [0, 1]
    assert plan.over_budget
    assert not plan.optimal
    assert (plan.value, plan.makespan_ms) == (9, 130)


def test_of_several_required_blocks_that_are_too_long_one_is_sent() -> None:
    options = Options.of([[1.0]] * 3, [[[90.0], [80.0], [70.0]]], 50, required=True)
    assert solve(options).worker.tolist() == [-1, -1, 0]


# The parts of the solver.


def placed(seed: int, blocks: int, workers: int) -> tuple[Problem, Placement]:
    """A problem and what it begins with."""
    options = random_options(seed, blocks, 3, workers)
    problem = reduce_options(options, 0.0)
    return problem, construct(problem, relax(problem), problem.budget, 0.95)


def done_and_used(problem: Problem, placement: Placement) -> tuple[list[float], list[int]]:
    workers = len(problem.slots)
    done, used = problem.offset.tolist(), [0] * workers
    for block, (worker, variant) in enumerate(zip(*placement, strict=True)):
        if worker < workers:
            done[worker] += problem.time[worker, block, variant]
            used[worker] += 1
    return done, used


def worth(problem: Problem, placement: Placement) -> float:
    sent = placement[0] < len(problem.slots)
    return float(problem.value[np.arange(len(sent)), placement[1]][sent].sum())


def kept(problem: Problem, placement: Placement) -> bool:
    """Whether an assignment keeps to budget and slots."""
    done, used = done_and_used(problem, placement)
    late = any(n and at > problem.budget * (1 + 1e-12) for at, n in zip(done, used, strict=True))
    return not late and bool((np.array(used) <= problem.slots).all())


few = st.tuples(st.integers(0, 9999), st.integers(1, 7), st.integers(1, 4))


@settings(max_examples=60)
@given(few)
def test_the_relaxation_is_the_best_for_every_amount_of_work(case: tuple[int, int, int]) -> None:
    problem, _ = placed(*case)
    relaxation = relax(problem)
    best = np.zeros(CELLS + 1)
    for block in reversed(range(len(problem.block))):
        before = best.copy()
        for cells, value in zip(relaxation.units[block], problem.value[block], strict=True):
            for room in range(int(cells), CELLS + 1):
                best[room] = max(best[room], before[room - cells] + value)
        np.testing.assert_array_equal(relaxation.best[block], best)


@settings(max_examples=60)
@given(few)
def test_nothing_small_is_better_than_the_improved(case: tuple[int, int, int]) -> None:
    problem, begin = placed(*case)
    assert kept(problem, begin)
    found = improve(problem, begin, problem.budget, rounds=1000)
    value = worth(problem, found)
    assert kept(problem, found)
    assert value >= worth(problem, begin) - problem.tolerance
    workers, blocks, variants = problem.time.shape
    least = value + max(2 * problem.tolerance, 1e-9)

    def tried(*moves: tuple[int, int, int]) -> None:
        placement = found[0].copy(), found[1].copy()
        for block, worker, variant in moves:
            placement[0][block], placement[1][block] = worker, variant
        assert not kept(problem, placement) or worth(problem, placement) <= least

    for a in range(blocks):
        for variant in range(variants):
            for worker in range(workers):
                tried((a, worker, variant))
            home = int(found[0][a])
            for b in set(range(blocks)) - {a} if home < workers else ():
                for other in range(variants):
                    tried((a, home, variant), (b, home, other))
                    tried((a, int(found[0][b]), variant), (b, home, other))


@settings(max_examples=60)
@given(few)
def test_shortening_only_places_anew(case: tuple[int, int, int]) -> None:
    problem, begin = placed(*case)
    found = shorten(problem, begin)
    np.testing.assert_array_equal(found[1], begin[1])
    np.testing.assert_array_equal(found[0] < len(problem.slots), begin[0] < len(problem.slots))
    assert kept(problem, found)
    last = [
        max((at for at, count in zip(*done_and_used(problem, p), strict=True) if count), default=0)
        for p in (begin, found)
    ]
    assert last[1] <= last[0] * (1 + 1e-12)


@pytest.mark.parametrize(
    "options",
    [
        Options.of(np.zeros((0, 2)), np.zeros((2, 0, 2)), 50),
        Options.of([[1.0]], np.zeros((0, 1, 1)), 50, required=True),
        Options.of([[1.0]], [[[np.inf]]], 50, required=True),
        Options.of([[1.0]], [[[10.0]]], 50, slots=0, required=True),
        Options.of([[1.0]], [[[10.0]]], 50, offset_ms=np.inf, required=True),
        Options.of([[1.0]], [[[10.0]]], 9),
        Options.of([[0.0]], [[[10.0]]], 50),
    ],
    ids=["no_block", "no_worker", "no_variant", "no_slot", "never_free", "no_time", "no_value"],
)
@pytest.mark.parametrize("objective", WANTED[::2], ids=lambda o: o.name)
def test_nothing_is_sent_where_nothing_can_be(options: Options, objective: Objective) -> None:
    plan = solve(options, objective)
    assert (plan.worker == -1).all()
    assert (plan.value, plan.makespan_ms, plan.over_budget) == (0, 0, False)
    assert plan.optimal


def test_the_last_millisecond_is_used() -> None:
    plan = solve(Options.of([[1.0]] * 6, [[[0.1]] * 6] * 2, 0.3))
    assert plan.value == 6
    assert plan.makespan_ms == pytest.approx(0.3)


def test_slots_keep_the_most_valuable() -> None:
    value = np.arange(1.0, 9.0)[:, None]
    plan = solve(Options.of(value, np.full((2, 8, 1), 1.0), 100, slots=[1, 2]))
    assert plan.value == 8 + 7 + 6
    assert plan.optimal


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"value": np.zeros((1, 2))}, "value is of shape"),
        ({"value": np.array([[np.nan]])}, "finite"),
        ({"value": np.array([[-1.0]])}, "not negative"),
        ({"time_ms": np.array([[[0.0]]])}, "positive"),
        ({"time_ms": np.array([[[np.nan]]])}, "positive"),
        ({"time_ms": np.array([[1.0]])}, "workers, blocks, variants"),
        ({"budget_ms": np.inf}, "budget"),
        ({"budget_ms": -1.0}, "budget"),
        ({"offset_ms": np.array([-1.0])}, "negative"),
        ({"slots": np.array([-1])}, "negative"),
        ({"required": np.array([True, False])}, "required is of shape"),
    ],
)
def test_options_that_make_no_sense(changes: dict[str, object], message: str) -> None:
    options = Options.of([[1.0]], [[[10.0]]], 50)
    with pytest.raises(ValueError, match=message):
        replace(options, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "arguments",
    [{"name": "speed"}, {"share": 0.0}, {"share": 1.5}, {"price": -1.0}, {"price": np.nan}],
)
def test_objectives_out_of_range(arguments: dict[str, object]) -> None:
    with pytest.raises(InputError, match=next(iter(arguments)).replace("name", "objective")):
        Objective(**arguments)  # type: ignore[arg-type]

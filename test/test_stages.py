"""Networks cut anywhere give what the whole gives, and send what is needed, no more."""

from __future__ import annotations

import functools
import itertools
import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from re_pose_ros.coinference.stages import PICTURE, Exit, Stage, StagedNetwork
from re_pose_ros.errors import InputError


def mix(number: int, *values: torch.Tensor) -> torch.Tensor:
    """Depends on the stage, on every input and on their order."""
    return sum(
        (math.sin(number + k + 1) * torch.cos(value + k) for k, value in enumerate(values)),
        start=torch.zeros(()),
    )


def built(inputs: list[tuple[int, ...]], outputs: list[int]) -> StagedNetwork:
    stages = [
        Stage(f"s{k}", functools.partial(mix, k), sources) for k, sources in enumerate(inputs)
    ]
    exits = [Exit(f"e{k}", output) for k, output in enumerate(outputs)]
    return StagedNetwork(tuple(stages), tuple(exits))


@st.composite
def networks(draw: st.DrawFn) -> StagedNetwork:
    count = draw(st.integers(1, 9))
    inputs = [
        tuple(draw(st.lists(st.integers(PICTURE, k - 1), min_size=1, max_size=3)))
        for k in range(count)
    ]
    outputs = draw(st.lists(st.integers(0, count - 1), min_size=1, max_size=3))
    return built(inputs, sorted(outputs))


def paths(network: StagedNetwork, output: int) -> list[list[int]]:
    """Every way from the picture to a stage; the oracle for what is used and what is alive."""
    if output == PICTURE:
        return [[PICTURE]]
    sources = set(network.stages[output].inputs)
    return [[*path, output] for source in sources for path in paths(network, source)]


def whole(network: StagedNetwork, picture: torch.Tensor, output: int) -> torch.Tensor:
    """Every stage in turn, whether it is needed or not."""
    values = {PICTURE: picture}
    for index, stage in enumerate(network.stages):
        values[index] = stage.module(*(values[i] for i in stage.inputs))
    return values[output]


@given(networks())
def test_used_and_alive_are_what_some_path_goes_through(network: StagedNetwork) -> None:
    for exit in network.exits:
        ways = paths(network, exit.output)
        used = sorted({index for way in ways for index in way} - {PICTURE})
        assert list(network.used(exit.name)) == used
        assert set(network.cuts(exit.name)) == {0, *used[1:]}
        for cut in network.cuts(exit.name):
            crossing = {a for way in ways for a, b in itertools.pairwise(way) if a < cut <= b}
            assert network.alive(cut, exit.name) == tuple(sorted(crossing))


@given(networks(), st.integers(0, 2**31 - 1))
def test_any_cut_gives_the_bits_of_the_whole(network: StagedNetwork, seed: int) -> None:
    picture = torch.randn(7, generator=torch.Generator().manual_seed(seed))
    for exit in network.exits:
        expected = whole(network, picture, exit.output)
        assert torch.equal(network.run(picture, exit.name), expected)
        for cut in network.cuts(exit.name):
            values = network.head(picture, cut, exit.name)
            assert torch.equal(network.tail(values, cut, exit.name), expected)


@given(networks())
def test_each_value_that_is_sent_changes_the_result(network: StagedNetwork) -> None:
    picture = torch.linspace(0.3, 2.0, 5)
    for exit in network.exits:
        expected = network.run(picture, exit.name)
        for cut in network.cuts(exit.name):
            for index in network.alive(cut, exit.name):
                values = network.head(picture, cut, exit.name)
                values[index] = values[index] + torch.tensor([0.1, 0.3, 0.5, 0.7, 0.9])
                assert not torch.equal(network.tail(values, cut, exit.name), expected)


@given(networks())
def test_robot_and_edge_share_the_stages_between_them(network: StagedNetwork) -> None:
    ran: list[int] = []

    def noted(number: int, module: Any, *values: torch.Tensor) -> torch.Tensor:
        ran.append(number)
        result: torch.Tensor = module(*values)
        return result

    stages = [
        Stage(s.name, functools.partial(noted, k, s.module), s.inputs)
        for k, s in enumerate(network.stages)
    ]
    watched = StagedNetwork(tuple(stages), network.exits)
    for exit in network.exits:
        for cut in watched.cuts(exit.name):
            ran.clear()
            values = watched.head(torch.ones(2), cut, exit.name)
            on_robot = list(ran)
            watched.tail(values, cut, exit.name)
            assert all(index < cut for index in on_robot)
            assert ran == list(network.used(exit.name))


def test_a_network_of_known_shape() -> None:
    #     picture -> 0 -> 1 -> 2 -> 4 (deep), 1 -> 3 (early), picture -> 4
    network = built([(-1,), (0,), (1,), (1,), (2, -1)], [3, 4])
    assert network.used("e0") == (0, 1, 3)
    assert network.cuts("e0") == (0, 1, 3)
    assert network.cuts("e1") == (0, 1, 2, 4)
    assert [network.alive(cut, "e1") for cut in (0, 1, 2, 4)] == [(-1,), (-1, 0), (-1, 1), (-1, 2)]
    assert network.alive(3, "e0") == (1,)


def test_what_does_not_exist_is_named() -> None:
    network = built([(-1,), (0,), (0,)], [1, 2])
    with pytest.raises(InputError, match="'e5' is none of this network's: e0, e1"):
        network.used("e5")
    with pytest.raises(InputError, match="no cut 1, but 0, 2"):
        network.head(torch.ones(1), 1, "e1")
    with pytest.raises(InputError, match="sends stage 0, not the picture, stage 0"):
        network.tail({0: torch.ones(1), -1: torch.ones(1)}, 2, "e1")
    with pytest.raises(InputError, match="sends stage 0, not nothing"):
        network.tail({}, 2, "e1")


@pytest.mark.parametrize(
    ("inputs", "outputs"),
    [([(0,)], [0]), ([(-1,), (2,), (1,)], [2]), ([()], [0]), ([(-1,)], [1]), ([(-1,)], [])],
)
def test_impossible_graphs_are_refused(inputs: list[tuple[int, ...]], outputs: list[int]) -> None:
    with pytest.raises(ValueError, match=r"stage|exit"):
        built(inputs, outputs)

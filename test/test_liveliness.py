"""What DDS tells of a topic's publishers, also where it does not count them all."""

from __future__ import annotations

import itertools

import pytest

from re_pose_ros.nodes.liveliness import Publishers

Events = list[tuple[str, int, int]]


def after(*events: tuple[str, int, int]) -> bool:
    publishers = Publishers()
    for kind, *counts in events:
        if kind == "matched":
            publishers.matched(counts[0])
        else:
            publishers.told(*counts)
    return publishers.any_alive


FOUND, ALIVE = ("matched", 1, 0), ("told", 1, 0)
LOST, BACK = ("told", 0, 1), ("told", 1, 0)
UNCOUNTED_LOST, UNCOUNTED_BACK = ("told", -1, 1), ("told", 0, 0)


def test_one_that_is_lost_and_comes_back() -> None:
    assert not after()
    assert after(FOUND)
    assert after(ALIVE)
    assert after(FOUND, ALIVE)
    assert not after(FOUND, ALIVE, LOST)
    assert after(FOUND, ALIVE, LOST, BACK)


def test_one_that_was_alive_before_comes_back_each_time() -> None:
    events: Events = [FOUND]
    for _ in range(3):
        events.append(UNCOUNTED_LOST)
        assert not after(*events)
        events.append(UNCOUNTED_BACK)
        assert after(*events)


def test_one_that_was_lost_before_it_was_found_can_be_lost_again() -> None:
    events: Events = [FOUND, ("told", 1, -1)]
    assert after(*events)
    assert not after(*events, ("told", 0, 0))


@pytest.mark.parametrize("counts", [(0, 0), (-1, 0)], ids=["counted", "uncounted"])
def test_one_that_leaves_is_gone_in_whichever_order_that_is_told(counts: tuple[int, int]) -> None:
    before = [FOUND] if counts[0] < 0 else [FOUND, ALIVE]
    for order in itertools.permutations([("told", *counts), ("matched", 0, 0)]):
        assert not after(*before, *order)


@pytest.mark.parametrize("counted", [0, 1])
def test_a_new_one_is_alive_while_its_predecessor_is_given_up(counted: int) -> None:
    """The old one was killed; the new one may be alive before DDS says so of the old one."""
    begin: Events = [FOUND, ("told", 1, 0)] if counted else [FOUND]
    found: Events = [*begin, ("matched", 2, 0), ("told", counted + 1, 0)]
    assert after(*found)
    lost: Events = [*found, ("told", counted, 1)]
    assert after(*lost)
    forgotten = [("told", counted, 0), ("matched", 1, 0)]
    for order in itertools.permutations(forgotten):
        assert after(*lost, *order)
    assert not after(*lost, *forgotten, ("told", counted - 1, 1))

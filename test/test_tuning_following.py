"""How soon choices follow a link, with a robot, a link and a worker on a clock of their own."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest
import tuning_cases as cases

from re_pose_ros.coinference.setting import Setting
from re_pose_ros.detection.profile import Profile, VariantProfile
from re_pose_ros.geometry import Block
from re_pose_ros.plan import DEVICE_NAME, BlockRequest, Plan, PlannedBlock, Slot, Variant
from re_pose_ros.tuning.choosing import NONE, Bounds, Decider
from re_pose_ros.tuning.links import Probing
from re_pose_ros.tuning.rules import Greedy
from re_pose_ros.tuning.sensing import HANDLING_MS, Measurements

TABLE = cases.detector_table()
SIZE, RTT_S, DEADLINE_MS, PERIOD_S = 640, 0.004, 150.0, 0.1
GIVEN_UP_S = 0.5
"""Fusion waits no longer."""
STEP_S = 0.02
FOLLOWS_S = 1.0
SLOW = 6.0
"""The robot needs so many times as long as the table says; it meets the deadline by one exit."""


@dataclass
class World:
    """A link of given rates in Mbit/s from given times on, and what has happened on it.

    Attributes:
        burst: bytes that it lets pass at once when it was idle.
        frames: when each began, its setting, and its latency in ms.
    """

    rates: Sequence[tuple[float, float]]
    burst: int = 0
    sent_bytes: int = 0
    probe_bytes: int = 0
    free_s: float = 0.0
    tokens: float = 0.0
    tokens_s: float = 0.0
    frames: list[tuple[float, Setting, float]] = field(default_factory=list)

    def carried(self, now: float, size: int) -> float:
        """When the last byte of a message is there; infinite where the link stays cut."""
        at, bits = max(now, self.free_s), 8.0 * (size - self.pass_at_once(now, size))
        self.sent_bytes += size
        for k, (_, mbit_s) in enumerate(self.rates):
            end = self.rates[k + 1][0] if k + 1 < len(self.rates) else math.inf
            if at >= end:
                continue
            if mbit_s and at + bits / (mbit_s * 1e6) <= end:
                self.free_s = at + bits / (mbit_s * 1e6)
                return self.free_s + RTT_S / 2
            bits -= mbit_s * 1e6 * (end - at)
            at = end
        return math.inf

    def pass_at_once(self, now: float, size: int) -> float:
        """Of a message, what a token bucket lets through."""
        mbit_s = next(rate for start, rate in reversed(self.rates) if start <= now)
        saved = self.tokens + (now - self.tokens_s) * mbit_s * 1e6 / 8
        passing = min(size, saved, self.burst)
        self.tokens, self.tokens_s = min(saved, self.burst) - passing, now
        return passing

    def late(self) -> list[tuple[float, str, float]]:
        """Frames beyond the deadline that began later than a choice may take to follow."""
        steps = [start for start, _ in self.rates]
        return [
            (round(at, 2), str(setting), round(ms))
            for at, setting, ms in self.frames
            if ms > DEADLINE_MS and not any(s - 0.5 <= at < s + FOLLOWS_S for s in steps)
        ]


def plan_of(stamp: int, setting: Setting) -> Plan:
    slot = Slot("a" if setting.sends else DEVICE_NAME, 0)
    request = BlockRequest(Block(0, 0, SIZE, SIZE), Variant(TABLE.model, SIZE))
    return Plan(stamp, "camera", (PlannedBlock(slot, request),))


class Graph:
    """Frames and probes through a world, watched and steered as the node does it."""

    def __init__(self, world: World, first: str, bounds: Bounds | None = None) -> None:
        self.world, self.setting = world, Setting.parse(first)
        self.decider = Decider(TABLE, Greedy(TABLE), bounds or Bounds())
        self.known = Measurements(TABLE, ["a"])
        entry = VariantProfile(Variant(TABLE.model, SIZE), 47.0)
        hashes = {TABLE.model: TABLE.model_hash}
        self.known.presence("a", True, Profile("a", "cpu", ("b",), (entry,), hashes=hashes))
        entry = VariantProfile(Variant(TABLE.model, SIZE), 42.0 * SLOW)
        self.known.presence(DEVICE_NAME, True, Profile(DEVICE_NAME, "cpu", ("b",), (entry,)))
        self.probing, self.number = Probing(0.5, 32768), 0
        self.events: list[tuple[float, int, object]] = []
        self.costs = TABLE.costs(SIZE)
        self.decided, self.switched = -1.0, -100.0

    def run(self, length_s: float) -> None:
        frame_s, now = 0.0, 0.0
        while now < length_s:
            now = round(now + STEP_S, 6)
            while self.events and self.events[0][0] <= now:
                self.events.sort(key=lambda event: event[:2])
                _, _, act = self.events.pop(0)
                act()  # type: ignore[operator]
            self.probe(now)
            if now >= frame_s:
                done = self.frame(now)
                frame_s = max(frame_s + PERIOD_S, math.ceil(done / PERIOD_S) * PERIOD_S)
            if now - self.decided >= 0.2:
                self.decide(now)

    def later(self, at: float, act: object) -> None:
        if math.isfinite(at):
            self.events.append((at, len(self.events), act))
            self.events.sort(key=lambda event: event[:2])

    def probe(self, now: float) -> None:
        size = self.probing.due(self.known.link("a"), now)
        if size is not None:
            self.number += 1
            number = self.number
            self.probing.sent(number, size, now)
            self.world.probe_bytes += size + 100
            there = self.world.carried(now, size + 100) + RTT_S / 2
            self.later(there, lambda: self.echoed(number, there))
        self.known.waited("a", self.probing.unanswered_s(now))

    def echoed(self, number: int, at: float) -> None:
        small_ms = self.probing.echoed(number, self.known.link("a"), at)
        if small_ms is not None:
            self.known.round_trip("a", small_ms)
            if (larger := self.probing.take()) is not None:
                self.known.transferred("a", *larger, at)

    def frame(self, now: float) -> float:
        """One frame from now; when the next may begin."""
        setting, stamp = self.setting, round(now * 1e9) + 1
        number = TABLE.index(setting)
        robot_ms, edge_ms = SLOW * self.costs.device_ms[number], self.costs.edge_ms[number]
        size = int(self.costs.bits[number] / 8)
        name = "a" if setting.sends else DEVICE_NAME
        self.known.planned(plan_of(stamp, setting), now)
        if setting.sends:
            robot_ms += HANDLING_MS
        sent = now + robot_ms / 1e3
        done = there = sent
        if setting.sends:
            there = self.world.carried(sent, size)
            done = there + edge_ms / 1e3 + RTT_S / 2
        sending = {
            "encode_ms": f"{robot_ms if setting.sends else 0.1}",
            f"setting/{name}": str(setting),
            f"bytes/{name}/slot_0": str(size if setting.sends else 0),
        }
        self.later(sent, lambda: self.tell(stamp, "partitioner", sending, sent))
        worked = {
            "processing_ms": f"{edge_ms if setting.sends else robot_ms}",
            "exit": setting.exit,
        }
        self.later(done, lambda: self.tell(stamp, name, worked, done))
        self.world.frames.append((now, setting, (done - now) * 1e3))
        if done - now > GIVEN_UP_S:
            end, came = now + GIVEN_UP_S, {f"unanswered/{name}": "1", f"waited_ms/{name}": "500"}
        else:
            end, came = done, {f"unanswered/{name}": "0"}
            came[f"answered_ms/{name}"] = f"{(done - now) * 1e3}"
            if setting.sends:
                way = (there - sent + RTT_S / 2) * 1e3
                came[f"transfer_ms/{name}"] = f"{way}"
        self.later(end + 0.002, lambda: self.tell(stamp, "partitioner", came, end + 0.002))
        return end

    def tell(self, stamp: int, node: str, values: dict[str, str], at: float) -> None:
        self.known.told(stamp, node, values, at)

    def decide(self, now: float) -> None:
        measured = self.known.measured("a", DEADLINE_MS, 0.0, now)
        if measured is None:
            return
        settings = TABLE.settings
        last = settings.index(self.setting) if self.setting in settings else NONE
        decision = self.decider.decide(measured, last, now - self.switched)
        self.decided = now
        if decision is not None and decision.changed:
            self.setting, self.switched = settings[decision.number], now


def played(
    *rates: tuple[float, float], first: str = "p5/jpeg90", length_s: float = 30.0, burst: int = 0
) -> World:
    world = World(rates, burst)
    Graph(world, first).run(length_s)
    return world


def used(world: World, since: float, until: float) -> set[str]:
    return {str(setting) for at, setting, _ in world.frames if since <= at < until}


ACCURACY = {str(action.setting): action.accuracy for action in TABLE.actions}


def test_choices_follow_100_5_20_within_a_second() -> None:
    world = played((0, 100), (10, 5), (20, 20))
    assert world.late() == []
    fast, slow, middle = (used(world, start + 2, start + 10) for start in (0, 10, 20))
    assert fast == middle == {"p5/jpeg90"}
    # At 5 Mbit/s that takes 219 ms.
    assert "p5/jpeg90" not in slow and min(ACCURACY[s] for s in slow) > ACCURACY["p4/jpeg90"]


@pytest.mark.parametrize("after", [50.0, 20.0, 8.0, 3.0, 1.0, 0.5, 0.2, 0.05])
def test_any_fall_of_the_link_is_followed_within_a_second(after: float) -> None:
    assert played((0, 100), (10, after)).late() == []


@pytest.mark.parametrize(
    ("after", "least"), [(1.0, "p3/device"), (3.0, "p5/jpeg30"), (20.0, "p5/jpeg90")]
)
def test_a_link_that_rises_is_made_use_of(after: float, least: str) -> None:
    world = played((0, 0.2), (10, after))
    assert world.late() == []
    assert used(world, 2, 10) == {"p3/device"}
    assert min(ACCURACY[s] for s in used(world, 13, 30)) >= ACCURACY[least]


def test_a_cut_link_leaves_the_robot_alone_and_it_comes_back() -> None:
    world = played((0, 50), (10, 0), (20, 50))
    assert world.late() == []
    assert used(world, 11, 20) == {"p3/device"}
    assert used(world, 21, 30) == {"p5/jpeg90"}


@pytest.mark.parametrize("mbit_s", [0.3, 1.0, 3.0])
def test_a_link_that_lets_little_pass_at_once_fools_nobody_for_long(mbit_s: float) -> None:
    world = played((0, 100), (10, mbit_s), length_s=70.0, burst=16_000)
    since = [frame for frame in world.frames if frame[0] >= 11]
    late = [at for at, *_ in world.late()]
    assert len(late) <= 0.05 * len(since)


@pytest.mark.parametrize("mbit_s", [0.05, 1.0, 20.0])
def test_probes_take_little_of_a_link_that_is_not_used(mbit_s: float) -> None:
    world = World([(0, mbit_s)])
    Graph(world, "p3/device", Bounds(cuts=[-1])).run(60.0)
    assert used(world, 0, 60) == {"p3/device"}
    # Small ones count 100 bytes each.
    assert 0 < world.probe_bytes * 8 / 60 < Probing.SHARE * mbit_s * 1e6 + 20_000

"""What a tuner makes of what the nodes tell, in any order."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import replace

import pytest
import tuning_cases as cases

from re_pose_ros.coinference.profile import ActionTable
from re_pose_ros.detection.profile import Profile, VariantProfile
from re_pose_ros.detections import Detections
from re_pose_ros.geometry import Block
from re_pose_ros.plan import DEVICE_NAME, BlockRequest, Plan, PlannedBlock, Slot, Variant
from re_pose_ros.tuning.sensing import Measurements
from re_pose_ros.tuning.state import Measured
from re_pose_ros.tuning.told import WorkerOutcome

TABLE = cases.small_table()
STAMP, PERIOD = 10**18, 200_000_000
JPEG, CUT, EARLY = (TABLE.settings[k] for k in (2, 3, 0))


def profile(table: ActionTable = TABLE, time_ms: float = 170.0, **hashes: str) -> Profile:
    entry = VariantProfile(Variant(table.model, 640), time_ms)
    return Profile("edge", "cpu", ("a",), (entry,), hashes=hashes or {"small": table.model_hash})


def plan(*workers: str, stamp: int = STAMP, side: int = 640) -> Plan:
    """A block of 320 pixels per entry, seen twice as large."""
    counts: dict[str, int] = {}
    blocks = []
    for worker in workers:
        slot = Slot(worker, counts.get(worker, 0))
        counts[worker] = slot.index + 1
        request = BlockRequest(Block(0, 0, side // 2, side // 2), Variant("small", side))
        blocks.append(PlannedBlock(slot, request))
    return Plan(stamp, "camera", tuple(blocks))


def known(workers: tuple[str, ...] = ("a",), table: ActionTable = TABLE) -> Measurements:
    made = Measurements(table, workers)
    for name in workers:
        made.presence(name, True, profile(table))
    return made


def measured(found: Measurements, worker: str = "a", now: float = 1.0) -> Measured:
    made = found.measured(worker, 100.0, 0.0, now)
    assert made is not None
    return made


SENT = {"encode_ms": "10.0", "setting/a": str(JPEG), "bytes/a/slot_0": "50000"}
ANSWERED = {"unanswered/a": "0", "answered_ms/a": "120.0", "transfer_ms/a": "24.0"}
WORKED = {"processing_ms": "170.0", "queued_ms": "8.0", "exit": "last"}


def test_a_frame_tells_all_of_it() -> None:
    found = known()
    assert found.measured("a", 100.0, 0.0, 1.0) is None, "nothing is known yet"
    found.round_trip("a", 4.0)
    found.planned(plan("a"), 0.9)
    found.told(STAMP, "partitioner", SENT, 0.9)
    found.told(STAMP, "a", WORKED, 0.95)
    found.told(STAMP, "partitioner", ANSWERED, 1.0)
    state = found.measured("a", 100.0, 7.0, 1.5)
    assert state is not None
    # 400 kbit in 20 ms and 2 of jitter; 10 - 2 ms for 5 on the robot, 170 for 85 on the worker.
    assert state.bandwidth_mbit_s == pytest.approx(400 / 22)
    assert state.rtt_ms == 4.0 and state.age_s == pytest.approx(0.5)
    assert state.robot_load == pytest.approx((8 + 20) / (5 + 20))
    assert state.edge_load == pytest.approx((170 + 20 * 2) / (85 + 20))
    assert state.edge_wait_ms == pytest.approx(4.0)
    assert state.input_size == 640
    assert (state.deadline_ms, state.robot_busy_ms) == (100.0, 7.0)
    assert (state.connected, state.features) == (1.0, 1.0)
    assert state.shares == pytest.approx((0.5, 0.5))
    assert found.outcomes() == [WorkerOutcome("a", STAMP, 2, 120.0, 50_000)]
    assert found.outcomes() == []


def test_the_order_of_what_is_told_does_not_matter() -> None:
    tellings = [("partitioner", SENT), ("a", WORKED), ("partitioner", ANSWERED)]
    expected = None
    for order in itertools.permutations([*tellings, None]):
        found = known()
        for telling in order:
            if telling is None:
                found.planned(plan("a"), 1.0)
            else:
                found.told(STAMP, *telling, 1.0)
        state = measured(found)
        assert expected is None or state == expected
        expected = state
        assert len(found.outcomes()) == 1


def test_nothing_is_counted_twice() -> None:
    found = known()
    found.planned(plan("a"), 1.0)
    for _ in range(3):
        for node, values in (("partitioner", SENT | ANSWERED), ("a", WORKED)):
            found.told(STAMP, node, values, 1.0)
    assert found.robot_load == pytest.approx(28 / 25)
    assert len(found.outcomes()) == 1


@pytest.mark.parametrize(
    "values",
    [
        {"encode_ms": "much"},
        {"encode_ms": "nan", "setting/a": "last/jpeg70"},
        {"encode_ms": "5", "setting/a": "who knows"},
        {"encode_ms": "5", "setting/a": "last/jpeg71"},
        {"encode_ms": "5", "unanswered/a": "-", "transfer_ms/a": "x", "bytes/a/slot_0": "many"},
        {},
    ],
)
def test_what_cannot_be_read_tells_nothing(values: Mapping[str, str]) -> None:
    found = known()
    found.planned(plan("a"), 1.0)
    found.told(STAMP, "partitioner", values, 1.0)
    found.told(STAMP, "a", {"processing_ms": "-", "queued_ms": "inf", "exit": ""}, 1.0)
    found.told(STAMP, "nobody", {"processing_ms": "3"}, 1.0)
    assert found.robot_load == 1.0 and found.edge_load("a") == pytest.approx(2.0)
    assert found.outcomes() == [] and not found.link("a").known


def test_a_picture_ends_where_the_worker_ends_it() -> None:
    found = known()
    found.planned(plan("a"), 1.0)
    found.told(STAMP, "partitioner", SENT, 1.0)
    found.told(STAMP, "a", WORKED | {"exit": "early"}, 1.0)
    # early/jpeg70 is not in the table, so that the time says nothing.
    assert found.edge_load("a") == pytest.approx(2.0)
    found.planned(plan("a", stamp=STAMP + 1), 1.0)
    found.told(STAMP + 1, "partitioner", SENT | {"setting/a": str(CUT)}, 1.0)
    found.told(STAMP + 1, "a", WORKED | {"exit": "early"}, 1.0)
    # Features name their own exit.
    assert found.edge_load("a") == pytest.approx((170 + 40) / (60 + 20))


def test_loads_begin_with_what_profiles_say() -> None:
    found = Measurements(TABLE, ["a", "b", "c"])
    found.presence("a", True, profile(time_ms=42.5))
    found.presence("b", True, profile(replace(TABLE, model="other")))
    found.presence(DEVICE_NAME, True, profile(time_ms=240.0))
    assert found.edge_load("a") == pytest.approx(0.5)
    assert found.edge_load("b") == found.edge_load("c") == 1.0
    assert found.robot_load == pytest.approx(3.0)


def test_who_can_go_on_from_features() -> None:
    found = Measurements(TABLE, ["a", "b", "c"])
    found.presence("a", True, profile())
    found.presence("b", True, profile(small="ef" * 32))
    found.presence("c", True, profile(other=TABLE.model_hash))
    found.presence("stranger", True, profile())
    assert [found.can_go_on(name) for name in "abc"] == [True, False, False]


def test_blocks_of_a_worker_are_one_of_their_area() -> None:
    table = cases.detector_table()
    found = known(("a", "b"), table)
    found.planned(plan("a", "a", "b"), 1.0)
    for name in "ab":
        found.transferred(name, 1000, 3.0, 1.0)
    assert measured(found).input_size == pytest.approx(640 * math.sqrt(2))
    assert measured(found, "b").input_size == pytest.approx(640)
    settings = {"a": "p5/cut4/6bit", "b": "p5/jpeg70"}
    costs_a, costs_b = table.costs(640 * math.sqrt(2)), table.costs(640)
    numbers = [table.settings.index(s) for s in table.settings if str(s) in settings.values()]
    usual = sum(
        float(costs.device_ms[number])
        for costs, number in zip((costs_b, costs_a), numbers, strict=True)
    )
    told = {"encode_ms": f"{2 * usual}", **{f"setting/{k}": v for k, v in settings.items()}}
    found.told(STAMP, "partitioner", told, 1.0)
    # Three blocks are handled beside.
    assert found.robot_load == pytest.approx((2 * usual - 6 + 20) / (usual + 20), rel=1e-3)


def test_blocks_of_the_robot_are_those_of_the_workers_without() -> None:
    found = known(("a", "b", "c"))
    for name in "abc":
        found.transferred(name, 1000, 3.0, 1.0)
    found.planned(plan("a", DEVICE_NAME, DEVICE_NAME), 1.0)
    assert measured(found, "a").input_size == measured(found, "b").input_size == 640
    told = {"encode_ms": "7", "setting/a": str(JPEG), "setting/device": str(EARLY)}
    found.told(STAMP, "partitioner", told | {"bytes/a/slot_0": "10"}, 1.0)
    assert found.robot_load == 1.0
    found.told(STAMP, DEVICE_NAME, {"processing_ms": "60.0", "exit": "early"}, 1.0)
    # 5 ms of 5 and then 60 of 20.
    assert found.robot_load == pytest.approx((0.8 * 5 + 60 + 20) / (0.8 * 5 + 20 + 20))
    found.told(STAMP, "partitioner", {"unanswered/device": "0", "answered_ms/device": "61"}, 1.0)
    assert found.outcomes() == [
        WorkerOutcome("b", STAMP, 0, 61.0, 0),
        WorkerOutcome("c", STAMP, 0, 61.0, 0),
    ]
    found.planned(plan("a", stamp=STAMP + PERIOD), 1.0)
    assert measured(found, "b").input_size == 640, "it keeps what it had"


def test_the_period_is_that_between_frames() -> None:
    found = known()
    found.transferred("a", 1000, 3.0, 0.0)
    found.planned(plan("a"), 1.0)
    assert measured(found).period_ms == 100.0, "the deadline while nothing is known"
    for k in (1, 2, 3, 9, 10):
        found.planned(plan("a", stamp=STAMP + k * PERIOD), 1.0)
    assert measured(found).period_ms == pytest.approx(200.0)
    found.planned(plan("a", stamp=STAMP), 1.0)
    assert measured(found).period_ms == pytest.approx(200.0), "time has started over"


def test_planning_and_fusing_take_their_part_of_the_deadline() -> None:
    found = known()
    found.transferred("a", 1000, 3.0, 1.0)
    found.planned(plan("a"), 1.0)
    found.told(STAMP, "partitioner", SENT | {"partition_ms": "12.0"}, 1.0)
    assert measured(found).deadline_ms == 100.0
    for _ in range(2):
        found.told(STAMP, "fusion", {"fusion_ms": "8.0"}, 1.0)
        assert measured(found).deadline_ms == pytest.approx(90.0)
    found.told(STAMP + 1, "partitioner", SENT | {"partition_ms": "500"}, 1.0)
    found.told(STAMP + 1, "fusion", {"fusion_ms": "8.0"}, 1.0)
    found.planned(plan("a", stamp=STAMP + 1), 1.0)
    assert measured(found).deadline_ms == 50.0, "half of it is always left"


def test_what_frames_take_beyond_what_is_known_is_set_aside() -> None:
    """A worker has the table's times, a link of 400 kbit in 22 ms, and 9 ms come from nowhere."""
    found = Measurements(TABLE, ["a"])
    found.presence("a", True, profile(time_ms=85.0))
    expected = 5 + 22 + 85
    margins = []
    for k, took in enumerate([expected + 9] * 12 + [expected] * 40):
        found.planned(plan("a", stamp=STAMP + k), 1.0)
        found.told(STAMP + k, "partitioner", SENT | {"encode_ms": "7"}, 1.0)
        found.told(STAMP + k, "a", {"processing_ms": "85", "exit": "last"}, 1.0)
        came = {"unanswered/a": "0", "answered_ms/a": f"{took}", "transfer_ms/a": "20"}
        found.told(STAMP + k, "partitioner", came, 1.0 + 0.2 * k)
        margins.append(100.0 - measured(found).deadline_ms)
    assert margins[0] == pytest.approx(4.5) and margins[11] == pytest.approx(9.0, abs=0.01)
    # It is forgotten more slowly than it is learned.
    assert margins[12] == pytest.approx(0.95 * margins[11])
    assert margins[-1] == pytest.approx(9.0 * 0.95**40, abs=0.01)


def test_objects_are_counted_by_their_size_on_the_networks_input() -> None:
    found = known()
    found.transferred("a", 1000, 3.0, 1.0)
    found.planned(plan("a", "a"), 1.0)
    # 15 and 16 pixels are 30 and 32 of the input; the last was seen by no block.
    boxes = [[0, 0, 15, 15], [0, 0, 16, 16], [0, 0, 100, 100], [0, 0, 90, 90]]
    seen = Detections.of(boxes, [0.9] * 4, [0] * 4)
    found.fused(STAMP, seen)
    assert measured(found).shares == pytest.approx((0.5, 0.5)), "fusion has told nothing"
    found.told(STAMP, "fusion", {"seen_in": "0,1,1,-1"}, 1.0)
    found.fused(STAMP, seen)
    assert measured(found).shares == pytest.approx((1.5 / 4, 2.5 / 4))
    found.fused(STAMP + 1, seen)
    found.fused(STAMP, seen.take([0]))
    assert measured(found).shares == pytest.approx((1.5 / 4, 2.5 / 4))


def test_objects_fade() -> None:
    found = known()
    found.transferred("a", 1000, 3.0, 1.0)
    found.planned(plan("a"), 1.0)
    found.told(STAMP, "fusion", {"seen_in": "0"}, 1.0)
    small, large = ([[0, 0, 8, 8]], [[0, 0, 80, 80]])
    found.fused(STAMP, Detections.of(small, [0.9], [0]))
    found.fused(STAMP, Detections.of(large, [0.9], [0]))
    assert measured(found).shares == pytest.approx((1.2 / 2.7, 1.5 / 2.7))


def lost_frame(found: Measurements, stamp: int = STAMP, **told: str) -> None:
    found.planned(plan("a", stamp=stamp), 2.0)
    found.told(stamp, "partitioner", SENT | {"unanswered/a": "1"} | told, 2.0)


def test_a_worker_without_any_answer_is_away_until_it_is_measured_anew() -> None:
    found = known()
    found.transferred("a", 50_000, 4.0, 1.0)
    found.planned(plan("a"), 1.0)
    lost_frame(found)
    state = measured(found, now=2.0)
    assert state.connected == 0.0 and not found.link("a").known
    assert found.outcomes()[-1].latency_ms == math.inf
    found.told(STAMP, "a", WORKED, 2.5)
    found.round_trip("a", 3.0)
    assert not found.connected("a"), "nobody knows how fast its link is now"
    found.transferred("a", 12_500, 3.0 + 98.0, 3.0)
    state = measured(found, now=3.0)
    assert state.connected == 1.0 and state.bandwidth_mbit_s == pytest.approx(1.0)


def test_a_worker_whose_blocks_got_lost_is_believed_slow_though_probes_are_fast() -> None:
    late = {"waited_ms/a": "500", "encode_ms": "7"}
    found = known()
    lost_frame(found, **late)
    found.round_trip("a", 3.0)
    found.transferred("a", 4000, 3.5, 2.1)
    # 400 kbit did not get through in what 500 ms leave beside 7 and 170 of work.
    assert found.connected("a")
    assert found.link("a").bandwidth_mbit_s == pytest.approx(400 / (500 - 7 - 170), rel=0.03)
    # Probes that are late as well show that the link is full, or, for long, that it was cut.
    for unanswered_s, mbit_s in ((0.6, 400 / (500 - 7 - 170)), (2.1, 32 / 2.5)):
        found = known()
        lost_frame(found, **late)
        found.waited("a", unanswered_s)
        assert not found.connected("a")
        found.round_trip("a", 3.0)
        found.transferred("a", 4000, 3.5, 3.1)
        assert found.connected("a")
        assert found.link("a").bandwidth_mbit_s == pytest.approx(mbit_s, rel=0.03)


def test_frames_beyond_the_deadline_show_what_the_link_cannot_carry() -> None:
    found = known()
    found.transferred("a", 50_000, 4.0, 1.0)
    found.planned(plan("a"), 1.0)
    measured(found)
    came = {"unanswered/a": "0", "answered_ms/a": "300", "transfer_ms/a": "202"}
    found.told(STAMP, "partitioner", SENT | came, 1.2)
    slow = found.link("a").bandwidth_mbit_s
    assert slow == pytest.approx(2.0, rel=0.02)
    found.transferred("a", 5000, 2.5, 1.4)
    assert found.link("a").bandwidth_mbit_s == pytest.approx(slow, rel=0.02)


def test_a_worker_that_is_gone_is_away_and_one_never_seen_is_unknown() -> None:
    found = Measurements(TABLE, ["a", "b"])
    found.planned(plan("a", "b"), 0.0)
    assert found.measured("b", 100.0, 0.0, 1.0) is None
    found.presence("a", True, profile())
    assert found.measured("a", 100.0, 0.0, 1.0) is None
    found.presence("a", False, profile())
    assert measured(found).connected == 0.0
    found.presence("a", True, profile())
    assert measured(found).connected == 0.0
    found.transferred("a", 1000, 3.0, 1.0)
    assert measured(found).connected == 1.0


def test_late_answers_lower_the_bandwidth() -> None:
    found = known()
    found.transferred("a", 50_000, 4.0, 1.0)
    fast = found.link("a").bandwidth_mbit_s
    late = {"bytes/a/slot_0": "25000", "bytes/a/slot_1": "25000", "unanswered/a": "1"}
    for k in range(8):
        stamp = STAMP + k
        found.planned(plan("a", "a", stamp=stamp), 2.0)
        found.told(stamp, "a", WORKED | {"processing_ms": "88"}, 2.0)
        told = SENT | late | {"waited_ms/a": "500"}
        found.told(stamp, "partitioner", told, 2.0 + 0.2 * k)
    # 400 kbit did not get through in 500 - 10 - 88 ms.
    assert fast > 50 and found.link("a").bandwidth_mbit_s == pytest.approx(1.0, rel=0.2)
    assert found.connected("a")


@pytest.mark.parametrize(("unanswered_s", "there"), [(0.4, True), (0.55, True), (0.6, False)])
def test_probes_without_an_answer_tell_that_a_worker_is_away(
    unanswered_s: float, there: bool
) -> None:
    found = known()
    found.round_trip("a", 20.0)
    found.transferred("a", 1000, 22.0, 1.0)
    found.waited("a", unanswered_s)
    assert found.connected("a") is there

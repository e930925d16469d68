"""The methods of a bench: what they plan, and what they are called."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import bench_model
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from re_pose_ros.bench import methods as bench_methods
from re_pose_ros.bench import tiled
from re_pose_ros.bench.methods import (
    DEFAULT,
    Method,
    MethodSettings,
    make_methods,
)
from re_pose_ros.bench.oracle import Oracle
from re_pose_ros.bench.partitioners import sahi_slices, true_objects
from re_pose_ros.bench.planners import Planner
from re_pose_ros.bench.profiles import worker_profiles
from re_pose_ros.detections import Detections
from re_pose_ros.errors import InputError
from re_pose_ros.frame import Frame
from re_pose_ros.geometry import Block, whole
from re_pose_ros.ground_truth import GroundTruth
from re_pose_ros.partition.agent import Agent
from re_pose_ros.partition.base import FrameOutcome, PartitionContext, PartitionSettings
from re_pose_ros.partition.policies import greedy
from re_pose_ros.partition.re_pose import RePose, RePoseOptions
from re_pose_ros.plan import Variant

SPEEDS = {"edge_0": 0.5, "edge_1": 2.0, "edge_2": 1.0}
FRAME = Frame(np.zeros((720, 1280, 3), np.uint8), 0)
TRUTH = GroundTruth.of(
    [(100, 100, 130, 140), (1000, 500, 1060, 580), (600, 20, 610, 40)],
    [0, 1, 0],
    ignore=[False, False, True],
)


@pytest.fixture(autouse=True)
def policy(monkeypatch: pytest.MonkeyPatch) -> None:
    """That of the package has tests of its own."""
    monkeypatch.setattr(Agent, "load", classmethod(lambda cls: greedy))


def only(name: str, **options: object) -> Method:
    made = MethodSettings(("net",), SPEEDS, **options)  # type: ignore[arg-type]
    (method,), _ = make_methods([name], made)
    return method


def blocks_of(method: Method, truth: GroundTruth = TRUTH) -> list[Block]:
    return [planned.block for planned in method.plan(FRAME, truth)]


@settings(max_examples=200)
@given(
    st.tuples(st.integers(1, 4000), st.integers(1, 3000)),
    st.integers(32, 1280),
    st.sampled_from([0.0, 0.1, 0.2, 0.25, 0.5, 0.9]),
)
def test_slices_are_those_of_sahi(size: tuple[int, int], tile: int, overlap: float) -> None:
    slicing = pytest.importorskip("sahi.slicing", reason="needs the sahi package")
    theirs = slicing.get_slice_bboxes(size[1], size[0], tile, tile, False, overlap, overlap)
    assert [list(block.xyxy) for block in sahi_slices(size, tile, overlap)] == theirs


def test_tiles_are_sahis_slices_and_a_look_at_the_whole_frame() -> None:
    plan = only("tiles").plan(FRAME, TRUTH)
    assert [p.block for p in plan] == [*sahi_slices(FRAME.size, 640, 0.2), whole(1280, 720)]
    assert {p.request.variant for p in plan} == {Variant("net", 640)}
    assert {p.slot.worker for p in plan} == set(SPEEDS)
    small = only("tiles", partition=PartitionSettings(tile_size=2000))
    assert blocks_of(small) == [whole(1280, 720)], "no second look at the same"


def test_the_frame_goes_whole_to_one_worker() -> None:
    for size in (640, 1280, 96):
        (planned,) = only(f"whole_{size}").plan(FRAME, TRUTH)
        assert planned.request.variant == Variant("net", size)
        assert planned.block == whole(1280, 720) and planned.slot.worker == "edge_1"


def test_sahi_gets_the_frame_as_it_is_on_the_fastest_worker() -> None:
    pytest.importorskip("sahi", reason="needs the sahi package")
    for name in ("sahi", "sahi_greedynmm"):
        method = only(name)
        (planned,) = method.plan(FRAME, TRUTH)
        assert method.job == name and not method.remembers
        assert planned.slot.worker == "edge_1" and planned.request.image_size == (1280, 720)


def test_ground_truth_looks_where_objects_are_and_nowhere_else() -> None:
    method = only("ground_truth")
    for _ in range(2):
        boxes = np.array([block.xyxy for block in blocks_of(method)])
        for x1, y1, x2, y2 in TRUTH.xyxy[:2]:
            inside = (boxes[:, :2] <= (x1, y1)).all(axis=1) & (boxes[:, 2:] >= (x2, y2)).all(axis=1)
            assert inside.any()
        assert len(boxes) == 2 and whole(1280, 720).xyxy not in map(tuple, boxes)
        method.observe(FrameOutcome(Detections.empty()))
    assert blocks_of(method, GroundTruth.empty()) == [whole(1280, 720)]


def test_elf_has_native_inputs_a_part_per_worker_and_its_authors_looks() -> None:
    method = only("elf")
    seen = Detections.of([(100 * k, 300, 100 * k + 20, 340) for k in range(12)], [1] * 12, [0] * 12)
    sizes = []
    for turn in range(4):
        plan = method.plan(FRAME, TRUTH)
        if turn == 2:
            widths = {p.slot.worker: p.block.width for p in plan}
        sizes.append(sorted(p.request.variant.input_size for p in plan if p.request.variant))
        method.observe(FrameOutcome(seen))
    assert [len(s) for s in sizes] == [1, 3, 3, 4] and sizes[0] == [1280]
    often = only("elf", partition=PartitionSettings(look_every=1), changed={"look_every"})
    for _ in range(3):
        assert whole(1280, 720) in blocks_of(often)
        often.observe(FrameOutcome(seen))
    assert widths["edge_1"] > widths["edge_2"] > widths["edge_0"]


def test_a_method_forgets_where_a_sequence_begins() -> None:
    method = only("clusters")
    first = blocks_of(method)
    method.observe(FrameOutcome(Detections.of([(100, 100, 140, 140)], [0.9], [0])))
    assert blocks_of(method) != first
    method.begin()
    assert blocks_of(method) == first


def test_memory_is_told() -> None:
    made, missing = make_methods([*DEFAULT, "uniform"], MethodSettings(("net",), SPEEDS))
    remembering = {method.name for method in made if method.remembers}
    assert remembering == {"clusters", "elf", "greedy", "re_pose"}
    assert {method.name for method in made} | missing.keys() == {*DEFAULT, "uniform"}


def test_what_is_not_installed_is_named_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench_methods, "has_tiles", lambda: False)
    monkeypatch.setattr(bench_methods, "find_spec", lambda name: None)
    names = ["tiles", "sahi", "ultralytics_tile"]
    made, missing = make_methods(names, MethodSettings(("n",), SPEEDS))
    assert [method.name for method in made] == ["tiles"]
    assert "pip install sahi" in missing["sahi"]
    assert "has no option tile" in missing["ultralytics_tile"]
    monkeypatch.setattr(bench_methods, "has_tiles", lambda: True)
    assert only("ultralytics_tile").job == "ultralytics_tile"


PLANNERS = {
    "re_pose": (RePoseOptions(), 150.0, "accuracy"),
    "re_pose@120": (RePoseOptions(), 120.0, "accuracy"),
    "greedy@62.5": (RePoseOptions("greedy"), 62.5, "accuracy"),
    "re_pose_no_agent": (RePoseOptions("none"), 150.0, "accuracy"),
    "re_pose_no_tracking@80": (RePoseOptions(tracking=False), 80.0, "accuracy"),
    "re_pose_no_knapsack": (RePoseOptions(knapsack=False), 150.0, "accuracy"),
    "greedy_no_perspective": (RePoseOptions("greedy", perspective=False), 150.0, "accuracy"),
    "re_pose_latency@90": (RePoseOptions(), 90.0, "latency"),
    "re_pose_truth_balanced@90": (RePoseOptions(), 90.0, "balanced"),
    "oracle@70": (RePoseOptions(), 70.0, "accuracy"),
}


@pytest.mark.parametrize("name", PLANNERS)
def test_planners_are_named_by_what_they_are(name: str) -> None:
    method: Any = only(name)
    planner: Any = method._partitioner
    assert isinstance(planner, RePose) and isinstance(planner, Oracle) == name.startswith("oracle")
    settings = planner.settings
    assert (planner.options, settings.budget_ms, settings.objective) == PLANNERS[name]
    assert method.name == name and method.remembers and method.learns_from_all
    assert method.told == ("truth" in name or "oracle" in name)
    assert (method.search is None) == (not name.startswith("oracle"))


@pytest.mark.parametrize(
    "name", ["re_pose_", "greedy_no_agent", "re_pose_no_legs", "re_pose@", "oracle_truth", "re_pos"]
)
def test_other_names_are_no_planners(name: str) -> None:
    assert Planner.parse(name) is None


def test_a_budget_may_be_given_beside_the_name() -> None:
    method: Any = only("re_pose_truth", budgets={"re_pose_truth": 40.0})
    assert method._partitioner.settings.budget_ms == 40.0
    with pytest.raises(InputError, match="has its budget in its name"):
        only("re_pose@50", budgets={"re_pose@50": 40.0})
    with pytest.raises(InputError, match="'clusters' heeds no budget"):
        only("clusters", budgets={"clusters": 40.0})
    with pytest.raises(InputError, match=r"budget_ms = 2\.0 is not in"):
        only("greedy@2")


def test_planners_get_all_that_the_graph_would_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    contexts: list[PartitionContext] = []
    original = RePose.partition

    def partition(self: RePose, context: PartitionContext) -> Any:
        contexts.append(context)
        return original(self, context)

    monkeypatch.setattr(RePose, "partition", partition)
    profiles = worker_profiles(bench_model.profile("net"), SPEEDS)
    method: Any = only("re_pose_truth", profiles=profiles, slots=5)
    plan = method.plan(Frame(FRAME.image, 3, stamp_ns=1234), TRUTH)
    (context,) = contexts
    assert context.workers == dict.fromkeys(SPEEDS, 5) and context.slots == 15
    assert context.profiles == profiles and context.stamp_ns == 1234
    assert context.thumbnail is not None and context.thumbnail.shape == (18, 32)
    assert plan and method.expected is not None and method.expected.budget_ms == 150.0


def test_the_truth_that_is_told_is_in_the_frame_and_to_be_found() -> None:
    truth = GroundTruth.of(
        [(-20, 10, 20, 40), (100, 100, 130, 140), (1300, 0, 1400, 40), (5, 5, 25, 25)],
        [2, 1, 0, 0],
        ignore=[False, False, False, True],
        track_id=[9, 7, 5, -1],
    )
    told = true_objects(truth, (1280, 720))
    assert told.xyxy.tolist() == [[0, 10, 20, 40], [100, 100, 130, 140]]
    assert told.class_id.tolist() == [2, 1] and told.weight.tolist() == [1, 1]
    assert told.track_id.tolist() == [9, 7]
    assert true_objects(TRUTH, (1280, 720)).track_id.tolist() == [0, 1], "nobody is tracked"


@pytest.mark.parametrize(
    ("names", "reason"),
    [
        (["tiles", "grid"], "method 'grid' is unknown; known: whole_640, "),
        (["whole_0"], "method 'whole_0' is unknown"),
        (["tiles", "tiles"], "method 'tiles' is given twice"),
    ],
)
def test_names_have_to_be_known(names: list[str], reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        make_methods(names, MethodSettings(("net",), SPEEDS))


def test_ultralytics_tiles_are_asked_for_as_it_documents(monkeypatch: pytest.MonkeyPatch) -> None:
    """By a stand-in: the installed version may not have them yet."""
    asked: list[dict[str, Any]] = []
    rows = torch.tensor([[10.0, 20.0, 30.0, 40.0, 0.8, 1.0]])

    def load_predictor(path: Path, options: dict[str, Any]) -> Any:
        asked.append(options)
        return lambda image: [SimpleNamespace(boxes=SimpleNamespace(data=rows))]

    monkeypatch.setattr(tiled, "load_predictor", load_predictor)
    found = tiled.tiled_detect("scene-n", 0.1, 640)(FRAME.image)
    assert found.xyxy.tolist() == [[10, 20, 30, 40]] and found.class_id.tolist() == [1]
    (options,) = asked
    assert (options["tile"], options["imgsz"], options["conf"]) == (640, 640, 0.1)


def test_planners_choose_from_all_networks_and_others_have_the_first() -> None:
    networks = MethodSettings(("small", "large"), SPEEDS, input_sizes=(320, 640))
    names = ["clusters", "re_pose@50", "re_pose@50/small", "clusters/large", "whole_640/large"]
    made, _ = make_methods(names, networks)
    assert [method.name for method in made] == names
    asked = [[str(variant) for variant in method.variants] for method in made]  # type: ignore[attr-defined]
    assert asked[0] == ["small@320", "small@640"]
    assert asked[1] == ["small@320", "small@640", "large@320", "large@640"]
    assert asked[2] == asked[0]
    assert asked[3] == ["large@320", "large@640"]
    assert asked[4] == ["large@640"]


def test_budgets_go_to_the_method_by_its_whole_name() -> None:
    networks = MethodSettings(("small", "large"), SPEEDS, budgets={"re_pose/large": 70.0})
    made, _ = make_methods(["re_pose", "re_pose/large"], networks)
    budgets = [method.make().settings.budget_ms for method in made]  # type: ignore[attr-defined]
    assert budgets == [150.0, 70.0]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("clusters/medium", "not there; there are small, large"),
        ("clusters/", "not there"),
        ("sahi/large", "leave out '/large'"),
    ],
)
def test_networks_that_a_method_cannot_have(name: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        make_methods([name], MethodSettings(("small", "large"), SPEEDS))

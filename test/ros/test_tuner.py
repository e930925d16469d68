"""The tuner sets what it chooses, keeps to its bounds, and says why it does not."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from fine_tuning_cases import informed_policy, recorded, write_policy
from vision_msgs.msg import Detection2DArray

from re_pose_ros.coinference.profile import Action, ActionTable
from re_pose_ros.coinference.setting import Setting
from re_pose_ros.errors import EXIT_BAD_INPUT
from re_pose_ros.graph.description import describe
from re_pose_ros.nodes import qos
from re_pose_ros.tuning.transitions import TransitionLog, read_transitions

from .harness import Bench

pytestmark = pytest.mark.ros

FIGURES = {
    "full/device": (0.6, 60.0, 0.0, 0.0),
    "full/jpeg50": (0.7, 3.0, 62.0, 20_000.0),
    "full/jpeg95": (0.9, 3.0, 62.0, 60_000.0),
    "full/cut4/8bit": (0.8, 30.0, 40.0, 15_000.0),
    "full/cut999/8bit": (0.95, 1.0, 1.0, 10.0),
}
"""Accuracy, times on robot and worker in ms, and bytes; made up but for their order."""

USUAL_CUTS = [-1, 0, 4]
"""All that the network has."""


def action_table(model_hash: str = "ab" * 32) -> ActionTable:
    actions = tuple(
        Action(Setting.parse(text), accuracy, None, (robot,), (worker,), (size,))
        for text, (accuracy, robot, worker, size) in FIGURES.items()
    )
    return ActionTable("detector", "scene-n", model_hash, {}, (320,), (16.0,), actions)


class Tuned:
    """A graph with one worker and a tuner."""

    def __init__(
        self, bench: Bench, table: ActionTable, changed: Mapping[str, str] | None = None
    ) -> None:
        self.bench, self.table = bench, table
        self.transitions = bench.folder / "transitions.jsonl"
        path = bench.folder / "table.json"
        table.write(path)
        self.results = bench.probe.subscribe("detections", Detection2DArray, qos.reliable(100))
        arguments = {
            "namespace": bench.namespace,
            "workers": "1",
            "model": "scene-n",
            "input_sizes": "320",
            "source": "scene:plaza?seed=501&size=1280x720",
            "camera.loop": "true",
            "camera.rate": "5",
            "detector.profile_repeats": "1",
            "detector.threads": "1",
            "partitioner": "uniform",
            "partitioner.tile_size": "640",
            "partitioner.coinference.input_sizes": "320",
            "partitioner.deadline": "5",
            "fusion.deadline": "5",
            "tuner": "true",
            "tuner.table": str(path),
            "tuner.policy": "greedy",
            "tuner.deadline_ms": "20000",
            "tuner.cuts": ",".join(map(str, USUAL_CUTS)),
            "tuner.fine_tune": "true",
            "tuner.transitions": str(self.transitions),
            "log_level": "warn",
            **(changed or {}),
        }
        bench.start_graph(describe(arguments))

    def wait_for_frames(self, count: int, limit_s: float = 60.0) -> None:
        """Until so many more are fused."""
        wanted = len(self.results) + count
        self.bench.wait_for(lambda: len(self.results) >= wanted, f"{count} frames", limit_s)

    def in_force(self) -> dict[str, list[object]]:
        names = ("exit", "cut", "bits", "quality")
        probe = self.bench.probe
        return {n: list(probe.get_parameter("partitioner", f"coinference.{n}")) for n in names}

    def wait_for(self, name: str, value: object, limit_s: float = 60.0) -> None:
        """Until a parameter of the partitioner is that for its worker."""
        self.bench.wait_for(
            lambda: self.in_force()[name] == [value], f"coinference.{name} = {value}", limit_s
        )

    def wait_for_setting(self, text: str) -> None:
        """Until frames go by a setting."""
        told = self.bench.probe.telemetry["partitioner"]
        start = set(told)

        def found() -> bool:
            fresh = [values for stamp, values in list(told.items()) if stamp not in start]
            return any(text in values.values() for values in fresh)

        self.bench.wait_for(found, f"frames by {text}")

    def set(self, name: str, value: object) -> None:
        assert self.bench.probe.set_parameter("tuner", name, value) == (True, "")


@pytest.fixture(scope="module")
def tuned(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tuned]:
    pytest.importorskip("ultralytics")
    from re_pose_ros.coinference.halves import Halves
    from re_pose_ros.detection.model import load_model

    table = action_table(Halves.of(load_model("scene-n", threads=1)).model_hash)
    with Bench("tuned", tmp_path_factory.mktemp("tuned")) as bench:
        made = Tuned(bench, table)
        made.wait_for_frames(1, 120.0)
        yield made


@pytest.fixture(autouse=True)
def unbounded(request: pytest.FixtureRequest) -> None:
    """Every test begins with the tuner as it was started."""
    if "tuned" in request.fixturenames:
        made: Tuned = request.getfixturevalue("tuned")
        for name, value in (("cuts", USUAL_CUTS), ("qualities", [0]), ("enabled", True)):
            made.set(name, value)


def test_what_is_best_by_the_table_is_set(tuned: Tuned) -> None:
    tuned.wait_for("quality", 95)
    assert tuned.in_force() | {"bits": []} == {
        "exit": ["full"],
        "cut": [0],
        "quality": [95],
        "bits": [],
    }
    tuned.wait_for_setting("full/jpeg95")
    status = tuned.bench.wait_for_health("tuner", "edge_0 full/jpeg95", level=0)
    assert int(status.values["decisions"]) > 0


def test_telemetry_tells_what_was_chosen_and_why(tuned: Tuned) -> None:
    told = tuned.bench.probe.telemetry["tuner"]
    heard = tuned.bench.wait_for(
        lambda: next((v for v in list(told.values()) if "predicted_ms/edge_0" in v), None),
        "telemetry of the tuner",
    )
    numbers = {k: float(v) for k, v in heard.items() if not k.startswith("setting/")}
    assert numbers["connected/edge_0"] == 1
    for key in ("bandwidth_mbit_s/edge_0", "edge_load/edge_0", "robot_load", "decide_ms"):
        assert numbers[key] > 0
    assert numbers["rtt_ms/edge_0"] >= 0
    Setting.parse(heard["setting/edge_0"])
    print(numbers)


def bounded(tuned: Tuned, cuts: Sequence[int], setting: str) -> float:
    """Allow these cuts alone; seconds until the partitioner has it."""
    started = time.monotonic()
    tuned.set("cuts", list(cuts))
    tuned.wait_for("cut", Setting.parse(setting).cut)
    took = time.monotonic() - started
    tuned.wait_for_setting(setting)
    return took


def test_bounds_are_kept_to_and_followed_while_running(tuned: Tuned) -> None:
    tuned.wait_for("quality", 95)
    times = [
        bounded(tuned, [4], "full/cut4/8bit"),
        bounded(tuned, [-1], "full/device"),
        bounded(tuned, [-1, 4], "full/cut4/8bit"),
        bounded(tuned, [0], "full/jpeg95"),
    ]
    print("set after", [f"{s:.2f} s" for s in times])
    tuned.set("qualities", [50])
    tuned.wait_for("quality", 50)


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("cuts", [7], "the bounds leave no setting"),
        ("least_accuracy", 0.99, "the best has 0.900"),
        ("policy", "fixed", "needs fixed_setting"),
        ("policy", "/nowhere.npz", "does not exist"),
        ("table", "other.json", "read at start only"),
    ],
)
def test_what_cannot_be_is_refused(tuned: Tuned, name: str, value: object, reason: str) -> None:
    taken, why = tuned.bench.probe.set_parameter("tuner", name, value)
    assert not taken and reason in why


def test_switched_off_it_leaves_everything_as_it_is(tuned: Tuned) -> None:
    tuned.wait_for("quality", 95)
    tuned.set("enabled", False)
    tuned.bench.wait_for_health("tuner", "switched off", level=0)
    assert tuned.bench.probe.set_parameter("partitioner", "coinference.quality", [30])[0]
    decisions = tuned.bench.probe.health["tuner"][-1].values["decisions"]
    tuned.wait_for_frames(5)
    status = tuned.bench.wait_for_health("tuner", "switched off")
    assert status.values["decisions"] == decisions
    assert tuned.in_force()["quality"] == [30]
    tuned.set("enabled", True)
    tuned.wait_for("quality", 95)


def test_what_decisions_led_to_is_kept(tuned: Tuned) -> None:
    def found() -> bool:
        return tuned.transitions.exists() and len(tuned.transitions.read_text().splitlines()) > 3

    tuned.bench.wait_for(found, "transitions")
    for entry in read_transitions(tuned.transitions, tuned.table):
        assert entry.worker == "edge_0" and entry.latency_ms > 0
        assert (entry.size > 0) == tuned.table.settings[entry.action].sends


def test_what_the_partitioner_refuses_is_told_and_not_asked_for_again(tuned: Tuned) -> None:
    tuned.wait_for("quality", 95)
    tuned.set("cuts", [-2])
    text = "partitioner refused a setting: scene-n cannot be cut at 999"
    tuned.bench.wait_for_health("tuner", text, level=1, refused="1")
    tuned.wait_for_frames(5)
    status = tuned.bench.wait_for_health("tuner", text, refused="1")
    assert status.values["setting/edge_0"] == "full/jpeg95"
    assert tuned.in_force()["cut"] == [0]


# Why it does not; nothing here needs a network.


def start(bench: Bench, **parameters: object) -> None:
    path = bench.folder / "table.json"
    action_table().write(path)
    bench.node("tuner", table=str(path), policy="greedy", **parameters)


def test_a_missing_partitioner_is_told_with_the_way_out(bench: Bench) -> None:
    start(bench)
    bench.wait_for_health("tuner", "no partitioner is there; start it in this namespace", level=2)


def test_a_robot_without_a_network_is_told_with_the_way_out(bench: Bench) -> None:
    start(bench)
    bench.node("partitioner")
    way_out = "the robot has no network; set coinference.model of the partitioner to scene-n"
    bench.wait_for_health("tuner", way_out, level=2)


def refused(bench: Bench, **parameters: object) -> str:
    child = bench.node("tuner", **parameters)
    assert child.wait() == EXIT_BAD_INPUT
    lines = [line for line in child.lines if line.strip()]
    assert len(lines) == 1, lines
    return lines[0]


def test_files_that_do_not_fit_end_it_with_one_line(bench: Bench, tmp_path: Path) -> None:
    path, broken = tmp_path / "table.json", tmp_path / "policy.npz"
    action_table().write(path)
    broken.write_bytes(b"nothing")
    assert "cannot be read" in refused(bench, table=str(path), policy=str(broken))
    missing = refused(bench, table=str(tmp_path / "none.json"), policy="greedy")
    assert "there is no table of actions" in missing and "none.json" in missing
    assert "leave no setting" in refused(bench, table=str(path), policy="greedy", cuts=[7])


# Fine-tuning, with a real process that learns.


def quick_table(model_hash: str) -> ActionTable:
    """Settings that are all in time, so that what comes of them is much the same."""
    return action_table(model_hash).only(lambda setting: setting.cut in (-1, 0))


def learned_from(path: Path, table: ActionTable, base: Path, slower: float) -> None:
    """Transitions that a tuner might have kept before: the robot alone is so much slower."""
    from re_pose_ros.training.tuner_task import task_of
    from re_pose_ros.tuning.choosing import make_chooser

    actual = replace(
        table,
        actions=tuple(
            action
            if action.setting.sends
            else replace(action, device_ms=tuple(slower * ms for ms in action.device_ms))
            for action in table.actions
        ),
    )
    traces = task_of(table, table).traces(5, 6, 201)
    log = TransitionLog(path, table, 100_000)
    for entry in recorded(make_chooser(str(base), table), table, traces, actual):
        log.add(entry)


@pytest.mark.timeout(400)
def test_a_policy_is_fine_tuned_by_another_process_and_used(tmp_path: Path) -> None:
    pytest.importorskip("ultralytics")
    pytest.importorskip("stable_baselines3")
    from re_pose_ros.coinference.halves import Halves
    from re_pose_ros.detection.model import load_model

    table = quick_table(Halves.of(load_model("scene-n", threads=1)).model_hash)
    base = informed_policy(tmp_path / "base.npz", table)
    with Bench("fine_tuned", tmp_path) as bench:
        learned_from(tmp_path / "transitions.jsonl", table, base, 3.0)
        tuned = Tuned(
            bench,
            table,
            {
                "tuner.policy": str(base),
                "tuner.fine_tune_folder": str(tmp_path / "fine_tuning"),
                "tuner.fine_tune_every": "5",
                # While it watches, the next candidate does not take the verdict's place.
                "tuner.fine_tune_window": "60",
                "tuner.cuts": "-2",
            },
        )
        tuned.wait_for_frames(1, 120.0)
        status = bench.wait_for_health("tuner", limit_s=300.0, **{"fine_tune/used": "1"})
        in_use = status.values["fine_tune/in_use"]
        assert in_use.startswith("policy_") and (tmp_path / "fine_tuning" / in_use).exists()
        verdict = json.loads((tmp_path / "fine_tuning" / "verdict.json").read_text())
        assert verdict["passed"] and verdict["figures"]["records"]["gain"] > 0
        tuned.wait_for_frames(3)
        # Another policy is another beginning.
        tuned.set("policy", "greedy")
        status = bench.wait_for_health("tuner", "edge_0")
        bench.wait_for(
            lambda: "fine_tune/in_use" not in bench.probe.health["tuner"][-1].values,
            "a tuner without fine-tuning",
        )


@pytest.mark.timeout(240)
def test_a_process_that_cannot_learn_is_told_and_the_policy_stays(tmp_path: Path) -> None:
    pytest.importorskip("ultralytics")
    from re_pose_ros.coinference.halves import Halves
    from re_pose_ros.detection.model import load_model

    table = quick_table(Halves.of(load_model("scene-n", threads=1)).model_hash)
    base = write_policy(tmp_path / "base.npz", table, 1)
    with Bench("hanging", tmp_path) as bench:
        tuned = Tuned(
            bench,
            table,
            {
                "tuner.policy": str(base),
                "tuner.fine_tune_folder": str(tmp_path / "fine_tuning"),
                "tuner.fine_tune_every": "5",
                # Less than it takes to begin.
                "tuner.fine_tune_limit": "1",
                "tuner.cuts": "-2",
            },
        )
        tuned.wait_for_frames(1, 120.0)
        text = "no policy could be learned: it did not end in its time"
        status = bench.wait_for_health("tuner", text, level=1)
        assert status.values["fine_tune/in_use"] == "base.npz"
        tuned.wait_for_frames(3)

"""Tuner node: keeps choosing how robot and workers share the network."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.serialization import deserialize_message
from vision_msgs.msg import Detection2DArray

from re_pose_ros.coinference.profile import ActionTable
from re_pose_ros.coinference.setting import Setting
from re_pose_ros.errors import InputError
from re_pose_ros.nodes import qos
from re_pose_ros.nodes.base import TELEMETRY_DEPTH, Health, PipelineNode, run
from re_pose_ros.nodes.mailbox import Mailbox
from re_pose_ros.nodes.messages import from_stamp, read_detections, read_plan
from re_pose_ros.nodes.presence import Presence, WorkerState
from re_pose_ros.nodes.probes import LinkProbe
from re_pose_ros.nodes.remote_parameters import RemoteParameters
from re_pose_ros.parameters.tables import PARTITIONER
from re_pose_ros.parameters.tuner import TUNER
from re_pose_ros.plan import DEVICE_NAME
from re_pose_ros.tuning.choosing import (
    NONE,
    Decider,
    Decision,
    decider_of,
    other_device_exits,
    pictures_ending_at,
    table_of,
)
from re_pose_ros.tuning.fine_tuning import FineTuning, fine_tuning_of
from re_pose_ros.tuning.in_force import READ, obstacle, parameters_of, settings_of
from re_pose_ros.tuning.sensing import Measurements
from re_pose_ros.tuning.transitions import Choice, Story, Transition, TransitionLog

ASK_EVERY_S = 1.0
OBJECTS_EVERY_S = 1.0
CHECK_EVERY_S = 0.5
STEP_S = 0.02
"""How long the working thread waits for news at a time."""

QUIET_S = 3.0
"""Without a plan for so long, settings are held."""


class TunerNode(PipelineNode):
    """Hears what the nodes tell, and sets ``coinference.*`` of partitioner and detectors."""

    def __init__(self) -> None:
        self._decider: Decider | None = None
        self._story: Story | None = None
        self._tuning: FineTuning | None = None
        self._deciding = threading.Lock()
        self._partitioner: RemoteParameters | None = None
        self._detectors: dict[str, RemoteParameters] = {}
        self._held = "waiting for the partitioner"
        self._shown: dict[str, object] = {}
        self._counts = {"decisions": 0, "switches": 0, "refused": 0}
        super().__init__(TUNER)

    # Lifecycle.

    def configure(self) -> None:
        self._table_path = table_of(self.values)
        self._table = ActionTable.read(self._table_path)
        self._decider = self._make_decider()
        self._news: Mailbox[Callable[[], None]] = Mailbox(1000)
        foreign = set(self.values.texts("crop_workers"))
        tuned = [name for name in self.values.texts("workers") if name not in foreign]
        self._measurements = Measurements(self._table, tuned)
        if self.values.flag("fine_tune"):
            path = Path(self.values.text("transitions")).expanduser()
            limit = self.values.whole("transitions_limit")
            self._story = Story(TransitionLog(path, self._table, limit))
            self._tuning = fine_tuning_of(self.values, self._table, self._table_path)
        self._detections: tuple[bytes, float] | None = None
        self._heard_s = self._asked_s = self._decided_s = self._counted_s = 0.0
        self._fresh = False
        self._checked_s = 0.0
        self._fine_tuned = ""
        self._switched_s: dict[str, float] = {}
        self._asked_for: dict[str, int] = {}
        self._banned: dict[str, set[int]] = {name: set() for name in tuned}
        self._refusals: dict[str, str] = {}
        self._partitioner = RemoteParameters(self, PARTITIONER.node, self._news.put)
        self._detectors = {name: RemoteParameters(self, name, self._news.put) for name in tuned}
        self._presence = Presence(self, self._worker_changed, [DEVICE_NAME])
        self.subscription(
            DiagnosticArray, "telemetry", self._on_telemetry, qos.reliable(TELEMETRY_DEPTH)
        )
        self.subscription(Detection2DArray, "plan", self._on_plan, qos.latched(4))
        # Read only now and then.
        self.subscription(
            Detection2DArray, "detections", self._on_detections, qos.reliable(1), raw=True
        )
        self._probes = [LinkProbe(self, name, self._measurements, self._news.put) for name in tuned]

    def release(self) -> None:
        remotes = [*self._detectors.values()]
        if self._partitioner is not None:
            remotes.append(self._partitioner)
        for remote in remotes:
            remote.close()
        self._partitioner, self._detectors = None, {}
        if self._tuning is not None:
            self._tuning.stop()
        self._decider = self._story = self._tuning = None

    def parameters_changed(self, names: set[str]) -> None:
        if self._decider is None:
            return
        with self._deciding:
            anew = "policy" in names
            self._decider = self._make_decider("" if anew else self._fine_tuned)
            if anew:
                self._fine_tuned = ""
                self._news.put(self._begin_tuning)

    def _make_decider(self, fine_tuned: str = "") -> Decider:
        """With a fine-tuned policy in place of the parameter's, where one is given."""
        return decider_of(self.values, self._table, fine_tuned)

    # Callbacks keep what came for the working thread.

    def _on_telemetry(self, message: DiagnosticArray) -> None:
        now, stamp = time.monotonic(), from_stamp(message.header.stamp)
        for status in message.status:
            if status.name != self.get_name():
                values = {pair.key: pair.value for pair in status.values}
                self._news.put(partial(self._told, stamp, status.name, values, now))

    def _on_plan(self, message: Detection2DArray) -> None:
        self._news.put(partial(self._planned, message, time.monotonic()))

    def _on_detections(self, data: bytes) -> None:
        self._news.put(partial(self._fused, data, time.monotonic()))

    def _worker_changed(self, state: WorkerState) -> None:
        self._news.put(partial(self._present, state.name, state.alive, state.profile))

    # The working thread: what came.

    def work(self) -> None:
        try:
            while not self.stopping.is_set():
                self._take_news()
                self._step(time.monotonic())
        finally:
            if self._tuning is not None:
                self._tuning.stop()

    def _step(self, now: float) -> None:
        if self._story is not None:
            came = self._story.happened(self._measurements.outcomes())
            self._tend_tuning(came, now)
        if self.values.flag("enabled"):
            for probe in self._probes:
                probe.tend(now)
        self._ask(now)
        due = self._fresh and now - self._decided_s >= 1.0 / self.values.real("rate")
        if due or now - self._checked_s >= CHECK_EVERY_S:
            self._checked_s = now
            self._held = self._obstacle(now)
            if due and not self._held:
                self._fresh = False
                self._decided_s = now
                self._decide(now)

    def _take_news(self) -> None:
        act = self._news.take(STEP_S)
        while act is not None:
            act()
            act = self._news.take(0.0)

    def _told(self, stamp_ns: int, node: str, values: Mapping[str, str], now: float) -> None:
        self._measurements.told(stamp_ns, node, values, now)
        self._fresh = True

    def _planned(self, message: Detection2DArray, now: float) -> None:
        try:
            plan = read_plan(message)
        except InputError as error:
            self.get_logger().error(str(error), throttle_duration_sec=5.0)
            return
        self._measurements.planned(plan, now)
        self._heard_s = now
        self._fresh = True
        if self._story is not None:
            self._story.planned(plan.stamp_ns)

    def _fused(self, data: bytes, now: float) -> None:
        if now - self._counted_s >= OBJECTS_EVERY_S:
            self._counted_s = now
            message = deserialize_message(data, Detection2DArray)
            detections, _ = read_detections(message)
            self._measurements.fused(from_stamp(message.header.stamp), detections)

    def _present(self, name: str, alive: bool, profile: Any) -> None:
        self._measurements.presence(name, alive, profile)
        if name in self._detectors:
            self._detectors[name].forget()
            self._banned[name].clear()
            self._refusals.pop(name, None)
        self._fresh = True

    def _begin_tuning(self) -> None:
        """Anew, since there is another policy to be fine-tuned."""
        if self._story is not None:
            if self._tuning is not None:
                self._tuning.stop()
            self._tuning = fine_tuning_of(self.values, self._table, self._table_path)

    def _tend_tuning(self, came: Sequence[Transition], now: float) -> None:
        tuning = self._tuning
        if tuning is None:
            return
        tuning.happened(came)
        if not tuning.tend(now, self._measurements.last_stamp_ns):
            return
        used = "" if tuning.in_use == tuning.files.base else str(tuning.in_use)
        try:
            with self._deciding:
                self._decider, self._fine_tuned = self._make_decider(used), used
        except InputError as error:  # somebody took the file away
            tuning.problem = str(error)
        self.get_logger().warning(tuning.problem or f"{tuning.in_use} is in use")

    # The working thread: what is set.

    def _ask(self, now: float) -> None:
        """Whatever somebody else sets at the partitioner, or its new start, is heard of."""
        partitioner = self._partitioner
        assert partitioner is not None
        if now - self._asked_s < ASK_EVERY_S or partitioner.busy(now):
            return
        self._asked_s = now
        if partitioner.there:
            partitioner.ask(READ, now)
        else:
            partitioner.forget()
            self._refusals.pop(partitioner.name, None)

    def _obstacle(self, now: float) -> str:
        """Why nothing can be set, with the way out; empty where it can."""
        partitioner = self._partitioner
        assert partitioner is not None
        if not self.values.flag("enabled"):
            return "switched off; settings stay as they are"
        if not partitioner.there:
            return f"no {partitioner.name} is there; start it in this namespace"
        if partitioner.values is None:
            return f"waiting for {partitioner.name}"
        if problem := obstacle(partitioner.values, self._table, self.values.texts("workers")):
            return problem
        if now - self._heard_s > QUIET_S:
            return "no frames are planned; settings are held"
        return ""

    def _decide(self, now: float) -> None:
        """Choose for one worker after the other; what one costs the robot counts for the next."""
        partitioner, decider = self._partitioner, self._decider
        assert partitioner is not None and partitioner.values is not None
        if decider is None or partitioner.busy(now):
            return
        started = time.perf_counter()
        self._take_refusals()
        settings = settings_of(partitioner.values)
        decisions: dict[str, Decision] = {}
        busy_ms, deadline = 0.0, self.values.real("deadline_ms")
        elsewhere: set[int] = set()
        for worker in self._measurements.workers:
            measured = self._measurements.measured(worker, deadline, busy_ms, now)
            if measured is None:
                continue
            last = _number(self._table, settings[worker])
            since = now - self._switched_s.get(worker, -1e9)
            banned = self._banned[worker] | elsewhere
            decision = decider.decide(measured, last, since, banned)
            if decision is None:
                continue
            decisions[worker] = decision
            elsewhere |= other_device_exits(self._table, decision.number)
            busy_ms += decision.robot_ms
            if self._story is not None:
                judged_by = self._measurements.deadline_ms(worker)
                self._story.decided(worker, Choice(measured.row(), judged_by, decision.allowed))
        self._counts["decisions"] += 1
        chosen = {w: self._table.settings[d.number] for w, d in decisions.items()}
        changed = {w: d.number for w, d in decisions.items() if d.changed}
        self._set(settings | chosen, changed, now)
        self._report(settings | chosen, decisions, (time.perf_counter() - started) * 1e3, now)

    def _take_refusals(self) -> None:
        """What is refused is not asked for again until whoever refused it is another one."""
        assert self._partitioner is not None
        for remote in (self._partitioner, *self._detectors.values()):
            if remote.refused is None:
                continue
            values, reason = remote.refused
            remote.refused = None
            self._counts["refused"] += 1
            self._refusals[remote.name] = reason
            if remote is self._partitioner:
                for worker, number in self._asked_for.items():
                    self._banned[worker].add(number)
            else:
                exit = str(values["coinference.exit"])
                self._banned[remote.name] |= pictures_ending_at(self._table, exit)

    def _set(self, settings: Mapping[str, Setting], changed: dict[str, int], now: float) -> None:
        partitioner = self._partitioner
        assert partitioner is not None and partitioner.values is not None
        for worker, detector in self._detectors.items():
            wanted = {"coinference.exit": settings[worker].exit}
            pictures = settings[worker].cut == 0
            if pictures and detector.values != wanted and detector.there and not detector.busy(now):
                detector.set(wanted, now)
        if changed:
            self._asked_for = changed
            self._counts["switches"] += len(changed)
            self._switched_s.update(dict.fromkeys(changed, now))
            partitioner.set(parameters_of(settings, partitioner.values), now)

    def _report(
        self,
        settings: Mapping[str, Setting],
        decisions: Mapping[str, Decision],
        decide_ms: float,
        now: float,
    ) -> None:
        known = self._measurements
        values: dict[str, object] = {
            "decide_ms": f"{decide_ms:.3f}",
            "robot_load": f"{known.robot_load:.3f}",
        }
        for worker in known.workers:
            link = known.link(worker)
            values[f"setting/{worker}"] = settings[worker]
            values[f"connected/{worker}"] = int(known.connected(worker))
            values[f"bandwidth_mbit_s/{worker}"] = f"{link.bandwidth_mbit_s:.3f}"
            values[f"rtt_ms/{worker}"] = f"{link.rtt_ms:.3f}"
            values[f"edge_load/{worker}"] = f"{known.edge_load(worker):.3f}"
            if worker in decisions:
                values[f"predicted_ms/{worker}"] = f"{decisions[worker].latency_ms:.3f}"
                values[f"switched/{worker}"] = int(decisions[worker].changed)
        self._shown = values
        self.telemetry(known.last_stamp_ns, values)

    # What is told of it.

    def health(self) -> Health:
        partitioner = self._partitioner
        values: dict[str, object] = {**self._counts, **self._shown}
        if partitioner is None or self._decider is None:
            return Health.warn("not configured", **values)
        tuning = self._tuning
        if tuning is not None:
            values |= {f"fine_tune/{key}": value for key, value in tuning.counts.items()}
            values |= {"fine_tune/in_use": tuning.in_use.name, "fine_tune/doing": tuning.doing}
        if self._held:
            off = not self.values.flag("enabled")
            return (Health.ok if off else Health.error)(self._held, **values)
        problems = [f"{who} refused a setting: {why}" for who, why in self._refusals.items()]
        known = self._measurements
        problems += [
            f"{worker} cannot go on from features of this {self._table.model}, so it gets "
            "pictures; load the weights there that the table was measured with"
            for worker in known.workers
            if known.connected(worker) and not known.can_go_on(worker)
        ]
        if tuning is not None and tuning.problem:
            problems.append(tuning.problem)
        if problems:
            return Health.warn("; ".join(problems), **values)
        chosen = ", ".join(f"{w} {self._shown.get(f'setting/{w}', '-')}" for w in known.workers)
        return Health.ok(chosen, **values)


def _number(table: ActionTable, setting: Setting) -> int:
    return table.settings.index(setting) if setting in table.settings else NONE


def main() -> None:
    sys.exit(run(lambda: [TunerNode()]))


if __name__ == "__main__":
    main()

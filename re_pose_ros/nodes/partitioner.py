"""Partitioner node: cuts each frame into blocks and sends them to the workers' slots."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields, replace

from sensor_msgs.msg import CameraInfo
from std_msgs.msg import Float64
from vision_msgs.msg import Detection2DArray

from re_pose_ros.coinference.setting import DEVICE, Setting
from re_pose_ros.detection.profile import Profile
from re_pose_ros.distribution.schedule import thumbnail
from re_pose_ros.errors import InputError
from re_pose_ros.frame import Frame
from re_pose_ros.geometry import Block
from re_pose_ros.graph.outcomes import SentBlock, predicted_texts
from re_pose_ros.nodes import qos
from re_pose_ros.nodes.base import Health, PipelineNode, run
from re_pose_ros.nodes.coinference import CoInference, Shares
from re_pose_ros.nodes.contact import Contact
from re_pose_ros.nodes.image_input import ImageInput
from re_pose_ros.nodes.mailbox import Mailbox
from re_pose_ros.nodes.messages import plan_message, read_calibration
from re_pose_ros.nodes.outcomes import Outcomes
from re_pose_ros.nodes.roster import Roster, common_variants
from re_pose_ros.nodes.timing import JUMP_BACK_NS, deadline_of
from re_pose_ros.parameters.tables import PARTITIONER
from re_pose_ros.partition import make_partitioner
from re_pose_ros.partition.assign import assign
from re_pose_ros.partition.base import PartitionContext, Partitioner, PartitionSettings
from re_pose_ros.plan import (
    DEVICE_NAME,
    BlockRequest,
    Expectation,
    Plan,
    PlannedBlock,
    Slot,
    Variant,
)
from re_pose_ros.sources.calibration import Calibration, default_calibration

LOCKSTEP_QUEUE = 64
KNOCK, KNOCK_SIZE, KNOCK_QUALITY = "any", 160, 30
"""Network, input size and JPEG quality of the looks that are sent to workers that are silent."""


class PartitionerNode(PipelineNode):
    """Publishes ``plan`` and the slots; takes an image topic and its graph's ``detections``."""

    frames_in_process = False
    """Set where a camera in this process hands its frames over; no topic is subscribed to then."""

    def __init__(self) -> None:
        self._input: ImageInput | None = None
        self._partitioner: Partitioner | None = None
        self._sharing: CoInference | None = None
        self._camera_info: CameraInfo | None = None
        self._counts = {"planned": 0, "no_worker": 0, "malformed": 0, "stale": 0}
        self._last_stamp = 0
        self._problem = ""
        self._notes: tuple[str, ...] = ()
        self._expects = False
        super().__init__(PARTITIONER)

    # Lifecycle.

    def configure(self) -> None:
        self._inbox: Mailbox[Frame | bytes] = Mailbox(LOCKSTEP_QUEUE if self.lockstep else 1)
        self._partitioner = make_partitioner(self.values.text("partitioner"), self._settings())
        self._roster = Roster(self)
        self._sharing = CoInference(self)
        self._contact = Contact()
        # Topics are matched one by one: a detector may have its block before it hears the plan.
        self._plan = self.publisher(
            Detection2DArray, "plan", qos.latched(100 if self.lockstep else 4)
        )
        self._latency = {
            stage: self.publisher(Float64, f"latency/{stage}", qos.reliable())
            for stage in ("partition", "encode")
        }
        self._outcomes = Outcomes(self)
        self._pool = ThreadPoolExecutor(4, thread_name_prefix="encode")
        self._input = ImageInput(self, self._inbox.put)
        base = self._input.topic.removesuffix("/compressed").rpartition("/")[0]
        self.subscription(
            CameraInfo, f"{base}/camera_info", self._on_camera_info, qos.best_effort()
        )
        self.timer(0.2, self._refresh_input)

    def release(self) -> None:
        if self._input is not None:
            self._input.close()
            self._input = None
            self._pool.shutdown(wait=False)
        if self._sharing is not None:
            self._sharing.close()
            self._sharing = None

    def parameters_changed(self, names: set[str]) -> None:
        if self._partitioner is not None:
            self._partitioner.settings = self._settings()
        if self._sharing is not None:
            self._sharing.update()

    def _settings(self) -> PartitionSettings:
        given = {field.name: self.values[field.name] for field in fields(PartitionSettings)}
        return PartitionSettings(**given)  # type: ignore[arg-type]

    # Callbacks.

    def _on_camera_info(self, message: CameraInfo) -> None:
        self._camera_info = message

    def _refresh_input(self) -> None:
        if self._input is None or self.frames_in_process or not self.takes_frames():
            return
        self._input.refresh()
        self._problem = self._input.problem

    # Frames in the same process (robot executable).

    def takes_frames(self) -> bool:
        """Frames are wanted once there is somebody to work on them."""
        return self._input is not None and bool(self._usable_slots())

    def accept_frame(self, frame: Frame) -> None:
        self._inbox.put(frame)

    # The working thread.

    def work(self) -> None:
        index = 0
        while not self.stopping.is_set():
            if not self._wait_for_room():
                continue
            item = self._inbox.take(0.1)
            if item is None:
                continue
            while self.lockstep and not self._usable_slots() and not self.stopping.wait(0.05):
                pass
            received = time.monotonic()
            try:
                frame = self._decoded(item, index)
            except InputError as error:
                self._counts["malformed"] += 1
                self.get_logger().error(str(error), throttle_duration_sec=5.0)
                continue
            index += 1
            if self._is_stale(frame):
                self._counts["stale"] += 1
                continue
            self._process(frame, received)

    def _is_stale(self, frame: Frame) -> bool:
        """Whether it came before or out of order; much older means that time has started over."""
        assert frame.stamp_ns is not None
        if 0 <= self._last_stamp - frame.stamp_ns < JUMP_BACK_NS:
            return True
        self._last_stamp = frame.stamp_ns
        return False

    def _decoded(self, item: Frame | bytes, index: int) -> Frame:
        if isinstance(item, Frame):
            return item
        assert self._input is not None
        return self._input.decode(item, index)

    def _wait_for_room(self) -> bool:
        """True when another frame may be planned; frames never fused are given up by time."""
        limit = 1 if self.lockstep else self.values.whole("in_flight")
        return self._outcomes.wait_for_room(limit, deadline_of(self) + 1.0)

    def _ready_slots(self) -> dict[str, list[Slot]]:
        return self._roster.ready(begun=bool(self._counts["planned"]))

    def _usable_slots(self) -> dict[str, list[Slot]]:
        """Of the workers that blocks may be sent to; of the robot itself, where it has to work."""
        sharing = self._sharing
        return {} if sharing is None else self._usable(sharing.shares, self._ready_slots())

    def _usable(self, shares: Shares, ready: Mapping[str, list[Slot]]) -> dict[str, list[Slot]]:
        assert self._sharing is not None
        device = self._sharing.device
        if device is None:
            return self._contact.kept(ready) or dict(ready)
        sent = {name: s for name, s in ready.items() if shares.settings[name].sends}
        usable = self._contact.kept(sent)
        waiting = self.lockstep and not ready and not self._roster.given_up()
        if (len(sent) < len(ready) or not usable) and not waiting:
            own = device.slots()
            usable |= {DEVICE_NAME: own} if own else {}
        return usable or sent

    def _profiles(self, workers: Mapping[str, list[Slot]], exit: str) -> dict[str, Profile]:
        profiles = self._roster.profiles(name for name in workers if name != DEVICE_NAME)
        if DEVICE_NAME in workers:
            assert self._sharing is not None and self._sharing.device is not None
            profiles[DEVICE_NAME] = self._sharing.device.profile(exit)
        return profiles

    def _conditions(
        self, frame: Frame, workers: Mapping[str, list[Slot]], exit: str
    ) -> PartitionContext:
        slots = {name: len(matched) for name, matched in workers.items()}
        profiles = self._profiles(workers, exit)
        return PartitionContext(
            frame.size,
            sum(slots.values()),
            common_variants(profiles.values()),
            (1.0,) * len(slots),
            slots,
            profiles,
            frame.stamp_ns,
            thumbnail(frame.image),
        )

    def _process(self, frame: Frame, received: float) -> None:
        assert self._partitioner is not None and self._sharing is not None
        assert frame.stamp_ns is not None
        for outcome in self._outcomes.take():
            self._partitioner.observe(outcome)
            self._contact.observe(outcome, self._roster.ours(), time.monotonic())
        for name, at in self._outcomes.heard().items():
            self._contact.heard(name, at)
        shares, ready = self._sharing.shares, self._ready_slots()
        workers, exit = self._usable(shares, ready), shares.device_exit(ready)
        if not workers:
            self._counts["no_worker"] += 1
            return
        context = self._conditions(frame, workers, exit)
        requests = self._partitioner.partition(context)
        expected, self._notes = self._partitioner.expected, self._partitioner.notes
        self._expects = expected is not None
        plan = Plan(frame.stamp_ns, frame.frame_id, assign(requests, context.workers))
        message = plan_message(plan)
        planned = time.monotonic()
        self._outcomes.planned(plan, expected, received, planned)
        self._plan.publish(message)
        for worker in self._contact.due(ready, time.monotonic()):
            self._pool.submit(self._knock, frame, worker)
        sent = self._send(frame, plan, context.profiles, shares, exit)
        encode_ms = (time.monotonic() - planned) * 1e3
        self._outcomes.sent(plan, sent)
        self._counts["planned"] += 1
        there = self._contact.kept(ready)
        self._report(plan, expected, sent, there, (planned - received) * 1e3, encode_ms)

    def _send(
        self,
        frame: Frame,
        plan: Plan,
        profiles: Mapping[str, Profile],
        shares: Shares,
        exit: str,
    ) -> list[SentBlock]:
        """Send the blocks; those that stay on the robot are begun with, and end at ``exit``."""
        sharing, calibration = self._sharing, self._calibration(frame.size)
        assert sharing is not None
        device = sharing.device

        def send(planned: PlannedBlock) -> SentBlock:
            worker = planned.slot.worker
            if worker == DEVICE_NAME:
                return SentBlock(0, 0.0, time.monotonic(), str(Setting(exit, DEVICE, 0, 0)))
            setting = shares.settings[worker]
            head = sharing.head(planned, setting, profiles)
            quality = setting.quality or self.values.whole("jpeg_quality")
            sent = self._roster.slots.send(frame, planned, calibration, quality, head)
            if device is None:
                return sent
            picture = Setting(setting.exit, 0, 0, quality)
            return replace(sent, setting=str(picture if head is None else setting))

        if device is not None:
            device.work_on(frame, plan, calibration, exit)
        # Begun in the order of the plan, which is that of the partitioner's requests.
        return list(self._pool.map(send, plan.blocks))

    def _knock(self, frame: Frame, worker: str) -> None:
        """Send a small look that nobody waits for, to hear whether a worker is there again."""
        whole = BlockRequest(Block(0, 0, *frame.size), Variant(KNOCK, KNOCK_SIZE))
        planned = PlannedBlock(Slot(worker, 0), whole)
        calibration = self._calibration(frame.size)
        self._roster.slots.send(frame, planned, calibration, KNOCK_QUALITY)

    def _report(
        self,
        plan: Plan,
        expected: Expectation | None,
        sent: list[SentBlock],
        there: Iterable[str],
        partition_ms: float,
        encode_ms: float,
    ) -> None:
        self._latency["partition"].publish(Float64(data=partition_ms))
        self._latency["encode"].publish(Float64(data=encode_ms))
        self.telemetry(
            plan.stamp_ns,
            {
                "partition_ms": f"{partition_ms:.3f}",
                "encode_ms": f"{encode_ms:.3f}",
                "blocks": len(plan.blocks),
                # Whether or not they were given blocks.
                "workers": ",".join(there),
                **{
                    f"bytes/{planned.slot}": block.size
                    for planned, block in zip(plan.blocks, sent, strict=True)
                },
                # How each worker was sent its blocks, where it is by co-inference.
                **{
                    f"setting/{planned.slot.worker}": block.setting
                    for planned, block in zip(plan.blocks, sent, strict=True)
                    if block.setting
                },
                **({} if expected is None else predicted_texts(plan, expected)),
            },
        )

    def _calibration(self, size: tuple[int, int]) -> Calibration:
        info = self._camera_info
        if info is None or (info.width, info.height) != size:
            return default_calibration(*size)
        return read_calibration(info)

    def health(self) -> Health:
        inbox = getattr(self, "_inbox", None)
        values: dict[str, object] = dict(self._counts)
        if self._input is None or inbox is None:
            return Health.warn("not configured", **values)
        values |= {
            "received": inbox.received,
            "dropped": inbox.dropped,
            "not_fused": self._outcomes.not_fused,
            "over_budget": self._outcomes.over_budget,
        }
        missing = self._roster.missing()
        values["workers_missing"] = ", ".join(missing)
        if self._problem:
            return Health.error(self._problem, **values)
        if len(missing) == len(self._roster.names) and not self._usable_slots():
            return Health.error(
                f"no worker is there; start detector nodes named {', '.join(missing)}", **values
            )
        if missing:
            return Health.warn(f"workers missing: {', '.join(missing)}", **values)
        if self.lockstep and not self._counts["planned"] and not self._ready_slots():
            slots, few = self.values.whole("slots"), ", ".join(self._roster.lacking_slots())
            return Health.warn(f"waiting for {slots} slots of {few}; set slots alike", **values)
        if self._input is not None and not self._input.open and not inbox.received:
            return Health.warn(f"nobody publishes {self._input.topic}", **values)
        budget, deadline = self.values.real("budget_ms") / 1e3, deadline_of(self)
        if self._expects and budget > deadline:
            problem = f"budget_ms is beyond the deadline of {deadline:g} s"
            return Health.warn(f"{problem}; raise deadline here and on fusion", **values)
        silent = self._contact.silent
        lost = (f"no answer from {', '.join(silent)}; no blocks for them",) if silent else ()
        notes = (*self._notes, *lost, *(self._sharing.notes if self._sharing else ()))
        if notes:
            return Health.warn("; ".join(notes), **values)
        return Health.ok("partitioning", **values)


def main() -> None:
    sys.exit(run(lambda: [PartitionerNode()]))


if __name__ == "__main__":
    main()

"""Partitioner node: cuts each frame into blocks and sends them to the workers' slots."""

from __future__ import annotations

import sys
import threading
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields

from sensor_msgs.msg import CameraInfo
from std_msgs.msg import Float64
from vision_msgs.msg import Detection2DArray

from re_pose_ros.errors import InputError
from re_pose_ros.frame import Frame
from re_pose_ros.nodes import qos
from re_pose_ros.nodes.base import Health, PipelineNode, run
from re_pose_ros.nodes.image_input import ImageInput
from re_pose_ros.nodes.mailbox import Mailbox
from re_pose_ros.nodes.messages import from_stamp, plan_message, read_detections
from re_pose_ros.nodes.presence import Presence, WorkerState
from re_pose_ros.nodes.slots import SlotPublishers
from re_pose_ros.nodes.timing import JUMP_BACK_NS, deadline_of
from re_pose_ros.parameters.tables import PARTITIONER
from re_pose_ros.partition import make_partitioner
from re_pose_ros.partition.assign import assign
from re_pose_ros.partition.base import (
    FrameOutcome,
    PartitionContext,
    Partitioner,
    PartitionSettings,
)
from re_pose_ros.plan import Plan, Slot, Variant
from re_pose_ros.sources.calibration import Calibration, default_calibration

LOCKSTEP_QUEUE = 64


class PartitionerNode(PipelineNode):
    """Publishes ``plan`` and the slots; takes an image topic and its graph's ``detections``."""

    frames_in_process = False
    """Set where a camera in this process hands its frames over; no topic is subscribed to then."""

    def __init__(self) -> None:
        self._input: ImageInput | None = None
        self._partitioner: Partitioner | None = None
        self._camera_info: CameraInfo | None = None
        self._fused: deque[tuple[int, Detection2DArray]] = deque(maxlen=LOCKSTEP_QUEUE)
        self._in_flight: dict[int, float] = {}
        self._changed = threading.Condition()
        self._counts = {"planned": 0, "no_worker": 0, "malformed": 0, "stale": 0, "not_fused": 0}
        self._last_stamp = 0
        self._problem = ""
        self._notes: tuple[str, ...] = ()
        self._started = time.monotonic()
        super().__init__(PARTITIONER)

    # Lifecycle.

    def configure(self) -> None:
        self._inbox: Mailbox[Frame | bytes] = Mailbox(LOCKSTEP_QUEUE if self.lockstep else 1)
        self._partitioner = make_partitioner(self.values.text("partitioner"), self._settings())
        workers = self.values.texts("workers")
        self._presence = Presence(self, self._worker_changed)
        self._slots = SlotPublishers(self, workers, self.values.whole("slots"))
        # Topics are matched one by one: a detector may have its block before it hears the plan.
        self._plan = self.publisher(
            Detection2DArray, "plan", qos.latched(100 if self.lockstep else 4)
        )
        self._latency = {
            stage: self.publisher(Float64, f"latency/{stage}", qos.reliable())
            for stage in ("partition", "encode")
        }
        detections_qos = qos.latched() if self.lockstep else qos.reliable()
        self.subscription(Detection2DArray, "detections", self._on_detections, detections_qos)
        self._pool = ThreadPoolExecutor(4, thread_name_prefix="encode")
        self._input = ImageInput(self, self._inbox.put)
        base = self._input.topic.removesuffix("/compressed").rpartition("/")[0]
        self.subscription(
            CameraInfo, f"{base}/camera_info", self._on_camera_info, qos.best_effort()
        )
        self._started = time.monotonic()
        self.timer(0.2, self._refresh_input)

    def release(self) -> None:
        if self._input is not None:
            self._input.close()
            self._input = None
            self._pool.shutdown(wait=False)

    def parameters_changed(self, names: set[str]) -> None:
        if self._partitioner is not None:
            self._partitioner.settings = self._settings()

    def _settings(self) -> PartitionSettings:
        given = {field.name: self.values[field.name] for field in fields(PartitionSettings)}
        return PartitionSettings(**given)  # type: ignore[arg-type]

    # Callbacks: keep what came, wake the working thread.

    def _on_camera_info(self, message: CameraInfo) -> None:
        self._camera_info = message

    def _on_detections(self, message: Detection2DArray) -> None:
        with self._changed:
            stamp = from_stamp(message.header.stamp)
            if self._in_flight.pop(stamp, None) is not None:
                self._fused.append((stamp, message))
            self._changed.notify_all()

    def _worker_changed(self, state: WorkerState) -> None:
        with self._changed:
            self._changed.notify_all()

    def _refresh_input(self) -> None:
        if self._input is None or self.frames_in_process or not self.takes_frames():
            return
        self._input.refresh()
        self._problem = self._input.problem

    # Frames in the same process (robot executable).

    def takes_frames(self) -> bool:
        """Frames are wanted once there is somebody to work on them."""
        return self._input is not None and bool(self._ready_slots())

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
        patience = deadline_of(self) + 1.0
        with self._changed:
            now = time.monotonic()
            for stamp in [s for s, since in self._in_flight.items() if now - since > patience]:
                del self._in_flight[stamp]
                self._counts["not_fused"] += 1
            if len(self._in_flight) < limit:
                return True
            self._changed.wait(0.05)
            return len(self._in_flight) < limit

    def _ready_slots(self) -> dict[str, list[Slot]]:
        """The usable slots of every worker that is there; empty while some are still expected.

        Lockstep begins with all slots, since what a frame is cut into may depend on their number.
        """
        matched = {
            name: self._slots.matched(name)
            for name, state in self._presence.states.items()
            if state.ready
        }
        starting = not self._counts["planned"] and (
            time.monotonic() - self._started < self.values.real("startup_timeout")
        )
        if starting and self.lockstep and self._lacking_slots():
            return {}
        return {name: slots for name, slots in matched.items() if slots}

    def _lacking_slots(self) -> list[str]:
        """Workers of which not all slots are there; of one that is not ours one slot is enough."""
        return [
            name
            for name, state in self._presence.states.items()
            if not state.ready
            or len(self._slots.matched(name)) < (1 if state.foreign else self.values.whole("slots"))
        ]

    def _wait_for_slots(self) -> dict[str, list[Slot]]:
        while True:
            ready = self._ready_slots()
            if ready or not self.lockstep or self.stopping.wait(0.05):
                return ready

    def _variants(self, workers: dict[str, list[Slot]]) -> tuple[Variant, ...]:
        """What every ready worker of ours offers."""
        offered = [
            {entry.variant for entry in profile.variants}
            for name in workers
            for profile in [self._presence.states[name].profile]
            if profile is not None
        ]
        return tuple(sorted(set.intersection(*offered))) if offered else ()

    def _process(self, frame: Frame, received: float) -> None:
        workers = self._wait_for_slots()
        if not workers:
            self._counts["no_worker"] += 1
            return
        assert self._partitioner is not None and frame.stamp_ns is not None
        with self._changed:
            fused, self._fused = list(self._fused), deque(maxlen=LOCKSTEP_QUEUE)
        for _, message in fused:
            self._partitioner.observe(FrameOutcome(read_detections(message)[0]))
        slots = {name: len(matched) for name, matched in workers.items()}
        speeds = (1.0,) * len(slots)
        context = PartitionContext(frame.size, sum(slots.values()), self._variants(workers), speeds)
        requests = self._partitioner.partition(context)
        self._notes = self._partitioner.notes
        planned = assign(requests, slots)
        plan = Plan(frame.stamp_ns, frame.frame_id, planned)
        with self._changed:
            self._in_flight[plan.stamp_ns] = time.monotonic()
        self._plan.publish(plan_message(plan))
        published = time.monotonic()
        calibration = self._calibration(frame.size)
        quality = self.values.whole("jpeg_quality")
        sent = list(
            self._pool.map(lambda p: self._slots.send(frame, p, calibration, quality), plan.blocks)
        )
        self._counts["planned"] += 1
        self._report(plan, sent, received, published)

    def _report(self, plan: Plan, sent: list[int], received: float, published: float) -> None:
        partition_ms = (published - received) * 1e3
        encode_ms = (time.monotonic() - published) * 1e3
        self._latency["partition"].publish(Float64(data=partition_ms))
        self._latency["encode"].publish(Float64(data=encode_ms))
        self.telemetry(
            plan.stamp_ns,
            {
                "partition_ms": f"{partition_ms:.3f}",
                "encode_ms": f"{encode_ms:.3f}",
                "blocks": len(plan.blocks),
                **{
                    f"bytes/{planned.slot}": size
                    for planned, size in zip(plan.blocks, sent, strict=True)
                },
            },
        )

    def _calibration(self, size: tuple[int, int]) -> Calibration:
        info = self._camera_info
        if info is None or (info.width, info.height) != size:
            return default_calibration(*size)
        return Calibration(
            width=info.width,
            height=info.height,
            camera_name="",
            distortion_model=info.distortion_model,
            d=tuple(info.d),
            k=tuple(info.k),
            r=tuple(info.r),
            p=tuple(info.p),
        )

    def health(self) -> Health:
        inbox = getattr(self, "_inbox", None)
        values: dict[str, object] = dict(self._counts)
        if self._input is None or inbox is None:
            return Health.warn("not configured", **values)
        values |= {"received": inbox.received, "dropped": inbox.dropped}
        missing = self._presence.missing()
        values["workers_missing"] = ", ".join(missing)
        if self._problem:
            return Health.error(self._problem, **values)
        if len(missing) == len(self._presence.states):
            return Health.error(
                f"no worker is there; start detector nodes named {', '.join(missing)}", **values
            )
        if missing:
            return Health.warn(f"workers missing: {', '.join(missing)}", **values)
        if self.lockstep and not self._counts["planned"] and not self._ready_slots():
            slots, few = self.values.whole("slots"), ", ".join(self._lacking_slots())
            return Health.warn(f"waiting for {slots} slots of {few}; set slots alike", **values)
        if self._input is not None and not self._input.open and not inbox.received:
            return Health.warn(f"nobody publishes {self._input.topic}", **values)
        if self._notes:
            return Health.warn("; ".join(self._notes), **values)
        return Health.ok("partitioning", **values)


def main() -> None:
    sys.exit(run(lambda: [PartitionerNode()]))


if __name__ == "__main__":
    main()

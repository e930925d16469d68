"""Fusion node: waits for what the plan names, maps, merges, publishes one result per frame."""

from __future__ import annotations

import sys
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import cast

from cv_bridge import CvBridge
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Float64
from vision_msgs.msg import Detection2DArray, LabelInfo

from re_pose_ros.detections import Detections
from re_pose_ros.draw import draw_frame
from re_pose_ros.errors import InputError
from re_pose_ros.frame import Frame
from re_pose_ros.fusion.collect import CollectedFrame, FrameCollector
from re_pose_ros.fusion.fuse import FusionSettings, fuse
from re_pose_ros.fusion.labels import LabelSet
from re_pose_ros.fusion.merge import MergeSettings, Metric, Mode
from re_pose_ros.nodes import qos
from re_pose_ros.nodes.base import Health, PipelineNode, run
from re_pose_ros.nodes.image_input import ImageInput
from re_pose_ros.nodes.messages import (
    class_names,
    detections_message,
    from_stamp,
    header,
    label_message,
    read_detections,
    read_plan,
)
from re_pose_ros.nodes.presence import Presence, WorkerState
from re_pose_ros.nodes.slots import SLOT_DEPTH
from re_pose_ros.nodes.timing import JUMP_BACK_NS, deadline_of
from re_pose_ros.parameters.tables import FUSION
from re_pose_ros.plan import DEVICE_NAME, Plan, Slot

DEBUG_FRAMES = 8


class FusionNode(PipelineNode):
    """Publishes ``detections``, ``label_info``, ``debug_image`` and latency topics."""

    frames_in_process = False
    """Set where a camera in this process hands its frames over; no topic is subscribed to then."""

    def __init__(self) -> None:
        self._collector: FrameCollector[Detection2DArray] | None = None
        self._changed = threading.Condition()
        self._labels = LabelSet()
        self._frame_size: tuple[int, int] | None = None
        self._frames: OrderedDict[int, Frame] = OrderedDict()
        self._input: ImageInput | None = None
        self._bridge = CvBridge()
        self._malformed = 0
        self._last_stamp = 0
        self._missing: tuple[Slot, ...] = ()
        super().__init__(FUSION)

    # Lifecycle.

    def configure(self) -> None:
        self._settings = self._fusion_settings()
        self._collector = FrameCollector(deadline_of(self))
        self._presence = Presence(self, self._worker_changed, [DEVICE_NAME])
        for state in self._presence.states.values():
            for k in range(self.values.whole("slots")):
                self._listen(state, Slot(state.name, k))
            self.subscription(
                CameraInfo, f"{Slot(state.name, 0)}/camera_info", self._on_info, qos.reliable(1)
            )
        self.subscription(Detection2DArray, "plan", self._on_plan, qos.latched(4))
        # Latched in lockstep, so that nobody who matches late waits for a frame already fused.
        result_qos = qos.latched(100) if self.lockstep else qos.reliable()
        self._result = self.publisher(
            Detection2DArray, "detections", result_qos, qos_overriding_options=qos.OVERRIDABLE
        )
        self._label_info = self.publisher(LabelInfo, "label_info", qos.latched())
        self._debug = self.publisher(
            Image, "debug_image", qos.reliable(1), qos_overriding_options=qos.OVERRIDABLE
        )
        self._latency = {
            stage: self.publisher(Float64, f"latency/{stage}", qos.reliable())
            for stage in ("workers", "fusion", "total")
        }
        self._input = ImageInput(self, self._on_image)
        self.timer(0.5, self._follow_debug_listeners)

    def _listen(self, state: WorkerState, slot: Slot) -> None:
        # Ours answer latched, so that an answer sent while fusion comes up is not lost.
        profile = qos.reliable(SLOT_DEPTH) if state.foreign else qos.latched(SLOT_DEPTH)
        self.subscription(
            Detection2DArray,
            f"{slot}/detections",
            self._answer_callback(slot),
            profile,
            qos_overriding_options=qos.OVERRIDABLE,
        )

    def release(self) -> None:
        if self._input is not None:
            self._input.close()
            self._input = None
        self._collector = None

    def parameters_changed(self, names: set[str]) -> None:
        self._settings = self._fusion_settings()
        if self._collector is not None:
            self._collector.deadline = deadline_of(self)

    def _fusion_settings(self) -> FusionSettings:
        values = self.values
        merge = MergeSettings(
            metric=cast(Metric, values.text("merge_metric")),
            threshold=values.real("merge_threshold"),
            mode=cast(Mode, values.text("merge_mode")),
            class_aware=values.flag("class_aware"),
        )
        return FusionSettings(
            merge=merge,
            cut_margin=values.real("cut_margin"),
            crop_workers=frozenset(values.texts("crop_workers")),
        )

    # Callbacks: keep what came, wake the working thread.

    def _on_plan(self, message: Detection2DArray) -> None:
        try:
            plan = read_plan(message)
        except InputError as error:
            self._malformed += 1
            self.get_logger().error(str(error), throttle_duration_sec=5.0)
            return
        with self._changed:
            if self._collector is not None:
                if plan.stamp_ns < self._last_stamp - JUMP_BACK_NS:
                    self.get_logger().info("the camera's time has jumped back; starting over")
                    self._collector.reset()
                self._last_stamp = plan.stamp_ns
                self._collector.add_plan(plan, time.monotonic())
            self._changed.notify_all()

    def _answer_callback(self, slot: Slot) -> Callable[[Detection2DArray], None]:
        def received(message: Detection2DArray) -> None:
            with self._changed:
                if self._collector is not None:
                    stamp = from_stamp(message.header.stamp)
                    self._collector.add_answer(slot, stamp, message, time.monotonic())
                self._changed.notify_all()

        return received

    def _on_info(self, message: CameraInfo) -> None:
        if message.width and message.height:
            self._frame_size = (int(message.width), int(message.height))

    def _worker_changed(self, state: WorkerState) -> None:
        with self._changed:
            if self._collector is None:
                return
            if state.profile is not None and self._labels.add(state.name, state.profile.labels):
                self._publish_labels()
            if state.alive:
                self._collector.worker_back(state.name)
            else:
                self._collector.worker_lost(state.name, time.monotonic())
            self._changed.notify_all()

    def _publish_labels(self) -> None:
        self._label_info.publish(label_message(self._labels.names, 0.0, self.now_ns(), ""))

    # The debug image, only while somebody looks.

    def _follow_debug_listeners(self) -> None:
        if self._input is None:
            return
        if self._debug.get_subscription_count() == 0:
            self._input.close()
            self._frames.clear()
        elif not self.frames_in_process:
            self._input.refresh()

    def takes_frames(self) -> bool:
        """Fusion only shows frames; it never makes a camera begin."""
        return False

    def accept_frame(self, frame: Frame) -> None:
        if self._debug.get_subscription_count() and frame.stamp_ns is not None:
            self._keep(frame)

    def _on_image(self, data: bytes) -> None:
        try:
            assert self._input is not None
            self._keep(self._input.decode(data, 0))
        except InputError as error:
            self.get_logger().error(str(error), throttle_duration_sec=5.0)

    def _keep(self, frame: Frame) -> None:
        assert frame.stamp_ns is not None
        self._frames[frame.stamp_ns] = frame
        while len(self._frames) > DEBUG_FRAMES:
            self._frames.popitem(last=False)

    # The working thread.

    def work(self) -> None:
        while not self.stopping.is_set():
            with self._changed:
                assert self._collector is not None
                now = time.monotonic()
                ready = self._collector.pop_ready(now)
                if not ready:
                    due = self._collector.next_deadline()
                    timeout = 0.2 if due is None else max(0.001, due - now)
                    self._changed.wait(min(timeout, 0.2))
            for collected in ready:
                self._fuse(collected, now - collected.waited)

    def _fuse(self, collected: CollectedFrame[Detection2DArray], planned_at: float) -> None:
        started = time.monotonic()
        plan = collected.plan
        answers: dict[Slot, Detections] = {}
        for slot, message in collected.answers.items():
            if self._presence.states[slot.worker].foreign:
                self._learn_names(message)
            detections, malformed = read_detections(message, self._labels.numbers)
            answers[slot] = self._labels.unified(slot.worker, detections)
            self._malformed += malformed + len(detections) - len(answers[slot])
        fused = fuse(plan, answers, self._frame_size, self._settings)
        message = detections_message(fused, plan.stamp_ns, plan.frame_id)
        finished = time.monotonic()
        self._missing = collected.missing
        latency = {
            "workers": collected.waited * 1e3,
            "fusion": (finished - started) * 1e3,
            "total": (self.now_ns() - plan.stamp_ns) / 1e6,
        }
        # Before the detections, at which the partitioner goes on with what it knows.
        self._report(collected, planned_at, fused, latency)
        self._result.publish(message)
        for stage, value in latency.items():
            self._latency[stage].publish(Float64(data=value))
        self._show(plan, fused, latency["total"])

    def _learn_names(self, message: Detection2DArray) -> None:
        """Detectors that are not ours publish no list of their classes."""
        with self._changed:
            if self._labels.learn(class_names(message)):
                self._publish_labels()

    def _report(
        self,
        collected: CollectedFrame[Detection2DArray],
        planned_at: float,
        fused: Detections,
        latency: dict[str, float],
    ) -> None:
        since = {
            f"answered_ms/{slot}": f"{(at - planned_at) * 1e3:.3f}"
            for slot, at in collected.arrivals.items()
        }
        self.telemetry(
            collected.plan.stamp_ns,
            {
                **{f"{stage}_ms": f"{value:.3f}" for stage, value in latency.items()},
                "detections": len(fused),
                "seen_in": ",".join(map(str, fused.block.tolist())),
                "missing": ",".join(map(str, collected.missing)),
                **since,
            },
        )

    def _show(self, plan: Plan, fused: Detections, total_ms: float) -> None:
        frame = self._frames.get(plan.stamp_ns)
        if frame is None or not self._debug.get_subscription_count():
            return
        image = draw_frame(
            frame.image, plan.blocks, fused, self._labels.names, f"{total_ms:.0f} ms"
        )
        self._debug.publish(
            self._bridge.cv2_to_imgmsg(image, "bgr8", header(plan.stamp_ns, plan.frame_id))
        )

    def health(self) -> Health:
        if self._collector is None:
            return Health.warn("not configured")
        counts = self._collector.counts
        values: dict[str, object] = {
            name: getattr(counts, name) for name in counts.__dataclass_fields__
        }
        values |= {"malformed": self._malformed, "missing": ", ".join(map(str, self._missing))}
        if self._missing:
            return Health.warn(f"last frame without {values['missing']}", **values)
        return Health.ok("fusing", **values)


def main() -> None:
    sys.exit(run(lambda: [FusionNode()]))


if __name__ == "__main__":
    main()

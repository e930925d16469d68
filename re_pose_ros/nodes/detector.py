"""Detector node: one edge machine that serves its slots."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

from sensor_msgs.msg import CameraInfo, CompressedImage
from std_msgs.msg import String
from vision_msgs.msg import Detection2DArray

from re_pose_ros.coinference.envelope import FORMAT
from re_pose_ros.detection.inbox import Batch, BlockInbox
from re_pose_ros.detection.model import load_model
from re_pose_ros.detection.profile import known_accuracy, measure, to_json
from re_pose_ros.detection.serving import Sent, Service
from re_pose_ros.detection.worker import Worker
from re_pose_ros.errors import InputError
from re_pose_ros.nodes import qos
from re_pose_ros.nodes.base import Health, PipelineNode, run
from re_pose_ros.nodes.messages import detections_message, from_stamp, read_plan, read_roi
from re_pose_ros.nodes.slots import SLOT_DEPTH
from re_pose_ros.parameters.tables import DETECTOR
from re_pose_ros.plan import Slot, Variant

PROFILE_BATCHES = (2, 4)


class Received(NamedTuple):
    """A block's image and when it came, in seconds of the monotonic clock."""

    message: CompressedImage
    at: float


class DetectorNode(PipelineNode):
    """Takes slots' ``image/compressed`` and ``image/features``; the worker is the node's name."""

    def __init__(self) -> None:
        self._service: Service | None = None
        self._changed = threading.Condition()
        self._counts = {"batches": 0, "blocks": 0, "features": 0, "malformed": 0}
        self._busy_ms = 0.0
        self._problems: list[str] = []
        super().__init__(DETECTOR)

    def configure(self) -> None:
        name = self.get_name()
        self._inbox: BlockInbox[Received] = BlockInbox(name)
        worker = self._load()
        self._service = Service(worker)
        self._service.ending_at(self.values.text("coinference.exit"))
        self._answers = {}
        for k in range(self.values.whole("slots")):
            slot = Slot(name, k)
            self._answers[k] = self.publisher(
                Detection2DArray, f"{slot}/detections", qos.latched(SLOT_DEPTH)
            )
            for topic in ("image/compressed", *(["image/features"] * bool(self._service.hashes))):
                self.subscription(
                    CompressedImage,
                    f"{slot}/{topic}",
                    self._block_callback(k),
                    qos.reliable(SLOT_DEPTH),
                    qos_overriding_options=qos.OVERRIDABLE,
                )
            self.subscription(
                CameraInfo, f"{slot}/camera_info", self._info_callback(k), qos.reliable(SLOT_DEPTH)
            )
        self.subscription(Detection2DArray, "plan", self._on_plan, qos.latched(4))
        self._echo = self.publisher(CompressedImage, f"{name}/probe/echo", qos.best_effort())
        self.subscription(CompressedImage, f"{name}/probe", self._on_probe, qos.best_effort())
        profile = measure(
            worker,
            name=name,
            batches=PROFILE_BATCHES,
            repeats=self.values.whole("profile_repeats"),
        )
        profile, self._problems = known_accuracy(profile, worker, self.values.text("profile"))
        profile = replace(profile, hashes=self._service.hashes)
        for problem in self._problems:
            self.get_logger().error(problem)
        times = ", ".join(f"{p.variant} {p.time_ms:.0f} ms" for p in profile.variants)
        self.get_logger().info(f"ready: {times}")
        # The profile tells that this worker is there, so it comes last.
        self._profile = self.publisher(
            String, f"{name}/profile", qos.presence(self.values.real("liveliness_lease"))
        )
        self._profile.publish(String(data=to_json(profile)))

    def _load(self) -> Worker:
        values = self.values
        models = [
            load_model(
                weights,
                device=values.text("device"),
                confidence=values.real("confidence"),
                iou=values.real("nms_iou"),
                classes=values.texts("classes"),
                max_detections=values.whole("max_detections"),
                threads=values.whole("threads"),
            )
            for weights in values.texts("models")
        ]
        if not models:
            raise InputError("models is empty: name at least one weights file, as yolo11n.pt")
        worker = Worker(models, values.wholes("input_sizes"))
        default = max(worker.variants, key=lambda variant: variant.input_size)
        if values["default_variant"]:
            try:
                default = Variant.parse(values.text("default_variant"))
            except ValueError as error:
                raise InputError(f"default_variant: {error}") from None
        return Worker(models, values.wholes("input_sizes"), default)

    def release(self) -> None:
        self._service = None

    def parameters_changed(self, names: set[str]) -> None:
        if self._service is not None:
            self._service.ending_at(self.values.text("coinference.exit"))

    # Callbacks.

    def _block_callback(self, index: int) -> Callable[[CompressedImage], None]:
        def received(message: CompressedImage) -> None:
            with self._changed:
                stamp, now = from_stamp(message.header.stamp), time.monotonic()
                self._inbox.add_block(index, stamp, Received(message, now), now)
                self._changed.notify_all()

        return received

    def _info_callback(self, index: int) -> Callable[[CameraInfo], None]:
        def received(message: CameraInfo) -> None:
            roi = read_roi(message)
            if roi is not None:
                with self._changed:
                    self._inbox.add_roi(index, from_stamp(message.header.stamp), roi)
                    self._changed.notify_all()

        return received

    def _on_plan(self, message: Detection2DArray) -> None:
        try:
            plan = read_plan(message)
        except InputError as error:
            self._malformed(str(error))
            return
        with self._changed:
            self._inbox.add_plan(plan)
            self._changed.notify_all()

    def _on_probe(self, message: CompressedImage) -> None:
        """Answer at once and without the data, so that who sent it knows the link."""
        self._echo.publish(CompressedImage(header=message.header, format=message.format))

    def _malformed(self, reason: str) -> None:
        self._counts["malformed"] += 1
        self.get_logger().error(reason, throttle_duration_sec=5.0)

    # The working thread.

    def work(self) -> None:
        while not self.stopping.is_set():
            batch = self._next_batch()
            if batch is not None:
                self._process(batch)

    def _next_batch(self) -> Batch[Received] | None:
        wait = self.values.real("batch_wait")
        with self._changed:
            batch = self._inbox.take(time.monotonic(), wait)
            if batch is None:
                check = self._inbox.next_check(wait)
                timeout = 0.2 if check is None else max(0.001, check - time.monotonic())
                self._changed.wait(min(timeout, 0.2))
            return batch

    def _process(self, batch: Batch[Received]) -> None:
        assert self._service is not None
        started = time.monotonic()
        sent = [
            Sent(
                block.data.message.data,
                block.data.message.format.startswith(FORMAT),
                block.roi,
                block.variant,
            )
            for block in batch.blocks
        ]
        exit = self.values.text("coinference.exit")
        made = self._service.serve(sent, exit)
        for block, result in zip(batch.blocks, made, strict=True):
            if result.problem:
                self._malformed(f"block of slot_{block.slot_index}: {result.problem}")
        usable = [
            (b, s, r) for b, s, r in zip(batch.blocks, sent, made, strict=True) if not r.problem
        ]
        answers = [
            detections_message(
                result.detections, batch.stamp_ns, block.data.message.header.frame_id
            )
            for block, _, result in usable
        ]
        self._counts["batches"] += 1
        self._counts["blocks"] += len(usable)
        self._counts["features"] += sum(block.features for _, block, _ in usable)
        processing_ms = (time.monotonic() - started) * 1e3
        self._busy_ms += processing_ms
        # Before the answers, so that who has these knows it.
        self.telemetry(
            batch.stamp_ns,
            {
                "blocks": len(usable),
                "exit": exit,
                "gather_ms": f"{batch.waited * 1e3:.3f}",
                "queued_ms": f"{(started - max(b.data.at for b in batch.blocks)) * 1e3:.3f}",
                "decode_ms": f"{sum(result.decode_ms for result in made):.3f}",
                "detect_ms": f"{sum(result.detect_ms for result in made):.3f}",
                "processing_ms": f"{processing_ms:.3f}",
                **{
                    f"compute_ms/{block.slot_index}": f"{result.decode_ms + result.detect_ms:.3f}"
                    for block, _, result in usable
                },
            },
        )
        for (block, _, _), answer in zip(usable, answers, strict=True):
            self._answers[block.slot_index].publish(answer)

    def health(self) -> Health:
        if self._service is None:
            return Health.warn("no network loaded", **self._counts)
        values: dict[str, object] = {
            **self._counts,
            "dropped": self._inbox.dropped,
            "unplaced": self._inbox.unplaced,
            "busy_ms": f"{self._busy_ms:.0f}",
            "variants": ", ".join(map(str, self._service.worker.variants)),
        }
        if self._counts["malformed"] or self._inbox.unplaced:
            return Health.warn("some blocks could not be used", **values)
        if self._problems:
            return Health.warn("; ".join(self._problems), **values)
        return Health.ok("serving", **values)


def main() -> None:
    sys.exit(run(lambda: [DetectorNode()]))


if __name__ == "__main__":
    main()

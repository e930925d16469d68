"""The partitioner's side of the workers' slots: each looks like a camera to the detector."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import takewhile
from typing import Any

import numpy as np
from cv_bridge import CvBridge
from numpy.typing import NDArray
from rclpy.duration import Duration
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from re_pose_ros.block_image import scaled_crop
from re_pose_ros.coinference.envelope import FORMAT
from re_pose_ros.frame import Frame
from re_pose_ros.graph.outcomes import SentBlock
from re_pose_ros.image_codec import encode_jpeg
from re_pose_ros.nodes import qos
from re_pose_ros.nodes.base import PipelineNode
from re_pose_ros.nodes.messages import JPEG_FORMAT, camera_info_message, compressed_message, header
from re_pose_ros.nodes.timing import deadline_of
from re_pose_ros.plan import PlannedBlock, Slot
from re_pose_ros.sources.calibration import Calibration

SLOT_DEPTH = 4
LIFESPAN_S = 2.0
"""Live, blocks are sent again for so long at least where a link loses them, and no longer.

What is older no frame waits for; sent again and again it would fill the link that lost it.
"""


@dataclass(frozen=True, slots=True)
class _Publishers:
    raw: Any
    compressed: Any
    features: Any
    info: Any

    @property
    def matched(self) -> bool:
        return bool(self.raw.get_subscription_count() + self.compressed.get_subscription_count())


class SlotPublishers:
    """Publishers of every slot of the workers named; blocks go out as JPEG, raw where asked."""

    def __init__(self, node: PipelineNode, workers: tuple[str, ...], slots: int) -> None:
        self._bridge = CvBridge()
        profile = qos.reliable(SLOT_DEPTH)
        if not node.lockstep:
            profile.lifespan = Duration(seconds=max(LIFESPAN_S, 2 * deadline_of(node)))
        self._publishers = {
            slot: _Publishers(
                node.publisher(Image, f"{slot}/image", profile),
                node.publisher(CompressedImage, f"{slot}/image/compressed", profile),
                node.publisher(CompressedImage, f"{slot}/image/features", profile),
                node.publisher(CameraInfo, f"{slot}/camera_info", profile),
            )
            for slot in (Slot(worker, k) for worker in workers for k in range(slots))
        }

    def matched(self, worker: str) -> list[Slot]:
        """The slots of ``worker`` whose images somebody takes: the first few, without a gap."""
        own = (item for item in self._publishers.items() if item[0].worker == worker)
        return [slot for slot, _ in takewhile(lambda item: item[1].matched, own)]

    def send(
        self,
        frame: Frame,
        planned: PlannedBlock,
        calibration: Calibration,
        quality: int,
        head: Callable[[NDArray[np.uint8]], bytes] | None = None,
    ) -> SentBlock:
        """Publish one block: what ``head`` makes of its picture, or the picture itself."""
        stamp = frame.stamp_ns
        assert stamp is not None
        publishers = self._publishers[planned.slot]
        publishers.info.publish(
            camera_info_message(calibration, stamp, frame.frame_id, planned.block)
        )
        started = time.monotonic()
        crop = scaled_crop(frame.image, planned.request)
        messages = []
        size = 0
        if head is not None and publishers.features.get_subscription_count():
            features = head(crop)
            message = compressed_message(FORMAT, features, stamp, frame.frame_id)
            messages.append((publishers.features, message))
            size += len(features)
        elif publishers.compressed.get_subscription_count():
            data = encode_jpeg(crop, quality)
            messages.append(
                (
                    publishers.compressed,
                    compressed_message(JPEG_FORMAT, data, stamp, frame.frame_id),
                )
            )
            size += len(data)
        if head is None and publishers.raw.get_subscription_count():
            message = self._bridge.cv2_to_imgmsg(
                np.ascontiguousarray(crop), "bgr8", header(stamp, frame.frame_id)
            )
            messages.append((publishers.raw, message))
            size += crop.nbytes
        encoded = time.monotonic()
        for publisher, message in messages:
            publisher.publish(message)
        return SentBlock(size, (encoded - started) * 1e3, encoded)

"""Camera, partitioner and fusion in one process: frames are handed over in memory."""

from __future__ import annotations

import sys

from re_pose_ros.nodes.base import PipelineNode, run
from re_pose_ros.nodes.camera import CameraNode
from re_pose_ros.nodes.fusion import FusionNode
from re_pose_ros.nodes.partitioner import PartitionerNode


def build() -> list[PipelineNode]:
    camera, partitioner, fusion = CameraNode(), PartitionerNode(), FusionNode()
    camera.sinks = [fusion, partitioner]
    partitioner.frames_in_process = fusion.frames_in_process = True
    # The camera comes last: it publishes as soon as it is active.
    return [fusion, partitioner, camera]


def main() -> None:
    sys.exit(run(build))


if __name__ == "__main__":
    main()

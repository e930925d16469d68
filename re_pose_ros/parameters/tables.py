"""The parameters of every node. Docs, launch arguments and nodes all read them from here."""

from __future__ import annotations

from typing import get_args

from re_pose_ros.fusion.merge import MergeSettings, Metric
from re_pose_ros.parameters.shared import (
    AUTOSTART,
    CROP_WORKERS,
    DEADLINE,
    IMAGE_TRANSPORT,
    LEASE,
    MODE,
    SLOTS,
    WORKERS,
)
from re_pose_ros.parameters.table import Parameter, Table
from re_pose_ros.parameters.tuner import TUNER
from re_pose_ros.partition.base import RANGES, PartitionSettings
from re_pose_ros.planning import OBJECTIVES


def _partition(name: str, doc: str, unit: str = "") -> Parameter:
    """A live parameter with the default and range that ``PartitionSettings`` gives it."""
    low, high = RANGES.get(name, (None, None))
    return Parameter(name, getattr(PartitionSettings(), name), doc, low, high, unit=unit, live=True)


CAMERA = Table(
    "camera",
    (
        Parameter(
            "source",
            "",
            "device, video file, folder of images, image, rosbag2, or scene:plaza?seed=1",
        ),
        Parameter("topic", "", "image topic of a bag; empty where it has just one"),
        Parameter(
            "rate",
            0.0,
            "frames per second; 0 is the source's own",
            minimum=0.0,
            maximum=1000.0,
            unit="Hz",
        ),
        Parameter("loop", False, "begin again at the end"),
        Parameter("start", 0, "first frame of the source", minimum=0),
        Parameter("count", 0, "frames to publish; 0 is all", minimum=0),
        Parameter("calibration", "", "camera calibration YAML; empty is an ideal pinhole"),
        Parameter("frame_id", "camera", "coordinate frame, where the source names none"),
        Parameter(
            "stamp",
            "now",
            "header time: now, or source for the times recorded in a bag",
            choices=("now", "source"),
        ),
        Parameter("jpeg_quality", 95, "of image_raw/compressed", minimum=1, maximum=100, live=True),
        Parameter(
            "wait_for_subscriber",
            True,
            "hold a recorded source until somebody takes its frames",
        ),
        Parameter("exit_on_end", True, "end the process when the source has ended and drained"),
        Parameter(
            "fused_timeout",
            60.0,
            "lockstep: give a frame up when it is not fused for this long",
            minimum=0.1,
            maximum=3600.0,
            unit="s",
        ),
        MODE,
        AUTOSTART,
    ),
)

PARTITIONER = Table(
    "partitioner",
    (
        Parameter(
            "partitioner",
            "clusters",
            "how a frame becomes blocks",
            choices=("re_pose", "greedy", "clusters", "elf", "uniform", "whole"),
        ),
        _partition("tile_size", "uniform: edge of a tile", "px"),
        _partition("overlap", "uniform: share of a tile"),
        _partition("full_pass", "uniform: also look at the whole frame"),
        _partition("whole_size", "network input of a whole-frame look", "px"),
        _partition("bandwidth", "clusters: reach of MeanShift in object heights"),
        _partition(
            "margin", "clusters: how far a block reaches beyond its objects, in object heights"
        ),
        _partition(
            "growth", "elf: how far a block reaches beyond its objects, as a share of its edge"
        ),
        _partition("min_block", "clusters, elf: smallest edge of a block", "px"),
        _partition(
            "target_object", "clusters: wanted height of an object on the network's input", "px"
        ),
        _partition("look_every", "clusters, elf: frames from one whole-frame look to the next"),
        _partition("look_scale", "elf: network-input pixels per image pixel of a look"),
        _partition("memory", "clusters: frames for which a seen object is remembered"),
        _partition("max_blocks", "clusters: blocks per frame; 0 is as many as slots"),
        _partition(
            "budget_ms", "re_pose, greedy: from having a frame to having its detections", "ms"
        ),
        Parameter(
            "objective",
            PartitionSettings().objective,
            "re_pose, greedy: accuracy: most objects within the budget; latency: soonest with "
            "nearly as many; balanced: between the two",
            choices=OBJECTIVES,
            live=True,
        ),
        _partition(
            "unseen_frames", "re_pose, greedy: frames for which a part of the frame may go unseen"
        ),
        _partition("most_enlarged", "re_pose, greedy: by how much blocks may be enlarged at most"),
        _partition(
            "class_balance", "re_pose, greedy: 0: every object counts the same; 1: every class"
        ),
        WORKERS,
        CROP_WORKERS,
        SLOTS,
        IMAGE_TRANSPORT,
        Parameter("jpeg_quality", 90, "of the blocks that are sent", 1, 100, live=True),
        Parameter(
            "coinference.model",
            "",
            "network that the robot itself runs, up to a cut or all of it where no worker is left; "
            "empty: pictures are all that is sent",
        ),
        Parameter(
            "coinference.exit", ["full"], "where the network ends; for all or per worker", live=True
        ),
        Parameter(
            "coinference.cut",
            [0],
            "first layer on the worker, for all or per worker; 0 sends the picture, -1 nothing",
            -1,
            9999,
            live=True,
        ),
        Parameter(
            "coinference.bits",
            [6],
            "of features: 2, 4, 6 or 8; for all or per worker",
            2,
            8,
            live=True,
        ),
        Parameter(
            "coinference.quality",
            [0],
            "of the JPEG picture at cut 0, for all or per worker; 0 is jpeg_quality",
            0,
            100,
            live=True,
        ),
        Parameter(
            "coinference.fallback_exit",
            "",
            "where the network ends on the robot while no worker is left; empty is the earliest",
        ),
        Parameter("coinference.input_sizes", [320, 640], "on the robot alone", 32, 8192, unit="px"),
        Parameter("coinference.confidence", 0.25, "lowest that the robot itself reports", 0.0, 1.0),
        Parameter("coinference.threads", 1, "of the network on the robot", 0, 1024),
        Parameter(
            "in_flight",
            1,
            "live: frames planned but not yet fused; more is more frames per second, and later",
            minimum=1,
            maximum=16,
            live=True,
        ),
        Parameter(
            "startup_timeout",
            120.0,
            "lockstep: how long to wait for workers that have not come up before going on with "
            "those there",
            minimum=0.0,
            maximum=3600.0,
            unit="s",
        ),
        DEADLINE,
        LEASE,
        MODE,
        AUTOSTART,
    ),
)

DETECTOR = Table(
    "detector",
    (
        Parameter(
            "models",
            ["yolo11n.pt"],
            "weights that ultralytics loads: .pt, .onnx, OpenVINO, TFLite, TensorRT",
        ),
        Parameter("input_sizes", [320, 640], "network inputs to offer", 32, 8192, unit="px"),
        Parameter(
            "default_variant",
            "",
            "used for blocks that come without a plan, as yolo11n@640; empty is the largest",
        ),
        Parameter("device", "cpu", "cpu, cuda:0, ..."),
        Parameter("threads", 0, "of the network on a CPU; 0 is one per core", 0, 1024),
        Parameter("confidence", 0.25, "lowest that is reported", 0.0, 1.0),
        Parameter("nms_iou", 0.7, "overlap within one block above which the weaker goes", 0.0, 1.0),
        Parameter("classes", [""], "names or ids to report; empty is all"),
        Parameter("max_detections", 300, "per block", 1, 100_000),
        Parameter(
            "coinference.exit",
            "full",
            "where the networks end for blocks that come as pictures; features name their own",
            live=True,
        ),
        SLOTS,
        Parameter(
            "batch_wait",
            0.05,
            "how long to wait for the blocks of a plan that are still to come",
            minimum=0.0,
            maximum=10.0,
            unit="s",
            live=True,
        ),
        Parameter("profile_repeats", 3, "timed runs per variant at start", 1, 100),
        Parameter(
            "profile",
            "",
            "file of the profile command with the networks' accuracy by object size; empty is "
            "<weights>.profile.json beside the weights, where there is one",
        ),
        LEASE,
        AUTOSTART,
    ),
)

FUSION = Table(
    "fusion",
    (
        WORKERS,
        CROP_WORKERS,
        SLOTS,
        Parameter(
            "merge_metric",
            MergeSettings().metric,
            "overlap: ios: over the smaller box; iou: over the union; border: ios where a block's "
            "border may cut one of the two, else iou",
            choices=get_args(Metric),
            live=True,
        ),
        Parameter(
            "merge_threshold", 0.5, "overlap from which two are one object", 0.01, 1.0, live=True
        ),
        Parameter(
            "merge_mode",
            "best",
            "best: keep the better box; union: enclose both; weighted: mean by confidence",
            choices=("best", "union", "weighted"),
            live=True,
        ),
        Parameter("class_aware", True, "merge objects of one class only", live=True),
        Parameter(
            "cut_margin",
            2.0,
            "a box this close to an interior block border may be cut by it",
            0.0,
            64.0,
            unit="px",
            live=True,
        ),
        IMAGE_TRANSPORT,
        DEADLINE,
        LEASE,
        MODE,
        AUTOSTART,
    ),
)

TABLES = {table.node: table for table in (CAMERA, PARTITIONER, DETECTOR, FUSION, TUNER)}

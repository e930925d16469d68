"""Parameters that several nodes have."""

from __future__ import annotations

from re_pose_ros.parameters.table import Parameter

MODE = Parameter(
    "mode",
    "live",
    "live: the latest frame wins, drops are counted; lockstep: every frame, the next one when the "
    "last is fused",
    choices=("live", "lockstep"),
)
AUTOSTART = Parameter(
    "autostart", True, "configure and activate without being asked; false leaves it to a manager"
)
LIVE_DEADLINE_S, LOCKSTEP_DEADLINE_S = 0.5, 30.0
DEADLINE = Parameter(
    "deadline",
    0.0,
    "time from a plan to its detections, with what is there by then; 0 is "
    f"{LIVE_DEADLINE_S:g} live, {LOCKSTEP_DEADLINE_S:g} lockstep",
    minimum=0.0,
    maximum=600.0,
    unit="s",
    live=True,
)
LEASE = Parameter(
    "liveliness_lease",
    1.0,
    "a worker not heard of for this long is gone; equal on detectors, partitioner and fusion",
    minimum=0.1,
    maximum=60.0,
    unit="s",
)
WORKERS = Parameter("workers", ["edge_0"], "names of the detector nodes that serve this robot")
SLOTS = Parameter(
    "slots", 8, "blocks per frame that one worker takes; equal on all nodes", minimum=1, maximum=64
)
CROP_WORKERS = Parameter(
    "crop_workers",
    [""],
    "those of the workers that are not ours and answer in pixels of the block they were sent",
)
IMAGE_TRANSPORT = Parameter(
    "image_transport",
    "raw",
    "raw: subscribe to image_raw; compressed: to image_raw/compressed",
    choices=("raw", "compressed"),
)

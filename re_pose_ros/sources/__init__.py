"""Where camera images come from: cameras, videos, folders of images, rosbag2 recordings."""

from re_pose_ros.sources.calibration import Calibration, default_calibration, load_calibration
from re_pose_ros.sources.registry import KINDS, open_source
from re_pose_ros.sources.source import Source

__all__ = [
    "KINDS",
    "Calibration",
    "Source",
    "default_calibration",
    "load_calibration",
    "open_source",
]

"""rosbag2 without ROS: recordings as camera sources, and results as recordings."""

from re_pose_ros.bags.reading import decode_frame, image_messages, image_topics, topics
from re_pose_ros.bags.types import typestore
from re_pose_ros.bags.writing import BagWriter, qos_profile

__all__ = [
    "BagWriter",
    "decode_frame",
    "image_messages",
    "image_topics",
    "qos_profile",
    "topics",
    "typestore",
]

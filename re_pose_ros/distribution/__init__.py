"""What is believed about where objects are, and where nobody has looked for long."""

from re_pose_ros.distribution.coverage import Coverage
from re_pose_ros.distribution.objects import ObjectDistribution
from re_pose_ros.distribution.schedule import LookSchedule, LookSettings, Reason
from re_pose_ros.distribution.settings import TrackerSettings
from re_pose_ros.distribution.tracker import Surprise, Tracker

__all__ = [
    "Coverage",
    "LookSchedule",
    "LookSettings",
    "ObjectDistribution",
    "Reason",
    "Surprise",
    "Tracker",
    "TrackerSettings",
]

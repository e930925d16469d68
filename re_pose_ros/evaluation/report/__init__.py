"""The HTML report of an evaluation: one file that needs nothing else."""

from re_pose_ros.evaluation.report.compared import Compared, read_compared
from re_pose_ros.evaluation.report.html import render_report, write_report
from re_pose_ros.evaluation.report.pictures import Picture, take_pictures

__all__ = [
    "Compared",
    "Picture",
    "read_compared",
    "render_report",
    "take_pictures",
    "write_report",
]

"""Which network each block gets, on which worker, within the latency budget."""

from re_pose_ros.planning.options import OBJECTIVES, Assignment, Objective, Options
from re_pose_ros.planning.solve import solve

__all__ = ["OBJECTIVES", "Assignment", "Objective", "Options", "solve"]

"""How long a frame may take, by mode."""

from __future__ import annotations

from re_pose_ros.nodes.base import PipelineNode
from re_pose_ros.parameters.shared import LIVE_DEADLINE_S, LOCKSTEP_DEADLINE_S

JUMP_BACK_NS = 1_000_000_000
"""A stamp that is older by more means that the camera's time has started over."""


def deadline_of(node: PipelineNode) -> float:
    """The deadline parameter in seconds, with its default by mode."""
    default = LOCKSTEP_DEADLINE_S if node.lockstep else LIVE_DEADLINE_S
    return node.values.real("deadline") or default

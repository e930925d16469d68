"""The kinds of scene by name."""

from __future__ import annotations

from collections.abc import Callable

from re_pose_ros.scenes.layout import Layout
from re_pose_ros.scenes.plaza import plaza
from re_pose_ros.scenes.street import street
from re_pose_ros.scenes.yard import yard

KINDS: dict[str, Callable[[tuple[int, int], int, float, float], Layout]] = {
    "plaza": plaza,
    "street": street,
    "yard": yard,
}

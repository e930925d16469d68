"""Generated wide scenes with exact truth, for tests, demonstrations, training and evaluation."""

from re_pose_ros.scenes.scene import Scene, make_scene
from re_pose_ros.scenes.spec import SceneSpec, parse_spec
from re_pose_ros.scenes.world import CLASSES

__all__ = ["CLASSES", "Scene", "SceneSpec", "make_scene", "parse_spec"]

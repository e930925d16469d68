"""Annotated image sets in one ground-truth type: VisDrone, MOT, COCO, YOLO text, rosbag2."""

from re_pose_ros.datasets.bag import write_bag
from re_pose_ros.datasets.class_map import BUILT_IN_MAPS, ClassMap, choose_class_map
from re_pose_ros.datasets.dataset import Dataset, FrameRef
from re_pose_ros.datasets.registry import FORMATS, open_dataset
from re_pose_ros.datasets.truth import GroundTruth

__all__ = [
    "BUILT_IN_MAPS",
    "FORMATS",
    "ClassMap",
    "Dataset",
    "FrameRef",
    "GroundTruth",
    "choose_class_map",
    "open_dataset",
    "write_bag",
]

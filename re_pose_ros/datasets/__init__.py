"""Annotated frames in one ground-truth type: VisDrone, MOT, COCO, YOLO text, rosbag2, scenes."""

from re_pose_ros.datasets.bag import RecordedTruth, read_truth
from re_pose_ros.datasets.class_map import BUILT_IN_MAPS, ClassMap, choose_class_map
from re_pose_ros.datasets.convert import write_bag
from re_pose_ros.datasets.dataset import AnnotatedFrames, Dataset, FrameRef
from re_pose_ros.datasets.registry import FORMATS, is_dataset, open_dataset, open_datasets
from re_pose_ros.datasets.scene import SceneFrames
from re_pose_ros.ground_truth import GroundTruth

__all__ = [
    "BUILT_IN_MAPS",
    "FORMATS",
    "AnnotatedFrames",
    "ClassMap",
    "Dataset",
    "FrameRef",
    "GroundTruth",
    "RecordedTruth",
    "SceneFrames",
    "choose_class_map",
    "is_dataset",
    "open_dataset",
    "open_datasets",
    "read_truth",
    "write_bag",
]

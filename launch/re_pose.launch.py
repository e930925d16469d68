"""The whole graph: camera, partitioner, detectors and fusion."""

from launch import LaunchDescription

from re_pose_ros.graph.launch import launch_description


def generate_launch_description() -> LaunchDescription:
    return launch_description("re_pose")

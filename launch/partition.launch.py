"""Partitioner, detectors and fusion, added to a graph that has a camera."""

from launch import LaunchDescription

from re_pose_ros.graph.launch import launch_description


def generate_launch_description() -> LaunchDescription:
    return launch_description("partition")

"""Thin rclpy nodes: parameters, topics, QoS and threads around the ROS-free parts."""

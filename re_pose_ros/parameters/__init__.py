"""The declarative parameter tables of the nodes; ROS-free, so that docs and launch use them too."""

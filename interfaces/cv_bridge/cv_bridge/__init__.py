"""Images between ROS messages and OpenCV, with the interface of the ROS package of this name.

Stands in for it on machines without a ROS installation; a robot uses its distribution's own.
"""

from cv_bridge.bridge import CvBridge
from cv_bridge.encodings import CvBridgeError

__all__ = ["CvBridge", "CvBridgeError"]

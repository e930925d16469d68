"""The network itself, partly on the robot and partly on the edge."""

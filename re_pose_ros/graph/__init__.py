"""The one description of the graph, and what starts it: ros2 launch, or a supervisor without it."""

"""The main job: one source through the whole graph, with a video, a bag and figures as result."""

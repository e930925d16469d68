"""Methods beside one another: the same frames, the same detector, measured in one run."""

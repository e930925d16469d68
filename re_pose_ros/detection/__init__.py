"""Object detection on one machine: networks, their inputs, batches of blocks, measured times."""

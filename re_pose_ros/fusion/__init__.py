"""From the detections of many blocks to one set per frame."""

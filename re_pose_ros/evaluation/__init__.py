"""How accurate detections are."""

from re_pose_ros.evaluation.metrics import (
    SIZE_LIMITS,
    ClassMetrics,
    Counts,
    Curve,
    FrameCounts,
    Metrics,
    evaluate_coco,
    evaluate_parts,
)

__all__ = [
    "SIZE_LIMITS",
    "ClassMetrics",
    "Counts",
    "Curve",
    "FrameCounts",
    "Metrics",
    "evaluate_coco",
    "evaluate_parts",
]

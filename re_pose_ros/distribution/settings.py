"""The tunables of the tracker."""

from __future__ import annotations

from dataclasses import dataclass

from re_pose_ros.errors import InputError


@dataclass(frozen=True, slots=True)
class TrackerSettings:
    """How objects move, appear and vanish; an object's size is the square root of its box's area.

    Attributes:
        frame_s: seconds between frames that have no stamps.
        noise: standard deviation of a detected box's centre, in object sizes, and of the logarithms
            of its sides.
        drive: by how many object sizes per second an object's velocity changes within one second
            (standard deviation).
        stretch: the same for the logarithms of the sides.
        speed: standard deviation of a new object's velocity, in object sizes per second.
        top_speed: no velocity is larger, in object sizes per second.
        memory_s: time constant in which the velocity of an object that is not seen falls back to
            that of the camera's picture.
        stretch_memory_s: the same for the sides, which fall back to standing still.
        gate: standard deviations within which a detection may belong to a track.
        size_ratio: factor by which the sides of the two may differ.
        strong: confidence from which detections are matched first.
        weak_limit: highest cost at which others are matched then; see ``candidates``.
        seen_again: how much being detected again tells: the odds of the weight are multiplied by
            1 + ``seen_again`` * odds of the confidence.
        miss_trust: how much a miss tells, 0 to 1: the chance of missing an object is taken to
            this power, as misses of one object in successive frames are not independent.
        survival_s: time constant of the weight where nobody looks.
        least_weight: below it a track is given up.
        most_sigma: above it, in object sizes, a track is given up.
        most_tracks: the heaviest are kept.

    Raises InputError for a value out of range.
    """

    frame_s: float = 0.04
    noise: float = 0.05
    drive: float = 0.5
    stretch: float = 0.2
    speed: float = 2.0
    top_speed: float = 20.0
    memory_s: float = 6.0
    stretch_memory_s: float = 1.0
    gate: float = 3.5
    size_ratio: float = 2.5
    strong: float = 0.4
    weak_limit: float = 0.7
    seen_again: float = 4.0
    miss_trust: float = 0.5
    survival_s: float = 20.0
    least_weight: float = 0.02
    most_sigma: float = 4.0
    most_tracks: int = 1000

    def __post_init__(self) -> None:
        for name, (low, high) in RANGES.items():
            value = getattr(self, name)
            if not low <= value <= high:
                raise InputError(f"tracker setting {name} = {value} is not in [{low}, {high}]")


RANGES: dict[str, tuple[float, float]] = {
    "frame_s": (0.001, 60.0),
    "noise": (0.001, 1.0),
    "drive": (0.0, 100.0),
    "stretch": (0.0, 10.0),
    "speed": (0.0, 100.0),
    "top_speed": (0.1, 1000.0),
    "memory_s": (0.05, 1000.0),
    "stretch_memory_s": (0.05, 1000.0),
    "gate": (1.0, 10.0),
    "size_ratio": (1.0, 10.0),
    "strong": (0.0, 1.0),
    "weak_limit": (0.0, 1.0),
    "seen_again": (0.0, 100.0),
    "miss_trust": (0.0, 1.0),
    "survival_s": (0.1, 10000.0),
    "least_weight": (0.001, 0.5),
    "most_sigma": (0.5, 100.0),
    "most_tracks": (1, 100000),
}
"""Inclusive range of each number in ``TrackerSettings``."""

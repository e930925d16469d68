"""Times that are reckoned from an earlier run in place of measured ones.

On a machine whose cores other programs use, times stray by more than methods differ by, and
planners with a budget suffer most. With the network's times of a quiet run the same blocks take the
same time in every run and for every method.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from re_pose_ros.bench.pool import Answer, Task
from re_pose_ros.detection.preprocess import canvas_size
from re_pose_ros.detection.profile import Profile, VariantProfile
from re_pose_ros.detections import Detections
from re_pose_ros.errors import InputError
from re_pose_ros.plan import PlannedBlock, Variant
from re_pose_ros.planning.costs import STRIDE, profiled_pixels

PLANNING_MS, FUSION_MS = 6.5, 1.2
"""The robot's own work per frame, about as ``bench overhead`` has it, for every method."""
ENCODE_MS, DECODE_MS = 5.5e-6, 4.5e-6
"""Per pixel that is sent, with cropping and shrinking, and on the worker."""
LEAST_MS = 1.0
"""What a network takes at the least for a block."""


@dataclass(frozen=True, slots=True)
class Reckoned:
    """What blocks take: linear in the area of the network's input.

    Attributes:
        lines: by network, milliseconds for nothing and per pixel.
        source: where they are from.
    """

    lines: Mapping[str, tuple[float, float]]
    source: str

    @classmethod
    def read(cls, path: Path) -> Reckoned:
        """From the result of a ``bench partition``; InputError where it holds no times."""
        try:
            times = json.loads(path.read_text(encoding="utf-8"))["profile"]["time_ms"]
            found: dict[str, list[tuple[float, float]]] = {}
            for name, time in times.items():
                model, _, size = name.rpartition("@")
                variant = Variant(model, int(size))
                found.setdefault(model, []).append((profiled_pixels(variant), float(time)))
        except OSError as error:
            raise InputError(f"times {path} cannot be read: {error.strerror}") from error
        except (ValueError, KeyError, TypeError, AttributeError):
            raise InputError(f"{path} is no result of bench partition, which has times") from None
        if not found or min(map(len, found.values())) < 2:
            raise InputError(f"{path} has the times of fewer than two input sizes of a network")
        lines = {}
        for model, points in found.items():
            pixels, took = np.array(points).T
            slope, base = np.polyfit(pixels, took, 1)
            if not (math.isfinite(slope) and slope > 0):
                raise InputError(f"{path}: larger inputs of {model} do not take longer")
            lines[model] = max(float(base), LEAST_MS), float(slope)
        return cls(lines, path.name)

    def detect_ms(self, variant: Variant, pixels: float) -> float:
        """For an input of so many pixels; InputError for a network without times."""
        if variant.model not in self.lines:
            known = ", ".join(self.lines)
            raise InputError(f"{self.source} has no times of {variant.model}; it has {known}")
        base, slope = self.lines[variant.model]
        return base + slope * pixels

    def profile(self, own: Profile) -> Profile:
        """``own`` with reckoned times."""
        entries = [
            VariantProfile(
                entry.variant,
                self.detect_ms(entry.variant, profiled_pixels(entry.variant)),
                accuracy=entry.accuracy,
            )
            for entry in own.variants
        ]
        return Profile(own.worker, own.device, own.labels, tuple(entries), own.data)

    def answers(self, tasks: Sequence[Task], blocks: Sequence[PlannedBlock]) -> list[Answer]:
        """Times of a frame's blocks, with no detections; InputError for a job that is no block."""
        return [self._answer(*pair) for pair in zip(tasks, blocks, strict=True)]

    def _answer(self, task: Task, planned: PlannedBlock) -> Answer:
        if task.job != "detect" or task.variant is None:
            raise InputError(
                f"what '{task.job}' takes can only be measured; leave out the method, or --times"
            )
        width, height = planned.request.image_size
        wide, high = canvas_size((width, height), task.variant.input_size, STRIDE)
        detect = self.detect_ms(task.variant, wide * high)
        return Answer(Detections.empty(), DECODE_MS * width * height, detect, 1.0)

    @staticmethod
    def encode_ms(planned: PlannedBlock) -> float:
        """Cropping, shrinking and JPEG on the robot."""
        return ENCODE_MS * math.prod(planned.request.image_size)

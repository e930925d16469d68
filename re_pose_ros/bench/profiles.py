"""What the pool's networks can do, as workers of the graph tell before they start."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from re_pose_ros.bench.pool import Pool, Task
from re_pose_ros.detection.profile import (
    Profile,
    VariantProfile,
    profile_beside,
    read_profile,
    with_accuracy,
)
from re_pose_ros.errors import InputError
from re_pose_ros.geometry import whole
from re_pose_ros.image_codec import encode_jpeg
from re_pose_ros.plan import Variant

REPEATS, WARMUP = 5, 2
"""As in ``detection.profile.measure``."""
_GREY = 114


def measured_profile(pool: Pool, input_sizes: Sequence[int]) -> tuple[Profile, str]:
    """The networks' profile on the pool's first core.

    As ``detection.profile.measure``: the median time for an empty picture of 16:9, without
    decoding, but by the clock of the pool's detector. Accuracy is what is known beside the
    weights of each.

    Args:
        pool: its first worker has to be idle.
        input_sizes: of the variants, in pixels.

    Returns:
        The profile, and what was wrong with files beside weights; empty where nothing was.

    Raises:
        InputError: the worker ended or failed.
    """
    offer = pool.offer
    entries = []
    sizes = sorted(set(input_sizes))
    for variant in (Variant(name, size) for name in offer.models for size in sizes):
        size = variant.input_size
        picture = np.full((max(round(size * 9 / 16), 1), size, 3), _GREY, np.uint8)
        roi = whole(size, picture.shape[0])
        task = Task(encode_jpeg(picture, 90), roi, variant)
        times = [pool.run([(0, task)])[0].detect_ms for _ in range(WARMUP + REPEATS)]
        entries.append(VariantProfile(variant, float(np.median(times[WARMUP:]))))
    profile = Profile("core", offer.device, offer.labels, tuple(entries))
    problems = []
    for beside in (profile_beside(path) for path in offer.paths.values() if path):
        try:
            if beside.exists():
                profile = with_accuracy(profile, read_profile(beside), beside)
        except InputError as error:
            problems.append(str(error))
    return profile, "; ".join(problems)


def worker_profiles(profile: Profile, speeds: Mapping[str, float]) -> dict[str, Profile]:
    """By worker, the profile with its times divided by the worker's speed."""
    return {
        name: replace(
            profile,
            worker=name,
            variants=tuple(
                replace(entry, time_ms=entry.time_ms / speed) for entry in profile.variants
            ),
        )
        for name, speed in speeds.items()
    }


def described(profile: Profile, problem: str) -> dict[str, Any]:
    """For the result: times by variant, and what the accuracy was measured on."""
    return {
        "time_ms": {str(entry.variant): round(entry.time_ms, 3) for entry in profile.variants},
        "accuracy_from": list(profile.data),
        **({"problem": problem} if problem else {}),
    }

"""``bench partition``: all methods on all frames."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from tqdm import tqdm

from re_pose_ros.bench.measure import Conditions, Looker, Measured
from re_pose_ros.bench.methods import Method, MethodSettings, make_methods
from re_pose_ros.bench.options import BenchOptions
from re_pose_ros.bench.pool import Pool, Task
from re_pose_ros.bench.profiles import described, measured_profile, worker_profiles
from re_pose_ros.bench.result import Sample, Setup, result
from re_pose_ros.bench.slowdown import speeds_at
from re_pose_ros.datasets import AnnotatedFrames
from re_pose_ros.detection.model import model_name
from re_pose_ros.detection.profile import Profile
from re_pose_ros.errors import InputError
from re_pose_ros.evaluation.class_maps import class_map_of
from re_pose_ros.frame import Frame
from re_pose_ros.geometry import Block
from re_pose_ros.ground_truth import GroundTruth
from re_pose_ros.image_codec import encode_jpeg
from re_pose_ros.planning.makespan import Network

REPEAT_NS = 40_000_000
"""From one showing of a photo to the next."""


@dataclass(frozen=True, slots=True)
class _Shown:
    """A frame in its turn.

    Attributes:
        number: the dataset that it is from.
        frame: with the time at which it is shown, where it is shown repeatedly.
        truth: what is to be found.
        begins: whether it is the first of its sequence.
        position: among the counted frames of its sequence, from 0; None for one that is not.
    """

    number: int
    frame: Frame
    truth: GroundTruth
    begins: bool
    position: int | None


def compare(
    data: Sequence[tuple[str, AnnotatedFrames]],
    options: BenchOptions,
    keep: Callable[[dict[str, Any]], None] = lambda partial: None,
) -> dict[str, Any]:
    """Run all methods on all frames; the result as in the JSON file.

    Args:
        data: as the user named it, and opened; all with the same labels.
        options: see there.
        keep: given what was measured so far where a run ends early, before the error is raised.

    Raises:
        InputError: something cannot be used, a frame cannot be read, or a worker ended.
    """
    started = time.perf_counter()
    labels = _labels(data, options)
    network = Network(options.bandwidth_mbit_s, options.links)
    speeds = options.speed_by_worker()
    conditions = Conditions(
        network,
        options.fusion,
        options.jpeg_quality,
        options.observed_confidence,
        options.detector.clock,
        options.reckoned,
    )
    # Names and budgets are looked at before anything is loaded.
    weights = options.detector.weights, *options.detector.others
    named = [model_name(Path(each)) for each in weights]
    make_methods(options.methods, _method_settings(options, named, {}))
    with Pool(options.detector, options.workers) as pool:
        profile, problem = measured_profile(pool, options.input_sizes)
        if options.reckoned is not None:
            profile = options.reckoned.profile(profile)
        settings = _method_settings(options, pool.offer.models, worker_profiles(profile, speeds))
        methods, missing = make_methods(options.methods, settings)
        class_map = class_map_of(options.class_map, pool.offer.labels, labels)
        setup = Setup(
            options=options,
            specs=tuple(spec for spec, _ in data),
            offer=pool.offer,
            cores=len(pool.cores),
            class_map=class_map,
            unavailable=missing,
            profile=described(profile, problem),
        )
        samples: list[Sample] = []
        threads = cv2.getNumThreads()
        cv2.setNumThreads(1)  # the robot has as much as a worker, and both clocks agree
        try:
            _prepare(methods, pool)
            for sample in _samples(data, methods, pool, conditions, setup, labels):
                samples.append(sample)
        except (InputError, KeyboardInterrupt) as error:
            text = str(error) or "interrupted"
            keep(result(setup, samples, time.perf_counter() - started, text))
            raise
        finally:
            cv2.setNumThreads(threads)
    return result(setup, samples, time.perf_counter() - started)


def _labels(data: Sequence[tuple[str, AnnotatedFrames]], options: BenchOptions) -> tuple[str, ...]:
    if not data:
        raise InputError("nothing to compare on; give --data")
    for spec, frames in data:
        if frames.labels != data[0][1].labels:
            raise InputError(f"{spec} and {data[0][0]} have different classes; run them apart")
        if options.repeat > 1 and not frames.independent:
            raise InputError(f"repeat is for independent photos; the frames of {spec} are not")
    return data[0][1].labels


def _method_settings(
    options: BenchOptions, models: Sequence[str], profiles: Mapping[str, Profile]
) -> MethodSettings:
    return MethodSettings(
        tuple(models),
        options.speed_by_worker(),
        options.slots,
        tuple(sorted(options.input_sizes)),
        options.partition,
        options.changed,
        profiles,
        options.budgets,
        options.detector.clock,
    )


def _prepare(methods: Sequence[Method], pool: Pool) -> None:
    """Have every worker load what the methods' jobs need, so that no frame pays for it."""
    data = encode_jpeg(np.zeros((64, 64, 3), np.uint8), 90)
    for job in dict.fromkeys(method.job for method in methods):
        task = Task(data, Block(0, 0, 64, 64), None, job)
        pool.run([(number, task) for number in range(len(pool.cores))])


def _samples(
    data: Sequence[tuple[str, AnnotatedFrames]],
    methods: Sequence[Method],
    pool: Pool,
    conditions: Conditions,
    setup: Setup,
    labels: tuple[str, ...],
) -> Iterator[Sample]:
    """One per counted frame, with every method's detections and times."""
    options = setup.options
    speeds = options.speed_by_worker()
    lookers = [Looker(method, pool, conditions) for method in methods]
    total = sum(len(frames) for _, frames in data) * options.repeat * len(methods)
    with tqdm(total=total, unit="look", dynamic_ncols=True) as bar:
        for shown in _shown(data, options.warm, options.repeat):
            frame, counts = shown.frame, shown.position is not None
            known = setup.class_map.map_truth(shown.truth, labels)
            now = speeds_at(shown.position or 0, speeds, options.slow if counts else ())
            measured: dict[str, Measured] = {}
            for looker in lookers:
                name = looker.method.name
                bar.set_postfix_str(name, refresh=False)
                if shown.begins:
                    looker.begin()
                if counts or looker.method.remembers:
                    measured[name] = looker.look(frame, known, now, alone=counts)
                bar.update()
            if counts:
                yield Sample(
                    shown.number, frame.index, frame.frame_id, known, measured, now != speeds
                )


def _shown(data: Sequence[tuple[str, AnnotatedFrames]], warm: int, repeat: int) -> Iterator[_Shown]:
    """All frames as often as they are to be shown."""
    for number, (_, frames) in enumerate(data):
        last: str | None = None
        position = 0
        for frame, truth in frames:
            begins = last is None or frames.independent or frame.frame_id != last
            last = frame.frame_id
            position = 0 if begins else position + 1
            for k in range(repeat):
                shown = frame
                if repeat > 1:
                    shown = replace(frame, stamp_ns=(frame.stamp_ns or 0) + k * REPEAT_NS)
                counts = position >= warm and k == repeat - 1
                at = position - warm if counts else None
                yield _Shown(number, shown, truth, begins and k == 0, at)

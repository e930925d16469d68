"""What is evaluated on: frames with their ground truth, or bare ones."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from re_pose_ros.bags.reading import is_bag
from re_pose_ros.datasets import AnnotatedFrames, is_dataset, open_dataset, open_datasets
from re_pose_ros.errors import InputError
from re_pose_ros.frame import Frame
from re_pose_ros.sources import open_source

_ANNOTATIONS = {".json": "coco", ".txt": "mot"}


@dataclass(frozen=True)
class EvaluationData:
    """Frames to evaluate on, which may be gone through repeatedly.

    Attributes:
        name: for messages and reports.
        labels: class names of the ground truth by class id; empty where there is none.
        independent: these are photos of which none follows from the one before.
        total: how many frames to expect; None where that is not known.
        frames: a pass over all, with ``Frame.truth`` set where it is known; raises InputError
            where an image cannot be read.
        some: the frames of these rising positions only.
    """

    name: str
    labels: tuple[str, ...]
    independent: bool
    total: int | None
    frames: Callable[[], Iterator[Frame]]
    some: Callable[[Sequence[int]], Iterator[Frame]]

    def frame_name(self, frame: Frame, index: int) -> str:
        """The photo's name, or its sequence and its position."""
        if self.independent and frame.frame_id:
            return frame.frame_id
        return f"{frame.frame_id or self.name} #{index}"


def open_data(
    specs: Sequence[str],
    *,
    ground_truth: str = "",
    topic: str = "",
    start: int = 0,
    count: int = 0,
    step: int = 1,
) -> EvaluationData:
    """Open datasets, scenes and bags with ground truth, or one source without.

    Args:
        specs: as of ``open_dataset``, several with the same classes; or one as of ``open_source``.
        ground_truth: a topic of the bag that is the only spec, or an annotation file (MOT text,
            COCO JSON) for the video, folder or bag that is.
        topic: image topic of a bag that has several.
        start: first frame.
        count: at most so many frames; 0 is all.
        step: every so many frames.

    Raises:
        InputError: something is missing, malformed or not known, or no frame is left.
    """
    if min(start, count) < 0 or step < 1:
        raise InputError(f"start {start}, frames {count} or step {step} is too small")
    if ground_truth:
        return _annotated(_with_truth(_only(specs), ground_truth, topic), start, count, step)
    annotated = [is_dataset(spec) for spec in specs]
    if not specs or not all(annotated):
        return _bare(_only(specs), topic, start, count, step)
    if topic:
        return _annotated(open_dataset(_only(specs), images=topic), start, count, step)
    return _annotated(open_datasets(specs), start, count, step)


def _only(specs: Sequence[str]) -> str:
    if not specs:
        raise InputError("nothing to evaluate on; name a dataset, scene, bag, video or folder")
    if len(specs) > 1:
        raise InputError(f"{specs[0]} and {specs[1]}: several only of datasets and scenes")
    return specs[0]


def _with_truth(spec: str, ground_truth: str, topic: str) -> AnnotatedFrames:
    file = Path(ground_truth.partition(":")[2] or ground_truth).expanduser()
    if not os.path.isfile(file):
        if not is_bag(Path(spec)):
            raise InputError(
                f"ground truth {ground_truth} is no file, and {spec} is no bag with such a topic"
            )
        return open_dataset(f"bag:{spec}", ground_truth=ground_truth, images=topic)
    if not os.path.exists(spec):
        raise InputError(f"{spec} does not exist")
    kind = ground_truth.partition(":")[0] if ":" in ground_truth else ""
    kind = kind or _ANNOTATIONS.get(file.suffix.lower(), "")
    if kind not in _ANNOTATIONS.values():
        known = ", ".join(f"{suffix} ({kind})" for suffix, kind in _ANNOTATIONS.items())
        raise InputError(f"ground truth {ground_truth}: known annotation files are {known}")
    return open_dataset(f"{kind}:{file}", images=spec)


def _annotated(frames: AnnotatedFrames, start: int, count: int, step: int) -> EvaluationData:
    if start >= len(frames):
        raise InputError(f"{frames.name} has {len(frames)} frames; start {start} is behind them")
    if (start, count, step) != (0, 0, 1):
        frames = frames.select(slice(start, start + count * step if count else None, step))

    def some(positions: Sequence[int]) -> Iterator[Frame]:
        return (frame for frame, _ in frames.select(positions))

    return EvaluationData(
        frames.name,
        frames.labels,
        frames.independent,
        len(frames),
        lambda: (frame for frame, _ in frames),
        some,
    )


def _bare(spec: str, topic: str, start: int, count: int, step: int) -> EvaluationData:
    with open_source(spec, topic=topic, start=start) as probe:
        name, length = probe.name, probe.total
        if not probe.replayable:
            raise InputError(f"{name} is live; record it first, then evaluate the recording")

    def frames() -> Iterator[Frame]:
        with open_source(spec, topic=topic, start=start) as source:
            yield from islice(source, 0, count * step if count else None, step)

    def some(positions: Sequence[int]) -> Iterator[Frame]:
        wanted = set(positions)
        passed = islice(frames(), max(wanted, default=-1) + 1)
        return (frame for index, frame in enumerate(passed) if index in wanted)

    total = None if length is None else -(-length // step)
    if count:
        total = count if total is None else min(total, count)
    return EvaluationData(Path(spec).name, (), False, total, frames, some)

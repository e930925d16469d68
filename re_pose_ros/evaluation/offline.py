"""Every frame through pipelines in this process.

Reproducible to the last digit, but for partitioners that plan by measured times.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from re_pose_ros.errors import InputError
from re_pose_ros.evaluation.data import EvaluationData
from re_pose_ros.evaluation.outcome import FrameOutcome
from re_pose_ros.frame import Frame
from re_pose_ros.ground_truth import GroundTruth
from re_pose_ros.pipeline import FrameResult, Pipeline


def run_offline(
    pipelines: Mapping[str, Pipeline],
    data: EvaluationData,
    *,
    repeat: int = 1,
    truth: Callable[[Frame], GroundTruth] | None = None,
) -> Iterator[dict[str, FrameOutcome]]:
    """Each frame by each pipeline, one after the other, so that all saw the same frames.

    A pipeline starts anew where another sequence begins; for independent photos, at each.

    Args:
        pipelines: by name.
        data: the frames.
        repeat: how often each independent photo is shown; the last time counts.
        truth: what takes the place of the frames' own truth.

    Raises:
        InputError: photos are to be repeated that are none, or an image cannot be read.
    """
    if repeat < 1:
        raise InputError(f"repeat is {repeat}; it has to be at least 1")
    if repeat > 1 and not data.independent:
        raise InputError(
            f"repeat is for photos that do not follow one another; the frames of {data.name} do"
        )
    last: Frame | None = None
    for index, frame in enumerate(data.frames()):
        if data.independent or last is None or frame.frame_id != last.frame_id:
            for pipeline in pipelines.values():
                pipeline.reset()
        last = frame
        known = truth(frame) if truth else frame.truth
        name = data.frame_name(frame, index)
        yield {
            key: _outcome(index, name, frame, known, _last_of(pipeline, frame, repeat))
            for key, pipeline in pipelines.items()
        }


def _last_of(pipeline: Pipeline, frame: Frame, repeat: int) -> FrameResult:
    for _ in range(repeat - 1):
        pipeline.run(frame.image)
    return pipeline.run(frame.image)


def _outcome(
    index: int, name: str, frame: Frame, truth: GroundTruth | None, result: FrameResult
) -> FrameOutcome:
    return FrameOutcome(
        index=index,
        name=name,
        sequence=frame.frame_id,
        size=frame.size,
        truth=truth,
        detections=result.detections,
        plan=result.plan,
        stages_ms=result.stages_ms,
        block_ms=result.block_ms,
        block_bytes=result.block_bytes,
        latency_ms=sum(result.stages_ms.values()),
        expected=result.outcome,
        clusters=() if result.expected is None else result.expected.clusters,
    )

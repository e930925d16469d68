"""Frames with their ground truth; images are read when they are asked for."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from re_pose_ros.bags.reading import image_messages
from re_pose_ros.errors import InputError
from re_pose_ros.frame import Frame
from re_pose_ros.ground_truth import GroundTruth
from re_pose_ros.image_codec import decode_compressed
from re_pose_ros.sources import open_source


class AnnotatedFrames(Protocol):
    """Frames in their order, each with what is true of it, of files as of generated scenes.

    Iterating gives (Frame, GroundTruth) pairs with ``Frame.index`` counting from 0 and
    ``Frame.truth`` set; it makes images when they are asked for, may be repeated, and raises
    InputError where an image is missing or cannot be decoded. Where ``Frame.frame_id`` changes
    from one frame to the next, another sequence begins.
    """

    @property
    def name(self) -> str:
        """For messages and reports."""

    @property
    def labels(self) -> tuple[str, ...]:
        """Class names by class id."""

    @property
    def independent(self) -> bool:
        """Whether these are photos of which none follows from the one before."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[tuple[Frame, GroundTruth]]: ...

    def select(self, indices: Sequence[int] | slice) -> AnnotatedFrames:
        """The frames of these positions; raises IndexError for one that is not there."""


@dataclass(frozen=True, slots=True, eq=False)
class FrameRef:
    """Where one image is, and what is true of it.

    Attributes:
        path: an image file; with ``index``, a video or a bag.
        truth: the annotations.
        index: number of the frame in the video, or of the message on ``topic`` of the bag.
        topic: image topic of a bag; empty elsewhere.
        stamp_ns: capture time in nanoseconds; None where the set tells none.
        frame_id: coordinate frame of the camera, the name of the sequence that it took, or of a
            photo its file; track ids hold within one.
    """

    path: Path
    truth: GroundTruth
    index: int | None = None
    topic: str = ""
    stamp_ns: int | None = None
    frame_id: str = ""

    @property
    def name(self) -> str:
        """For reports: the image file, or the source and the frame number in it."""
        if self.index is None:
            photo = self.path.as_posix().endswith(self.frame_id)
            return self.path.name if photo else f"{self.frame_id}/{self.path.name}"
        return f"{self.path.name}#{self.index}"


@dataclass(frozen=True)
class Dataset:
    """``AnnotatedFrames`` of files.

    Attributes:
        name: for messages and reports.
        labels: class names by class id.
        frames: what is known without reading images.
    """

    name: str
    labels: tuple[str, ...]
    frames: Sequence[FrameRef]

    @property
    def independent(self) -> bool:
        """Whether these are photos of which none follows from the one before."""
        return all(a.frame_id != b.frame_id for a, b in itertools.pairwise(self.frames))

    def __len__(self) -> int:
        return len(self.frames)

    def __iter__(self) -> Iterator[tuple[Frame, GroundTruth]]:
        for index, (frame, ref) in enumerate(zip(_load(self.frames), self.frames, strict=True)):
            yield Frame(frame.image, index, ref.stamp_ns, ref.frame_id, ref.truth), ref.truth

    def select(self, indices: Sequence[int] | slice) -> Dataset:
        """The frames of these positions; raises IndexError for one that is not there."""
        return replace(self, frames=tuple(self.frames[k] for k in chosen(indices, len(self))))


def chosen(indices: Sequence[int] | slice, length: int) -> list[int]:
    """Positions from 0 that are meant; raises IndexError for one that is not there."""
    if isinstance(indices, slice):
        return list(range(length)[indices])
    return [range(length)[k] for k in indices]


def read_image_file(path: Path) -> bytes:
    """The bytes of an image file; raises InputError where it cannot be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"image {path} cannot be read: {error.strerror}") from error


def _load(refs: Sequence[FrameRef]) -> Iterator[Frame]:
    """The images of ``refs``; runs of frames from one video or bag are read in one pass."""
    position = 0
    while position < len(refs):
        ref = refs[position]
        if ref.index is not None:
            run = _run(refs, position)
            yield from _play(ref.path, ref.topic, run)
            position += len(run)
            continue
        data = read_image_file(ref.path)
        try:
            image = decode_compressed(data)
        except InputError as error:
            raise InputError(f"{ref.path}: {error}") from error
        yield Frame(image, position)
        position += 1


def _run(refs: Sequence[FrameRef], start: int) -> list[int]:
    """The rising frame numbers of one source from position ``start`` on."""
    first = refs[start]
    numbers: list[int] = []
    for ref in itertools.islice(refs, start, None):
        same = (ref.path, ref.topic) == (first.path, first.topic)
        if not same or ref.index is None or (numbers and ref.index <= numbers[-1]):
            break
        numbers.append(ref.index)
    return numbers


def _play(path: Path, topic: str, numbers: Sequence[int]) -> Iterator[Frame]:
    if topic:
        frames = image_messages(path, topic, start=numbers[0])
    else:
        frames = iter(open_source(str(path), start=numbers[0]))
    wanted = iter(numbers)
    number = next(wanted, None)
    with closing(frames):  # type: ignore[type-var]
        for frame in frames:
            if number is None or frame.index > number:
                break
            if frame.index == number:
                yield frame
                number = next(wanted, None)
    if number is not None:
        raise InputError(f"{path} has no readable frame {number}, which is annotated")

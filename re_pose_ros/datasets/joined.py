"""Several annotated sets as one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

from re_pose_ros.datasets.dataset import AnnotatedFrames, chosen
from re_pose_ros.errors import InputError
from re_pose_ros.frame import Frame
from re_pose_ros.ground_truth import GroundTruth


@dataclass(frozen=True)
class JoinedFrames:
    """``AnnotatedFrames`` of parts with the same labels, one part after the other.

    Where two neighbours have the same ``frame_id``, the later one's is numbered, so that another
    sequence begins there.

    Attributes:
        parts: at least one; see ``join``.
    """

    parts: tuple[AnnotatedFrames, ...]

    @property
    def name(self) -> str:
        """The parts' names."""
        return " + ".join(part.name for part in self.parts)

    @property
    def labels(self) -> tuple[str, ...]:
        """Class names by class id."""
        return self.parts[0].labels

    @property
    def independent(self) -> bool:
        """Whether all parts are."""
        return all(part.independent for part in self.parts)

    def __len__(self) -> int:
        return sum(len(part) for part in self.parts)

    def __iter__(self) -> Iterator[tuple[Frame, GroundTruth]]:
        index, last = 0, None
        for number, part in enumerate(self.parts, 1):
            suffix = None
            for frame, truth in part:
                if suffix is None:
                    suffix = f"#{number}" if frame.frame_id == last else ""
                last = frame.frame_id + suffix
                yield replace(frame, index=index, frame_id=last), truth
                index += 1

    def select(self, indices: Sequence[int] | slice) -> JoinedFrames:
        """The frames of these positions; raises IndexError for one that is not there."""
        starts = [0, *accumulate(len(part) for part in self.parts)]
        runs: list[tuple[int, list[int]]] = []
        for position in chosen(indices, len(self)):
            part = max(k for k in range(len(self.parts)) if starts[k] <= position)
            if not runs or runs[-1][0] != part:
                runs.append((part, []))
            runs[-1][1].append(position - starts[part])
        return JoinedFrames(tuple(self.parts[k].select(run) for k, run in runs or [(0, [])]))


def join(parts: Sequence[AnnotatedFrames]) -> AnnotatedFrames:
    """One set of several, in their order.

    Raises:
        InputError: there is none, or their labels differ.
    """
    if not parts:
        raise InputError("no dataset given; name at least one")
    first = parts[0]
    for part in parts[1:]:
        if part.labels != first.labels:
            raise InputError(
                f"{part.name} has the classes {', '.join(part.labels)}; {first.name} has "
                f"{', '.join(first.labels)}: only sets of the same classes can be joined"
            )
    return first if len(parts) == 1 else JoinedFrames(tuple(parts))

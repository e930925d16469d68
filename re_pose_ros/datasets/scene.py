"""Generated scenes as annotated frames."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from re_pose_ros.datasets.dataset import chosen
from re_pose_ros.frame import Frame
from re_pose_ros.ground_truth import GroundTruth
from re_pose_ros.scenes import CLASSES, Scene, SceneSpec


@dataclass(frozen=True)
class SceneFrames:
    """``AnnotatedFrames`` of a scene, which is drawn anew whenever they are iterated.

    Attributes:
        name: for messages and reports.
        spec: what the scene is made from.
        indices: which frames of the scene.
    """

    name: str
    spec: SceneSpec
    indices: Sequence[int]

    @property
    def labels(self) -> tuple[str, ...]:
        """Class names by class id."""
        return CLASSES

    @property
    def independent(self) -> bool:
        """False unless it is a single frame."""
        return len(self.indices) < 2

    def __len__(self) -> int:
        return len(self.indices)

    def __iter__(self) -> Iterator[tuple[Frame, GroundTruth]]:
        scene = Scene(self.spec)
        frame_id = f"{self.spec.kind}_{self.spec.seed}"
        for index, number in enumerate(self.indices):
            image, truth = scene.render(number)
            yield Frame(image, index, scene.stamp_ns(number), frame_id, truth), truth

    def select(self, indices: Sequence[int] | slice) -> SceneFrames:
        """The frames of these positions; raises IndexError for one that is not there."""
        positions = chosen(indices, len(self))
        return replace(self, indices=tuple(self.indices[k] for k in positions))

"""RE-POSE: blocks refined by a learned agent, networks and workers chosen within a budget."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from re_pose_ros.distribution import ObjectDistribution
from re_pose_ros.partition.base import FrameOutcome, PartitionContext, PartitionSettings
from re_pose_ros.partition.clusters import Clusters
from re_pose_ros.plan import BlockRequest, Expectation

Refinement = Literal["agent", "greedy", "none"]


@dataclass(frozen=True, slots=True)
class RePoseOptions:
    """Which parts of the method are used; all of them but for ablations.

    Attributes:
        refinement: what merges and splits the initial clusters.
        tracking: predict the objects; without, those of the last frame are taken as they were.
        knapsack: choose networks and workers jointly; without, as ``clusters`` does.
        perspective: transform y before clustering.
    """

    refinement: Refinement = "agent"
    tracking: bool = True
    knapsack: bool = True
    perspective: bool = True


class RePose:
    """The method of RE-POSE (arXiv 2501.09465), as far as it is public."""

    notes: tuple[str, ...] = ()
    expected: Expectation | None = None

    def __init__(
        self,
        settings: PartitionSettings,
        options: RePoseOptions | None = None,
        name: str = "re_pose",
    ) -> None:
        self.name = name
        self.settings = settings
        self.options = options or RePoseOptions()
        self._known: ObjectDistribution | None = None
        self._clusters = Clusters(settings)

    def know(self, objects: ObjectDistribution) -> None:
        """What is to be found in the next frame, instead of what the tracker expects."""
        self._known = objects

    def partition(self, context: PartitionContext) -> list[BlockRequest]:
        return self._clusters.partition(context)

    def observe(self, outcome: FrameOutcome) -> None:
        self._clusters.observe(outcome)

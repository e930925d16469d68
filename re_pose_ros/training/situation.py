"""A frame before it is planned, together with what is really there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from re_pose_ros.geometry import box_areas
from re_pose_ros.ground_truth import GroundTruth
from re_pose_ros.partition.base import PartitionSettings
from re_pose_ros.partition.blocks import chosen_blocks
from re_pose_ros.partition.groups import Groups, class_counts
from re_pose_ros.partition.looks import Looks
from re_pose_ros.partition.outlook import Conditions
from re_pose_ros.partition.worth import usefulness
from re_pose_ros.planning.costs import CostModel
from re_pose_ros.planning.imagined import Imagined


@dataclass(frozen=True, slots=True, eq=False)
class Situation:
    """All that a plan is made from but for the groups, and the objects that it may find.

    Attributes:
        looks: blocks to be looked at although nothing is expected there.
        conditions: what there is to look with.
        workers: slots by name.
        costs: of the workers, as they were known then.
        settings: budget and objective.
        share: of the time that is left, what is planned with at first.
        lag_ms: by how much frames are done later than expected.
        truth: the objects that are there.
        imagined: who answers.
    """

    looks: Looks
    conditions: Conditions
    workers: Mapping[str, int]
    costs: CostModel
    settings: PartitionSettings
    share: float
    lag_ms: float
    truth: GroundTruth
    imagined: Imagined

    def found(self, groups: Groups) -> float:
        """Share of the objects that the plan for these groups would find, as is to be expected.

        Known to the planner or not, in blocks around groups or in looks; weighted by ``usefulness``
        and, as the planner does, by class. Takes about as long as planning a frame.
        """
        chosen = chosen_blocks(
            groups,
            self.looks,
            self.conditions,
            self.workers,
            self.costs,
            self.settings,
            self.share,
            self.lag_ms,
        )
        count = len(self.truth)
        if not count:
            return 0.0
        sizes = np.sqrt(box_areas(self.truth.xyxy.astype(np.float64)))
        missed = np.ones(count)
        for request in chosen.requests:
            useful = usefulness(sizes * request.input_scale)
            missed *= 1 - self.imagined.chances(request, self.truth) * useful
        counts = class_counts(self.truth.class_id, np.ones(count), self.settings.class_balance)
        return float((1 - missed) @ counts) / count

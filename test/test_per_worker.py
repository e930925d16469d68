"""Parameters for all workers, or one by one, become one setting each."""

from __future__ import annotations

import pytest

from re_pose_ros.coinference.per_worker import settings_by_worker
from re_pose_ros.coinference.setting import DEVICE, Setting
from re_pose_ros.errors import InputError

WORKERS = ("a", "b")


def test_one_value_holds_for_all_and_several_one_by_one() -> None:
    made = settings_by_worker(WORKERS, ["full", "p5"], [0, 4], [6], [0], 90)
    assert made == {"a": Setting("full", 0, 0, 90), "b": Setting("p5", 4, 6, 0)}


def test_what_does_not_count_is_no_contradiction() -> None:
    made = settings_by_worker(WORKERS, ["full"], [0, DEVICE], [2], [55], 90)
    assert made == {"a": Setting("full", 0, 0, 55), "b": Setting("full", DEVICE, 0, 0)}


@pytest.mark.parametrize(
    ("exits", "cuts", "bits", "named"),
    [
        (["full"] * 3, [0], [6], "coinference.exit has 3 values for 2 workers"),
        (["full"], [0, 1, 2], [6], "coinference.cut has 3"),
        (["full"], [0], [5], "coinference.bits=5: allowed is 2, 4, 6, 8"),
        ([], [0], [6], "coinference.exit has 0"),
    ],
)
def test_impossible_parameters_are_refused(
    exits: list[str], cuts: list[int], bits: list[int], named: str
) -> None:
    with pytest.raises(InputError, match=named):
        settings_by_worker(WORKERS, exits, cuts, bits, [0], 90)

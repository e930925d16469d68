"""A partitioner's parameters as settings and back."""

from __future__ import annotations

from typing import Any

import pytest
import tuning_cases as cases
from hypothesis import given
from hypothesis import strategies as st

from re_pose_ros.coinference.setting import Setting
from re_pose_ros.parameters.tables import PARTITIONER
from re_pose_ros.tuning.in_force import READ, SHARED, obstacle, parameters_of, settings_of

TABLE = cases.detector_table()
WORKERS = ["a", "b"]


def values(**changed: Any) -> dict[str, Any]:
    """A partitioner's as it starts, with the table's network."""
    made = {name: PARTITIONER[name].default for name in READ}
    made |= {"workers": WORKERS, "coinference.model": "/somewhere/scene-n.pt"}
    return made | {f"coinference.{name}": value for name, value in changed.items()}


def test_parameters_for_all_or_one_by_one() -> None:
    assert settings_of(values()) == dict.fromkeys(WORKERS, Setting("full", 0, 0, 90))
    mixed = values(exit=["p4", "p5"], cut=[-1, 4], bits=[2, 4], quality=[70])
    assert settings_of(mixed) == {"a": Setting("p4", -1, 0, 0), "b": Setting("p5", 4, 4, 0)}


def test_only_what_counts_is_changed() -> None:
    before = values(bits=[8], quality=[55, 0])
    wanted = {"a": Setting.parse("p4/cut4/2bit"), "b": Setting.parse("p5/jpeg30")}
    assert parameters_of(wanted, before) == {
        "coinference.exit": ["p4", "p5"],
        "coinference.cut": [4, 0],
        "coinference.bits": [2, 8],
        "coinference.quality": [55, 30],
    }
    assert before == values(bits=[8], quality=[55, 0])


@given(st.lists(st.sampled_from(TABLE.settings), min_size=2, max_size=2))
def test_settings_come_back_from_their_parameters(chosen: list[Setting]) -> None:
    wanted = dict(zip(WORKERS, chosen, strict=True))
    own = parameters_of(wanted, values())
    assert tuple(own) == SHARED
    for name, value in own.items():
        assert PARTITIONER[name].checked(value) == value and PARTITIONER[name].live
    assert settings_of(values() | own) == wanted


@pytest.mark.parametrize(
    ("changed", "text"),
    [
        ({}, ""),
        ({"coinference.model": "scene-n"}, ""),
        ({"workers": ["b", "a"]}, ""),
        ({"coinference.model": ""}, "set coinference.model of the partitioner to scene-n"),
        ({"coinference.model": "yolo11n.pt"}, "the robot's network is yolo11n, but the table of"),
        ({"workers": ["a"]}, "the partitioner's workers are a; give the tuner the same"),
        ({"coinference.cut": None}, "start that of this package"),
    ],
)
def test_what_is_in_the_way_is_told_with_the_way_out(changed: dict[str, Any], text: str) -> None:
    found = obstacle(values() | changed, TABLE, WORKERS)
    assert (text in found) if text else found == ""

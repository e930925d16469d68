"""The table of actions: costs between measured sizes, its file, and what is refused."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tuning_cases as cases
from hypothesis import given
from hypothesis import strategies as st

from re_pose_ros.coinference.profile import ActionTable
from re_pose_ros.coinference.setting import DEVICE, Setting
from re_pose_ros.errors import InputError

TABLES = [cases.detector_table(), cases.small_table(), cases.classifier_table()]


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.graph + table.model)
def test_a_table_is_read_as_it_was_written(tmp_path: Path, table: ActionTable) -> None:
    path = tmp_path / "new" / "table.json"
    table.write(path)
    assert ActionTable.read(path) == table


def test_the_file_has_the_fields_that_are_documented() -> None:
    data = json.loads(cases.detector_table().to_json())
    head = "format graph model model_hash machine input_sizes size_edges actions"
    assert list(data) == head.split()
    assert data["format"] == 1 and len(data["actions"]) == 43
    assert data["actions"][0] == {
        "exit": "p3",
        "cut": -1,
        "bits": 0,
        "quality": 0,
        "accuracy": 0.4467,
        "accuracy_by_size": [0.36, 0.5, 0.48],
        "device_ms": [6.825, 14.7, 27.825],
        "edge_ms": [0.0, 0.0, 0.0],
        "bytes": [0.0, 0.0, 0.0],
    }


def test_costs_at_measured_sizes_are_those_measured() -> None:
    table = cases.detector_table()
    costs = table.costs(cases.SIZES)
    for a, action in enumerate(table.actions):
        assert tuple(costs.device_ms[:, a]) == pytest.approx(action.device_ms)
        assert tuple(costs.edge_ms[:, a]) == pytest.approx(action.edge_ms)
        assert tuple(costs.bits[:, a] / 8) == pytest.approx(action.bytes)


def test_costs_are_linear_in_the_area_between_and_beyond() -> None:
    table = cases.detector_table()
    low, middle, high = (table.costs(size) for size in cases.SIZES)
    half = np.sqrt((320**2 + 640**2) / 2)
    assert table.costs(half).device_ms == pytest.approx((low.device_ms + middle.device_ms) / 2)
    slope = (high.bits - middle.bits) / (960**2 - 640**2)
    expected = high.bits + slope * (1280**2 - 960**2)
    assert table.costs(1280).bits == pytest.approx(expected)
    assert table.costs(100).edge_ms == pytest.approx(low.edge_ms)
    assert table.costs(np.full((2, 3), 640.0)).bits.shape == (2, 3, 43)


def test_costs_beyond_the_largest_size_never_fall_below_zero() -> None:
    table = cases.detector_table()
    falling = replace(table.actions[0], device_ms=(30.0, 20.0, 1.0))
    table = replace(table, actions=(falling, *table.actions[1:]))
    assert table.costs(4000).device_ms[0] == 0


def test_one_size_costs_the_same_everywhere() -> None:
    table = cases.small_table()
    for size in (64, 640, 2000):
        assert table.costs(size).device_ms.tolist() == [20.0, 80.0, 5.0, 15.0]
        assert table.costs(size).bits.tolist() == [0, 0, 400_000.0, 80_000.0]


def test_accuracy_without_sizes_holds_for_all() -> None:
    assert cases.classifier_table().accuracy_by_size.tolist() == [[0.4], [0.8], [0.75], [0.7]]


def test_the_fallback_is_what_the_robot_does_fastest_alone() -> None:
    table = cases.detector_table()
    assert str(table.settings[table.fallback]) == "p3/device"
    turned = replace(table, actions=table.actions[::-1])
    assert turned.fallback == 42
    late = table.only(lambda setting: setting.exit != "p3")
    assert str(late.settings[late.fallback]) == "p4/device"


def test_settings_are_found_by_number() -> None:
    table = cases.small_table()
    for number, setting in enumerate(table.settings):
        assert table.index(setting) == number
    with pytest.raises(InputError, match="early/jpeg70 is not in the table of small"):
        table.index(Setting("early", 0, 0, 70))


def test_a_part_of_a_table_is_a_table() -> None:
    table = cases.detector_table().only(lambda setting: setting.exit == "p5")
    assert {setting.exit for setting in table.settings} == {"p5"}
    assert table.settings == tuple(s for s in cases.detector_table().settings if s.exit == "p5")
    with pytest.raises(InputError, match="on the robot alone"):
        table.only(lambda setting: setting.sends)


Change = Callable[[dict[str, Any]], Any]
WRONG: dict[str, tuple[Change, str]] = {
    "format": (lambda d: d.update(format=2), "format 2, this software reads 1"),
    "no format": (lambda d: d.update(format="1"), "format is no whole number"),
    "missing": (lambda d: d.pop("machine"), "lacks the field 'machine'"),
    "unknown": (lambda d: d.update(extra=1), "unknown field 'extra'"),
    "graph": (lambda d: d.update(graph=""), "graph is no text"),
    "machine": (lambda d: d.update(machine=[]), "machine is no object"),
    "no sizes": (lambda d: d.update(input_sizes=[]), "no input_sizes"),
    "sizes": (lambda d: d.update(input_sizes=[640, 320, 960]), "input_sizes does not rise"),
    "edges": (lambda d: d.update(size_edges=[0, 16]), "size_edges does not rise"),
    "other edges": (lambda d: d.update(size_edges=[16]), "for 3 sizes of objects instead of 2"),
    "actions": (lambda d: d.update(actions={}), "actions is no list but dict"),
    "no action": (lambda d: d.update(actions=[]), "on the robot alone"),
    "twice": (lambda d: d["actions"].append(d["actions"][0]), "names a setting twice"),
    "setting": (lambda d: d["actions"][1].update(quality=0), "JPEG quality 0"),
    "cut": (lambda d: d["actions"][0].update(cut=-1.0), "cut is no whole number"),
    "accuracy": (lambda d: d["actions"][0].update(accuracy=1.1), r"p3/device is not in \[0, 1\]"),
    "no number": (lambda d: d["actions"][0].update(accuracy=True), "p3/device is no number"),
    "nan": (lambda d: d["actions"][0].update(device_ms=[1, 2, float("nan")]), "is no number"),
    "negative": (lambda d: d["actions"][0].update(device_ms=[1, -2, 3]), "negative"),
    "huge": (lambda d: d["actions"][0].update(device_ms=[1, 2, 10**400]), "is no number"),
    "few": (lambda d: d["actions"][0].update(device_ms=[1]), "1 values for 3 input sizes"),
    "free": (lambda d: d["actions"][1].update(bytes=[0, 1, 2]), "sends 0 bytes"),
    "worker": (lambda d: d["actions"][0].update(edge_ms=[1, 2, 3]), "but costs a worker"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_in_a_file_is_named(tmp_path: Path, name: str) -> None:
    change, part = WRONG[name]
    data = json.loads(cases.detector_table().to_json())
    change(data)
    path = tmp_path / "table.json"
    path.write_text(json.dumps(data))
    with pytest.raises(InputError, match=part) as caught:
        ActionTable.read(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"no JSON", b"[1, 2]", b"\xff\xfe\x00", b"[" * 100_000])
def test_what_is_no_table_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "table.json"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"table\.json"):
        ActionTable.read(path)
    with pytest.raises(InputError, match="does not exist"):
        ActionTable.read(tmp_path / "other.json")
    with pytest.raises(InputError, match="cannot be written"):
        cases.small_table().write(path / "table.json")


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
    lambda children: st.lists(children, max_size=4) | st.dictionaries(st.text(), children),
    max_leaves=5,
)


@given(st.sampled_from(["top", "action"]), st.integers(0, 8), JSON)
def test_any_value_anywhere_makes_a_table_or_is_refused(where: str, k: int, value: Any) -> None:
    data = json.loads(cases.small_table().to_json())
    part = data if where == "top" else data["actions"][2]
    part[list(part)[k % len(part)]] = value
    try:
        table = ActionTable.from_json(json.dumps(data))
    except InputError:
        return
    assert np.isfinite(np.concatenate(table.costs(500))).all()
    assert any(setting.cut == DEVICE for setting in table.settings)


def test_tables_need_no_learning_framework() -> None:
    code = (
        "import sys; import re_pose_ros.coinference.profile;"
        "print(*({'torch', 'gymnasium', 'ultralytics'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []

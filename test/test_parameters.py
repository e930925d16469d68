"""The parameter tables: consistent in themselves, strict about values, and what the docs print."""

from __future__ import annotations

import math
import re
from dataclasses import fields
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from re_pose_ros.errors import InputError
from re_pose_ros.parameters.table import Parameter, Table, Value, Values
from re_pose_ros.parameters.tables import CAMERA, DETECTOR, FUSION, PARTITIONER, TABLES
from re_pose_ros.partition.base import RANGES, PartitionSettings

DOCS = Path(__file__).resolve().parents[1] / "docs" / "parameters.md"
ALL = [
    pytest.param(parameter, id=f"{table.node}.{parameter.name}")
    for table in TABLES.values()
    for parameter in table.parameters.values()
]
RATE = Parameter("rate", 1.0, "a number", 0.5, 10.0)
COUNT = Parameter("count", 3, "a whole number", 1, 9)
SIZES = Parameter("sizes", [320], "several", 32, 640)
NAMES = Parameter("names", [""], "several")
MODE = Parameter("mode", "live", "a choice", choices=("live", "lockstep"))
FLAG = Parameter("flag", False, "on or off")


@pytest.mark.parametrize("parameter", ALL)
def test_a_parameter_is_consistent(parameter: Parameter) -> None:
    assert re.fullmatch(r"[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)?", parameter.name)
    assert parameter.checked(parameter.default) == parameter.default
    assert parameter.doc
    assert not parameter.doc.removesuffix("...").endswith(".")
    assert "|" not in parameter.doc
    assert "\n" not in parameter.doc
    limits = parameter.minimum, parameter.maximum
    if None not in limits:
        assert limits[0] < limits[1]  # type: ignore[operator]
    if limits != (None, None):
        assert parameter.type_name in ("integer", "double", "integer array")
    if parameter.choices:
        assert parameter.type_name == "string"
        assert parameter.default in parameter.choices


@pytest.mark.parametrize("parameter", ALL)
def test_a_default_written_as_text_is_read_back(parameter: Parameter) -> None:
    default = parameter.default
    text = ",".join(map(str, default)) if isinstance(default, list) else str(default)
    assert parameter.parse(text) == default
    assert type(parameter.parse(text)) is type(default)


def test_every_partition_setting_is_a_live_parameter_with_the_same_range() -> None:
    for field in fields(PartitionSettings):
        parameter = PARTITIONER[field.name]
        assert parameter.live
        assert parameter.default == getattr(PartitionSettings(), field.name)
        if field.name in RANGES:
            assert (parameter.minimum, parameter.maximum) == RANGES[field.name]


def test_what_nodes_have_to_agree_on_has_one_default() -> None:
    shared = {
        "mode": (CAMERA, PARTITIONER, FUSION),
        "workers": (PARTITIONER, FUSION),
        "crop_workers": (PARTITIONER, FUSION),
        "slots": (PARTITIONER, DETECTOR, FUSION),
        "liveliness_lease": (PARTITIONER, DETECTOR, FUSION),
        "deadline": (PARTITIONER, FUSION),
        "image_transport": (PARTITIONER, FUSION),
        "autostart": (CAMERA, PARTITIONER, DETECTOR, FUSION),
    }
    for name, tables in shared.items():
        assert len({id(table[name]) for table in tables}) == 1, name


def test_the_docs_show_these_tables() -> None:
    text = DOCS.read_text(encoding="utf-8")
    for table in TABLES.values():
        assert table.markdown() in text, f"run python -m re_pose_ros parameters ({table.node})"


@pytest.mark.parametrize(
    ("parameter", "text", "value"),
    [
        (FLAG, "true", True),
        (FLAG, " Yes", True),
        (FLAG, "ON", True),
        (FLAG, "1", True),
        (FLAG, "false", False),
        (FLAG, "off", False),
        (FLAG, "0", False),
        (COUNT, "7", 7),
        (RATE, "2", 2.0),
        (RATE, "1e0", 1.0),
        (MODE, "lockstep", "lockstep"),
        (SIZES, "32, 64", [32, 64]),
        (SIZES, "[32,64]", [32, 64]),
        (SIZES, "32,", [32]),
        (NAMES, "a,b", ["a", "b"]),
        (NAMES, "[a, b]", ["a", "b"]),
        (NAMES, "", [""]),
    ],
)
def test_parse(parameter: Parameter, text: str, value: Value) -> None:
    parsed = parameter.parse(text)
    assert parsed == value
    assert type(parsed) is type(value)


@pytest.mark.parametrize(
    ("parameter", "text", "reason"),
    [
        (FLAG, "maybe", "flag: 'maybe' is no boolean"),
        (FLAG, "", "flag: '' is no boolean"),
        (COUNT, "2.5", "count: '2.5' is no integer"),
        (COUNT, "many", "count: 'many' is no integer"),
        (COUNT, "10", "count=10: allowed is 1 to 9"),
        (RATE, "fast", "rate: 'fast' is no double"),
        (RATE, "nan", "rate=nan: allowed is 0.5 to 10"),
        (RATE, "1e999", "rate=inf: allowed is 0.5 to 10"),
        (SIZES, "64,wide", "sizes: '64,wide' is no integer array"),
        (SIZES, "64,641", "sizes=641: allowed is 32 to 640"),
        (MODE, "Live", "mode='Live': allowed is one of live, lockstep"),
    ],
)
def test_parse_says_what_is_wrong(parameter: Parameter, text: str, reason: str) -> None:
    with pytest.raises(InputError) as caught:
        parameter.parse(text)
    assert str(caught.value) == reason


@given(st.floats())
def test_a_number_is_taken_just_within_its_range(value: float) -> None:
    assert RATE.minimum is not None
    assert RATE.maximum is not None
    if RATE.minimum <= value <= RATE.maximum:
        assert RATE.checked(value) == value
    else:
        with pytest.raises(InputError, match=r"^rate="):
            RATE.checked(value)


def test_one_sided_ranges() -> None:
    low, high = Parameter("low", 5, "", minimum=2), Parameter("high", 5, "", maximum=9)
    assert low.checked(10**9) == 10**9
    assert high.checked(-(10**9)) == -(10**9)
    with pytest.raises(InputError, match="at least 2"):
        low.checked(1)
    with pytest.raises(InputError, match="up to 9"):
        high.checked(10)
    with pytest.raises(InputError):
        Parameter("free", 1.0, "").checked(math.nan)


def test_type_names_are_those_of_ros() -> None:
    told = [p.type_name for p in (FLAG, COUNT, RATE, MODE, SIZES, NAMES)]
    assert told == ["boolean", "integer", "double", "string", "integer array", "string array"]


def test_a_table_as_markdown() -> None:
    live = Parameter("period", 0.5, "time between looks", 0.0, unit="s", live=True)
    lines = Table("node", [live, NAMES, MODE]).markdown().splitlines()
    assert lines[2:] == [
        "| `period` | double | `0.5` | at least 0 | yes | time between looks [s] |",
        "| `names` | string array |  |  |  | several |",
        "| `mode` | string | `live` | live, lockstep |  | a choice |",
    ]
    assert len({line.count("|") for line in lines}) == 1


def test_a_table_knows_its_parameters() -> None:
    table = Table("node", [RATE, MODE])
    assert "rate" in table
    assert "speed" not in table
    assert table["mode"] is MODE
    assert table.defaults() == {"rate": 1.0, "mode": "live"}


def test_values_give_the_type_that_is_asked_for() -> None:
    values = Values({"flag": True, "rate": 2, "names": ["", "a"], "sizes": [1, 2], "mode": "live"})
    assert values.flag("flag") is True
    assert isinstance(values.real("rate"), float)
    assert values.whole("rate") == 2
    assert values.text("mode") == "live"
    assert values.texts("names") == ("a",)
    assert values.wholes("sizes") == (1, 2)

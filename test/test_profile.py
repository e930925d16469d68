"""A worker's profile: measuring, JSON and what is not accepted as one."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from re_pose_ros.detection.model import Model
from re_pose_ros.detection.profile import (
    Profile,
    VariantProfile,
    from_json,
    measure,
    to_json,
)
from re_pose_ros.detection.worker import Worker
from re_pose_ros.errors import InputError
from re_pose_ros.plan import Variant

milliseconds = st.floats(1e-3, 1e6)
names = st.from_regex(r"[A-Za-z0-9_.-]{1,12}", fullmatch=True)
variants = st.builds(Variant, names, st.integers(1, 99999))
entries = st.builds(
    VariantProfile,
    variants,
    milliseconds,
    st.dictionaries(st.integers(1, 64), milliseconds, max_size=3),
)
profiles = st.builds(
    Profile,
    st.text(max_size=10),
    st.sampled_from(["cpu", "cuda:0"]),
    st.lists(st.text(max_size=8), max_size=4).map(tuple),
    st.lists(entries, min_size=1, max_size=4, unique_by=lambda entry: entry.variant).map(tuple),
)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=6,
)

EXAMPLE = Profile(
    "edge_0",
    "cpu",
    ("person", "car"),
    (
        VariantProfile(Variant("yolo11n", 320), 34.5, {1: 34.5, 4: 120.0}),
        VariantProfile(Variant("yolo11s", 640), 300.0),
    ),
)


@given(profile=profiles)
@settings(max_examples=60, deadline=None)
def test_round_trip(profile: Profile) -> None:
    text = to_json(profile)
    assert "\n" not in text
    assert from_json(text) == profile


def test_models_and_entries_by_variant() -> None:
    assert EXAMPLE.models == ("yolo11n", "yolo11s")
    assert EXAMPLE.find(Variant("yolo11s", 640)) is EXAMPLE.variants[1]
    assert EXAMPLE.find(Variant("yolo11s", 320)) is None


def rejected(text: str) -> str:
    with pytest.raises(InputError) as error:
        from_json(text)
    message = str(error.value)
    assert "\n" not in message
    return message


def changed(**fields: Any) -> str:
    return json.dumps({**json.loads(to_json(EXAMPLE)), **fields})


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"version": 2}, "version 2"),
        ({"version": True}, "version is no number"),
        ({"version": "1"}, "version is no number"),
        ({"surplus": 1}, "unknown field 'surplus'"),
        ({"worker": 3}, "worker is no text but int"),
        ({"labels": "person"}, "labels is no list"),
        ({"labels": [1]}, "labels is no text"),
        ({"variants": []}, "no variants"),
        ({"variants": {}}, "variants is no list"),
        ({"variants": [3]}, "variant is no object"),
        ({"variants": [{"variant": "a@1", "time_ms": 1}]}, "lacks the field 'batch_ms'"),
    ],
)
def test_wrong_fields(fields: dict[str, Any], message: str) -> None:
    assert message in rejected(changed(**fields))


@pytest.mark.parametrize("name", ["version", "worker", "device", "labels", "variants"])
def test_missing_field(name: str) -> None:
    data = json.loads(to_json(EXAMPLE))
    del data[name]
    assert f"'{name}'" in rejected(json.dumps(data))


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"variant": "yolo11n"}, "'yolo11n' is no variant"),
        ({"variant": "a\nb@0"}, "is no variant"),
        ({"time_ms": 0}, "no positive number"),
        ({"time_ms": True}, "no positive number"),
        ({"time_ms": float("nan")}, "no positive number"),
        ({"time_ms": float("inf")}, "no positive number"),
        ({"time_ms": 10**400}, "out of range"),
        ({"time_ms": "3"}, "no positive number"),
        ({"batch_ms": []}, "no object"),
        ({"batch_ms": {"0": 1.0}}, "key '0'"),
        ({"batch_ms": {"": 1.0}}, "key ''"),
        ({"batch_ms": {"two": 1.0}}, "key 'two'"),
        ({"batch_ms": {"2": None}}, "no positive number"),
    ],
)
def test_wrong_variant(entry: dict[str, Any], message: str) -> None:
    good = {"variant": "a@320", "time_ms": 1.0, "batch_ms": {}}
    assert message in rejected(changed(variants=[{**good, **entry}]))


def test_variant_named_twice() -> None:
    entry = {"variant": "a@320", "time_ms": 1.0, "batch_ms": {}}
    assert "twice" in rejected(changed(variants=[entry, entry]))


@pytest.mark.parametrize("text", ["", "{", "null", "[]", "3", "[" * 100_000, "9" * 5000, "NaN"])
def test_no_profile_at_all(text: str) -> None:
    rejected(text)


@given(data=st.data())
@settings(max_examples=150, deadline=None)
def test_mutated_text_gives_a_profile_or_an_input_error(data: st.DataObject) -> None:
    text = to_json(EXAMPLE)
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, min(start + 8, len(text))))
    inserted = data.draw(st.text(max_size=4) | st.sampled_from(['"', "{", "]", "1e999", "null"]))
    try:
        profile = from_json(text[:start] + inserted + text[end:])
    except InputError as error:
        assert "\n" not in str(error)
    else:
        assert from_json(to_json(profile)) == profile


@given(
    name=st.sampled_from(["version", "worker", "device", "labels", "variants"]), value=json_values
)
@settings(max_examples=100, deadline=None)
def test_any_value_in_a_field_gives_a_profile_or_an_input_error(name: str, value: object) -> None:
    try:
        from_json(changed(**{name: value}))
    except InputError as error:
        assert "\n" not in str(error)


def test_measuring_a_worker() -> None:
    shapes: list[tuple[int, ...]] = []

    def predict(batch: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
        shapes.append(batch.shape)
        return [np.zeros((0, 6), np.float32) for _ in batch]

    model = Model("net", ("person",), 32, None, 8, "cpu", predict)
    worker = Worker([model], [160, 320])
    profile = measure(worker, name="edge_1", batches=(2,), repeats=3, warmup=1)
    assert profile.worker == "edge_1" and profile.device == "cpu"
    assert profile.labels == ("person",)
    assert tuple(entry.variant for entry in profile.variants) == worker.variants
    assert all(entry.time_ms > 0 and list(entry.batch_ms) == [2] for entry in profile.variants)
    assert shapes.count((1, 96, 160, 3)) == 4 and shapes.count((2, 192, 320, 3)) == 4
    assert from_json(to_json(profile)) == profile


def test_measuring_upright_blocks_and_naming_the_machine() -> None:
    shapes: list[tuple[int, ...]] = []

    def predict(batch: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
        shapes.append(batch.shape)
        return [np.zeros((0, 6), np.float32) for _ in batch]

    worker = Worker([Model("net", ("person",), 32, None, 8, "cpu", predict)], [320])
    profile = measure(worker, repeats=1, warmup=0, block_aspect=0.5)
    assert shapes == [(1, 320, 160, 3)]
    assert profile.worker
    assert profile.variants[0].batch_ms == {}

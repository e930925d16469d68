"""A worker's profile: measuring, JSON and what is not accepted as one."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
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
    known_accuracy,
    measure,
    profile_beside,
    read_profile,
    to_json,
    with_accuracy,
    write_profile,
)
from re_pose_ros.detection.size_accuracy import SizeAccuracy
from re_pose_ros.detection.worker import Worker
from re_pose_ros.errors import InputError
from re_pose_ros.plan import Variant

milliseconds = st.floats(1e-3, 1e6)
names = st.from_regex(r"[A-Za-z0-9_.-]{1,12}", fullmatch=True)
variants = st.builds(Variant, names, st.integers(1, 99999))
shares = st.floats(0, 1)


@st.composite
def accuracies(draw: st.DrawFn) -> SizeAccuracy:
    edges = draw(st.lists(st.floats(0.5, 1000), min_size=2, max_size=5, unique=True).map(sorted))
    counts = draw(st.lists(st.integers(0, 9), min_size=len(edges) - 1, max_size=len(edges) - 1))
    recall = tuple(draw(shares) if count else None for count in counts)
    ap = tuple(draw(shares) if count else None for count in counts)
    return SizeAccuracy(tuple(edges), recall, ap, tuple(counts), draw(st.floats(0, 99)), 3, 0.5)


entries = st.builds(
    VariantProfile,
    variants,
    milliseconds,
    st.dictionaries(st.integers(1, 64), milliseconds, max_size=3),
    st.none() | accuracies(),
)
profiles = st.builds(
    Profile,
    st.text(max_size=10),
    st.sampled_from(["cpu", "cuda:0"]),
    st.lists(st.text(max_size=8), max_size=4).map(tuple),
    st.lists(entries, min_size=1, max_size=4, unique_by=lambda entry: entry.variant).map(tuple),
    st.lists(st.text(max_size=8), max_size=2).map(tuple),
)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=6,
)

ACCURACY = SizeAccuracy((4, 16, 64), (0.2, 0.9), (0.1, 0.8), (50, 20), 0.5, 30, 0.25)
EXAMPLE = Profile(
    "edge_0",
    "cpu",
    ("person", "car"),
    (
        VariantProfile(Variant("yolo11n", 320), 34.5, {1: 34.5, 4: 120.0}),
        VariantProfile(Variant("yolo11s", 640), 300.0, accuracy=ACCURACY),
    ),
    ("scene:plaza",),
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
        ({"version": 1}, "is of version 1, this software reads 2; measure it anew"),
        ({"version": 3}, "version 3"),
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
        ({"data": "scene:plaza"}, "data is no list"),
    ],
)
def test_wrong_fields(fields: dict[str, Any], message: str) -> None:
    assert message in rejected(changed(**fields))


@pytest.mark.parametrize("name", ["version", "worker", "device", "labels", "variants", "data"])
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
        ({"accuracy": 0.9}, "no object"),
        ({"accuracy": {}}, "lacks the field 'edges'"),
    ],
)
def test_wrong_variant(entry: dict[str, Any], message: str) -> None:
    good = {"variant": "a@320", "time_ms": 1.0, "batch_ms": {}, "accuracy": None}
    assert message in rejected(changed(variants=[{**good, **entry}]))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"edges": [4, 16]}, "need 1 values each"),
        ({"edges": [4, 64, 16]}, "edges do not rise"),
        ({"edges": [0, 16, 64]}, "edges do not rise"),
        ({"edges": [4, 16, float("nan")]}, "no number"),
        ({"edges": [4, 16, float("inf")]}, "no number"),
        ({"recall": [0.2, 1.2]}, "lie in 0 to 1"),
        ({"recall": [0.2, None]}, "where count is above 0"),
        ({"recall": [0.2, "0.9"]}, "no number"),
        ({"ap": "high"}, "no list"),
        ({"count": [50, 0]}, "only there"),
        ({"count": [50, 2.5]}, "no whole number"),
        ({"count": [50, True]}, "no number"),
        ({"false_positives": -1}, "not be negative"),
        ({"crops": 1.5}, "no whole number"),
        ({"confidence": 2}, "confidence lies"),
        ({"seed": 1}, "unknown field 'seed'"),
    ],
)
def test_wrong_accuracy(fields: dict[str, Any], message: str) -> None:
    accuracy = {**asdict(ACCURACY), **fields}
    entry = {"variant": "a@320", "time_ms": 1.0, "batch_ms": {}, "accuracy": accuracy}
    assert message in rejected(changed(variants=[entry]))


def test_variant_named_twice() -> None:
    entry = {"variant": "a@320", "time_ms": 1.0, "batch_ms": {}, "accuracy": None}
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
    name=st.sampled_from(["version", "worker", "device", "labels", "variants", "data"]),
    value=json_values,
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


# Accuracy by size.


def test_expected_recall_is_interpolated_in_the_logarithm_of_the_size() -> None:
    middles = np.array([8.0, 32.0])
    assert ACCURACY.expected_recall(middles) == pytest.approx([0.2, 0.9])
    assert ACCURACY.expected_recall(16.0) == pytest.approx(0.55), "halfway between 8 and 32"
    assert ACCURACY.expected_ap([[8.0, 32.0]]) == pytest.approx(np.array([[0.1, 0.8]]))


def test_expected_recall_falls_to_nothing_below_and_stays_above() -> None:
    sizes = [0.0, 1.0, 4.0, 4 * 2**0.5, 64.0, 1e6]
    expected = [0.0, 0.0, 0.0, 0.1, 0.9, 0.9]
    assert ACCURACY.expected_recall(sizes) == pytest.approx(expected, abs=1e-9)


def test_bins_with_few_objects_are_passed_over() -> None:
    few = SizeAccuracy((4, 16, 64, 256), (0.2, 1.0, None), (0.1, 1.0, None), (50, 4, 0))
    assert few.expected_recall(32.0) == pytest.approx(0.2)
    none = SizeAccuracy((4, 16), (1.0,), (1.0,), (4,))
    assert none.expected_recall([8.0, 100.0]).tolist() == [0.0, 0.0]
    assert none.expected_recall([]).shape == (0,)


# Joining with what a file knows.


def profile_of(*names: str, labels: Sequence[str] = ("person",)) -> Profile:
    entries = tuple(VariantProfile(Variant.parse(name), 1.0) for name in names)
    return Profile("edge_0", "cpu", tuple(labels), entries)


def accurate(name: str, recall: float) -> VariantProfile:
    known = SizeAccuracy((4, 64), (recall,), (recall,), (9,))
    return VariantProfile(Variant.parse(name), 99.0, accuracy=known)


def test_accuracy_joins_the_own_times_by_variant_or_the_nearest_size() -> None:
    entries = (accurate("a@160", 0.1), accurate("a@640", 0.6), accurate("b@320", 0.9))
    known = Profile("elsewhere", "cuda:0", ("person",), entries, ("photos",))
    joined = with_accuracy(profile_of("a@160", "a@480", "c@160"), known, "file")
    assert joined.worker == "edge_0" and joined.device == "cpu" and joined.data == ("photos",)
    assert [entry.time_ms for entry in joined.variants] == [1.0] * 3
    accuracy = [entry.accuracy for entry in joined.variants]
    assert [None if a is None else a.recall for a in accuracy] == [(0.1,), (0.6,), None]


def test_a_file_for_other_classes_or_networks_is_told() -> None:
    known = Profile("", "cpu", ("person",), (accurate("a@160", 0.5), accurate("b@160", 0.5)))
    with pytest.raises(InputError, match=r"file is for the classes person, the model has car;"):
        with_accuracy(profile_of("a@160", labels=["car"]), known, "file")
    with pytest.raises(InputError, match=r"file has no accuracy of c but of a, b; measure"):
        with_accuracy(profile_of("c@160"), known, "file")
    with pytest.raises(InputError, match="no accuracy of a"):
        with_accuracy(profile_of("a@160"), profile_of("a@160"), "file")


def test_a_profile_is_read_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "new" / "net.profile.json"
    write_profile(path, EXAMPLE)
    assert read_profile(path) == EXAMPLE


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "does not exist"),
        (b"\xff\xfe", "is no text"),
        (b"{}", "lacks the field"),
        (b"{", "is no JSON"),
    ],
)
def test_what_is_no_profile_file_is_named(
    content: bytes | None, message: str, tmp_path: Path
) -> None:
    path = tmp_path / "net.profile.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=message) as error:
        read_profile(path)
    assert str(path) in str(error.value) and "\n" not in str(error.value)


def test_a_profile_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(InputError, match="cannot be written"):
        write_profile(tmp_path / "file" / "net.profile.json", EXAMPLE)


def nothing(batch: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
    return [np.zeros((0, 6), np.float32) for _ in batch]


def test_a_worker_takes_the_accuracy_beside_its_weights_or_from_the_file_named(
    tmp_path: Path,
) -> None:
    paths = [tmp_path / "a.pt", tmp_path / "b_openvino_model"]
    models = [
        Model(name, ("person",), 32, None, 8, "cpu", nothing, path)
        for name, path in zip("ab", paths, strict=True)
    ]
    worker = Worker(models, [160])
    measured = measure(worker, repeats=1, warmup=0)

    def recalls(file: str = "") -> tuple[list[Any], list[str]]:
        profile, problems = known_accuracy(measured, worker, file)
        return [e.accuracy and e.accuracy.recall for e in profile.variants], problems

    assert recalls() == ([None, None], [])
    write_profile(profile_beside(paths[0]), Profile("", "", ("person",), (accurate("a@160", 0.1),)))
    assert recalls() == ([(0.1,), None], [])
    write_profile(profile_beside(paths[1]), Profile("", "", ("person",), (accurate("b@160", 0.2),)))
    assert recalls() == ([(0.1,), (0.2,)], [])
    named = tmp_path / "named.json"
    write_profile(named, Profile("", "", ("person",), (accurate("b@320", 0.3),)))
    assert recalls(str(named)) == ([None, (0.3,)], [])
    profile_beside(paths[0]).write_text("{")
    found, problems = recalls()
    assert found == [None, (0.2,)] and len(problems) == 1 and "a.profile.json" in problems[0]
    found, problems = recalls(str(tmp_path / "absent.json"))
    assert found == [None, None] and "absent.json does not exist" in problems[0]

"""One numbering of the classes for detectors that each have their own."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from re_pose_ros.detections import Detections
from re_pose_ros.fusion.labels import MAX_NAMES, LabelSet


def of_classes(*ids: int) -> Detections:
    count = len(ids)
    boxes = [(k, 0, k + 1, 1) for k in range(count)]
    return Detections.of(boxes, [0.5] * count, ids, range(count))


def test_a_name_keeps_its_first_number_whoever_says_it_next() -> None:
    labels = LabelSet()
    assert labels.add("a", ["person", "car"])
    assert labels.add("b", ["bus", "car", "person"])
    assert labels.names == ("person", "car", "bus")
    assert labels.numbers == {"person": 0, "car": 1, "bus": 2}
    assert labels.unified("a", of_classes(0, 1)).class_id.tolist() == [0, 1]
    assert labels.unified("b", of_classes(0, 1, 2)).class_id.tolist() == [2, 1, 0]


def test_only_news_are_told() -> None:
    labels = LabelSet()
    assert labels.add("a", ["person", "car"])
    assert not labels.add("a", ["person", "car"])
    assert not labels.add("b", ["car"])
    assert labels.add("b", ["car", "dog"])


def test_a_worker_that_returns_with_another_network_is_read_by_its_new_list() -> None:
    labels = LabelSet()
    labels.add("a", ["person", "car"])
    labels.add("a", ["car", "person"])
    assert labels.names == ("person", "car")
    assert labels.unified("a", of_classes(0, 1)).class_id.tolist() == [1, 0]


def test_classes_that_a_worker_never_named_go_and_the_rest_stays_as_it_is() -> None:
    labels = LabelSet()
    labels.add("a", ["person", "car"])
    found = of_classes(1, 2, -1, 0, 70_000)
    kept = labels.unified("a", found)
    assert kept.class_id.tolist() == [1, 0]
    assert kept.xyxy.tolist() == found.xyxy[[0, 3]].tolist() and kept.block.tolist() == [0, 3]
    assert labels.unified("a", Detections.empty()).class_id.tolist() == []


def test_a_worker_without_labels_is_taken_at_its_word() -> None:
    labels = LabelSet()
    labels.add("a", ["person"])
    assert labels.unified("foreign", of_classes(0, 7)).class_id.tolist() == [0, 7]


def test_names_of_a_worker_that_tells_no_list_are_learnt() -> None:
    labels = LabelSet()
    labels.add("a", ["person", "car"])
    assert not labels.learn(["car"]) and not labels.learn([])
    assert labels.learn({"tram", "bus", "car"})
    assert labels.names == ("person", "car", "bus", "tram")
    assert labels.add("b", ["tram", "dog"])
    assert labels.unified("b", of_classes(0, 1)).class_id.tolist() == [3, 4]


def test_garbage_for_names_cannot_fill_the_memory() -> None:
    labels = LabelSet()
    labels.learn(map(str, range(MAX_NAMES + 5)))
    assert len(labels.names) == MAX_NAMES and not labels.learn(["one more"])


def test_two_classes_of_one_name_are_one() -> None:
    labels = LabelSet()
    labels.add("a", ["person", "car", "person"])
    assert labels.names == ("person", "car")
    assert labels.unified("a", of_classes(0, 1, 2)).class_id.tolist() == [0, 1, 0]


names = st.lists(st.sampled_from("abcdef"), max_size=5)


@given(st.lists(st.tuples(st.sampled_from(["x", "y", "z"]), names), max_size=8))
def test_a_number_always_means_the_name_that_the_worker_meant(
    said: list[tuple[str, list[str]]],
) -> None:
    labels = LabelSet()
    current: dict[str, list[str]] = {}
    for worker, own in said:
        before = labels.names
        assert labels.add(worker, own) == (len(labels.names) > len(before))
        assert labels.names[: len(before)] == before
        current[worker] = own
    assert len(set(labels.names)) == len(labels.names)
    for worker, own in current.items():
        unified = labels.unified(worker, of_classes(*range(len(own))))
        assert [labels.names[k] for k in unified.class_id] == own

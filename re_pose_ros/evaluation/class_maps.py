"""The class map that a user names or writes down."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path

from re_pose_ros.datasets import ClassMap, choose_class_map
from re_pose_ros.errors import InputError


def class_map_of(
    text: str, detector_labels: Sequence[str], dataset_labels: Sequence[str]
) -> ClassMap:
    """The map of a name, a list, a file, or the one that fits.

    Args:
        text: a name as of ``choose_class_map``; ``detector=dataset`` pairs with commas between, as
            ``person=pedestrian,person=people``; or a JSON file with an object of them, whose values
            may be lists. Classes that pairs connect are evaluated as one, under the first name on
            the dataset's side.
        detector_labels: class names of the detector.
        dataset_labels: class names of the data.

    Raises:
        InputError: the map cannot be read, names an unknown class, or nothing is in common.
    """
    if "=" in text:
        pairs = [_pair(item) for item in text.split(",") if item.strip()]
        return _connected("given", pairs, detector_labels, dataset_labels)
    if text.lower().endswith(".json") or os.path.isfile(text):
        return _connected(Path(text).name, _read(Path(text)), detector_labels, dataset_labels)
    return choose_class_map(detector_labels, dataset_labels, text)


def _pair(item: str) -> tuple[str, str]:
    detector, _, dataset = (part.strip() for part in item.partition("="))
    if not detector or not dataset:
        raise InputError(f"class map: '{item}' is no detector_class=dataset_class")
    return detector, dataset


def _read(path: Path) -> list[tuple[str, str]]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"class map {path} cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"class map {path} is no JSON ({error})") from error
    pairs: list[tuple[str, str]] = []
    for detector, value in content.items() if isinstance(content, dict) else [("", None)]:
        names = value if isinstance(value, list) else [value]
        if not detector or not names or not all(isinstance(name, str) and name for name in names):
            raise InputError(f"class map {path} is no object of names by the detector's names")
        pairs += [(str(detector), str(name)) for name in names]
    return pairs


def _connected(
    name: str,
    pairs: Sequence[tuple[str, str]],
    detector_labels: Sequence[str],
    dataset_labels: Sequence[str],
) -> ClassMap:
    for side, labels, index in (("detector", detector_labels, 0), ("data", dataset_labels, 1)):
        unknown = next((pair[index] for pair in pairs if pair[index] not in labels), None)
        if unknown is not None:
            some = ", ".join(labels[:10]) + (", ..." if len(labels) > 10 else "")
            raise InputError(f"class map: the {side} has no class '{unknown}'; it has {some}")
    groups: list[tuple[set[str], list[str]]] = []
    for detector, dataset in pairs:
        touched = [g for g in groups if detector in g[0] or dataset in g[1]]
        joined = (
            {detector}.union(*(g[0] for g in touched)),
            list(dict.fromkeys([label for g in touched for label in g[1]] + [dataset])),
        )
        at = groups.index(touched[0]) if touched else len(groups)
        groups = [g for g in groups if g not in touched]
        groups.insert(at, joined)
    if not groups:
        raise InputError("class map: it is empty; write detector_class=dataset_class")
    return ClassMap(
        name,
        tuple(theirs[0] for _, theirs in groups),
        {label: theirs[0] for ours, theirs in groups for label in ours},
        {label: theirs[0] for _, theirs in groups for label in theirs},
    )

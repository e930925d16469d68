"""Classes of a detector and classes of a dataset brought to the ones that are evaluated.

Built-in maps, ``coco->visdrone`` with COCO's names on the detector's side and VisDrone's on the
dataset's:

========== ========== ==================
evaluated  detector   dataset
========== ========== ==================
pedestrian person     pedestrian, people
bicycle    bicycle    bicycle
car        car        car, van
truck      truck      truck
bus        bus        bus
motor      motorcycle motor
========== ========== ==================

``coco->visdrone-pedestrian`` is the same without people (VisDrone's word for persons who sit or
ride), for sets that lack them. ``coco->mot`` has pedestrian from person. ``identity`` has every
name that both sides have. Classes that no line names, or that one side lacks, are dropped from
both sides.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from re_pose_ros.datasets import mot, visdrone
from re_pose_ros.detections import Detections
from re_pose_ros.errors import InputError
from re_pose_ros.ground_truth import GroundTruth

IDENTITY = "identity"


@dataclass(frozen=True)
class ClassMap:
    """How classes are compared; each side goes to the evaluated classes by its own names.

    Attributes:
        name: for messages and reports.
        labels: the evaluated classes by class id.
        detector: evaluated class by the detector's class name.
        dataset: evaluated class by the dataset's class name; several become one.
    """

    name: str
    labels: tuple[str, ...]
    detector: Mapping[str, str]
    dataset: Mapping[str, str]

    def only(self, classes: Sequence[str]) -> ClassMap:
        """The map for some of the evaluated classes, in its own order.

        Raises:
            InputError: a name that is not among them.
        """
        if unknown := [name for name in classes if name not in self.labels]:
            every = ", ".join(self.labels)
            raise InputError(f"class map {self.name} has no class '{unknown[0]}'; it has {every}")
        return replace(self, labels=tuple(name for name in self.labels if name in classes))

    def map_detections(self, detections: Detections, labels: Sequence[str]) -> Detections:
        """``detections`` by a detector with ``labels``, in the evaluated classes."""
        mapped = self._numbers(self.detector, labels)[detections.class_id]
        kept = detections.take(mapped >= 0)
        return Detections(kept.xyxy, kept.confidence, mapped[mapped >= 0], kept.block)

    def map_truth(self, truth: GroundTruth, labels: Sequence[str]) -> GroundTruth:
        """``truth`` of a dataset with ``labels``, in the evaluated classes.

        Of a class that several become, all have to be annotated in the frame: else objects of
        it that are there and were not annotated would count as false detections.
        """
        numbers = self._numbers(self.dataset, labels)
        mapped = numbers[truth.class_id]
        annotated = None
        if truth.annotated is not None:
            missing = set(range(len(labels))) - set(truth.annotated)
            open_ones = {int(numbers[k]) for k in missing}
            annotated = tuple(k for k in range(len(self.labels)) if k not in open_ones)
        kept = truth.take(mapped >= 0)
        return replace(kept, class_id=mapped[mapped >= 0], annotated=annotated)

    def _numbers(self, names: Mapping[str, str], labels: Sequence[str]) -> NDArray[np.int32]:
        """Evaluated class id by class id of one side; -1 where there is none."""
        ids = {name: k for k, name in enumerate(self.labels)}
        return np.array([ids.get(names.get(label, ""), -1) for label in labels], np.int32)


def _built_in(name: str, rows: Sequence[tuple[str, str, str]]) -> ClassMap:
    """From rows of evaluated class, the detector's names and the dataset's, each with blanks."""
    return ClassMap(
        name,
        tuple(label for label, _, _ in rows),
        {theirs: label for label, names, _ in rows for theirs in names.split()},
        {theirs: label for label, _, names in rows for theirs in names.split()},
    )


_VEHICLES = (
    ("bicycle", "bicycle", "bicycle"),
    ("car", "car", "car van"),
    ("truck", "truck", "truck"),
    ("bus", "bus", "bus"),
    ("motor", "motorcycle", "motor"),
)

BUILT_IN_MAPS = {
    m.name: m
    for m in (
        _built_in("coco->visdrone", [("pedestrian", "person", "pedestrian people"), *_VEHICLES]),
        _built_in(
            "coco->visdrone-pedestrian", [("pedestrian", "person", "pedestrian"), *_VEHICLES]
        ),
        _built_in("coco->mot", [("pedestrian", "person", "pedestrian")]),
    )
}


def choose_class_map(
    detector_labels: Sequence[str], dataset_labels: Sequence[str], name: str = ""
) -> ClassMap:
    """The map of a name, or the fitting one, reduced to classes that both sides have.

    Args:
        detector_labels: class names of the detector.
        dataset_labels: class names of the dataset.
        name: a built-in map or ``identity``; empty takes the built-in one for the dataset's labels
            (VisDrone, MOT) where the detector has COCO's ``person``, and else ``identity``.

    Raises:
        InputError: no such map, or nothing in common.
    """
    if not name:
        name = IDENTITY
        if "person" in detector_labels:
            by_labels = {visdrone.LABELS: "coco->visdrone", mot.LABELS: "coco->mot"}
            name = by_labels.get(tuple(dataset_labels), name)
    if name == IDENTITY:
        same = {label: label for label in dataset_labels}
        chosen = ClassMap(IDENTITY, tuple(dataset_labels), same, same)
    elif name in BUILT_IN_MAPS:
        chosen = BUILT_IN_MAPS[name]
    else:
        every = ", ".join([*BUILT_IN_MAPS, IDENTITY])
        raise InputError(f"class map '{name}' is not known; known: {every}")
    found = {chosen.detector.get(label) for label in detector_labels}
    annotated = {chosen.dataset.get(label) for label in dataset_labels}
    both = [label for label in chosen.labels if label in found and label in annotated]
    if not both:
        raise InputError(
            f"with the class map {name} the detector ({_some(detector_labels)}) and the dataset "
            f"({_some(dataset_labels)}) have no class in common; choose another map"
        )
    return chosen.only(both)


def _some(labels: Sequence[str]) -> str:
    return ", ".join(labels[:5]) + (", ..." if len(labels) > 5 else "")

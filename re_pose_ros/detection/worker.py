"""What a worker does with the blocks it is given."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from re_pose_ros.detection.model import Model
from re_pose_ros.detections import Detections
from re_pose_ros.errors import InputError
from re_pose_ros.geometry import Block, crop_to_full
from re_pose_ros.plan import Variant


@dataclass(frozen=True, slots=True, eq=False)
class Request:
    """A block's image and the network asked for it.

    Attributes:
        image: (H, W, 3) uint8 BGR, the content of ``roi`` at any scale.
        roi: what the image shows, in full-image pixels.
        variant: the network asked for; None leaves it to the worker.
    """

    image: NDArray[np.uint8]
    roi: Block
    variant: Variant | None = None


@dataclass(frozen=True, slots=True)
class Timings:
    """Processing time in milliseconds.

    Attributes:
        total_ms: from taking the requests to having all detections.
        request_ms: each request's share: its variant's time, split by the pixels of the
            network's inputs. The shares add up to ``total_ms`` but for the bookkeeping between.
    """

    total_ms: float
    request_ms: tuple[float, ...]


class Worker:
    """Networks at several input sizes, and the choice between them.

    Attributes:
        models: the networks.
        variants: each network at each input size, in the order given; a fixed-size network only at
            its own size (the longer side of its input).
        default: the variant for requests that name none.
        labels: class names by class id, the same for all networks.
    """

    def __init__(
        self,
        models: Sequence[Model],
        input_sizes: Sequence[int],
        default: Variant | None = None,
    ) -> None:
        """Raises InputError where the models or sizes do not fit together.

        Args:
            models: at least one, with different names and the same labels.
            input_sizes: longer sides in pixels, for the models that take any size.
            default: one of the variants that result; None takes the first.
        """
        self.models = tuple(models)
        self._by_name = _by_name(self.models)
        self.labels = self.models[0].labels
        self.variants = _variants(self.models, input_sizes)
        if default is not None and default not in self.variants:
            raise InputError(
                f"the default variant {default} is none of {', '.join(map(str, self.variants))}"
            )
        self.default = default or self.variants[0]

    @property
    def device(self) -> str:
        """Where the models run, as cpu; several are joined by a plus sign."""
        return "+".join(dict.fromkeys(model.device for model in self.models))

    def choose(self, variant: Variant | None) -> Variant:
        """The variant to run where ``variant`` is asked for.

        One that the worker does not have is served by the nearest input size of the same model (the
        smaller of two equally near), or by the default where it does not have the model either.
        """
        if variant is None:
            return self.default
        same_model = [own for own in self.variants if own.model == variant.model]
        return min(
            same_model,
            key=lambda own: (abs(own.input_size - variant.input_size), own.input_size),
            default=self.default,
        )

    def process(self, requests: Sequence[Request]) -> tuple[list[Detections], Timings]:
        """Detect in all requests, those of one variant in batches.

        Returns:
            Per request, in order, its objects in full-image pixels, clipped to its ``roi``; and
            the time that it took.
        """
        start = time.perf_counter()
        groups: dict[Variant, list[int]] = {}
        for i, request in enumerate(requests):
            groups.setdefault(self.choose(request.variant), []).append(i)
        results = [Detections.empty()] * len(requests)
        shares = [0.0] * len(requests)
        for variant, members in groups.items():
            began = time.perf_counter()
            model = self._by_name[variant.model]
            images = [requests[i].image for i in members]
            for i, found in zip(members, model.detect(images, variant.input_size), strict=True):
                request = requests[i]
                results[i] = in_full_image(found, _size(request.image), request.roi)
            elapsed = time.perf_counter() - began
            sizes = [model.canvas(_size(image), variant.input_size) for image in images]
            pixels = [width * height for width, height in sizes]
            for i, count in zip(members, pixels, strict=True):
                shares[i] = elapsed * count / sum(pixels) * 1e3
        return results, Timings((time.perf_counter() - start) * 1e3, tuple(shares))


def _by_name(models: Sequence[Model]) -> dict[str, Model]:
    if not models:
        raise InputError("a worker needs at least one model")
    by_name: dict[str, Model] = {}
    for model in models:
        if model.name in by_name:
            raise InputError(f"two models are called '{model.name}'; rename one of the files")
        if model.labels != models[0].labels:
            raise InputError(
                f"models '{models[0].name}' and '{model.name}' have different class names; "
                f"run them on different workers"
            )
        by_name[model.name] = model
    return by_name


def _variants(models: Sequence[Model], input_sizes: Sequence[int]) -> tuple[Variant, ...]:
    unusable = [size for size in input_sizes if not 1 <= size <= 99999]
    if unusable:
        raise InputError(f"input size {unusable[0]} is not between 1 and 99999 pixels")
    variants: dict[Variant, None] = {}
    for model in models:
        sizes = input_sizes if model.fixed_size is None else [max(model.fixed_size)]
        if not sizes:
            raise InputError(f"model '{model.name}' takes any input size; name at least one")
        variants.update(dict.fromkeys(Variant(model.name, size) for size in sizes))
    return tuple(variants)


def in_full_image(found: Detections, image_size: tuple[int, int], roi: Block) -> Detections:
    """Detections in pixels of an image that shows ``roi``, in those of the frame; clipped to it."""
    boxes = crop_to_full(found.xyxy, roi, image_size)
    left, top, right, bottom = roi.xyxy
    boxes = boxes.clip((left, top, left, top), (right, bottom, right, bottom))
    return Detections.of(boxes, found.confidence, found.class_id)


def _size(image: NDArray[np.uint8]) -> tuple[int, int]:
    return image.shape[1], image.shape[0]

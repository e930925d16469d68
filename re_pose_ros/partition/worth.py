"""What it is worth to look at a group of objects with each network, and how long that takes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from re_pose_ros.detection.profile import Profile
from re_pose_ros.distribution.detectability import usual_recall
from re_pose_ros.partition.groups import BINS, PER_OCTAVE, Floats, bin_middles
from re_pose_ros.plan import Variant
from re_pose_ros.planning.costs import STRIDE

LARGEST_RISING = 130.0
"""Up to this size on the input, larger objects are found at least as well as smaller ones."""
_PAD = 12 * PER_OCTAVE  # no block is shrunk or enlarged by more than twelve octaves


def pooled_recall(profiles: Sequence[Profile], model: str, sizes: Floats) -> Floats:
    """The recall to expect of a network for objects of ``sizes`` in pixels of its input.

    Taken from all input sizes at which the first profile that knows has it measured, each with the
    number of its objects, since a network does not know what its picture was cut from.
    ``usual_recall`` where nothing is known.
    """
    measured = (
        [
            entry.accuracy
            for entry in profile.variants
            if entry.variant.model == model and entry.accuracy and sum(entry.accuracy.count)
        ]
        for profile in profiles
    )
    known = next(filter(None, measured), None)
    if known is None:
        return usual_recall(None, sizes)
    edges = np.log(known[0].edges)
    alike = [accuracy for accuracy in known if accuracy.edges == known[0].edges]
    count = np.sum([accuracy.count for accuracy in alike], axis=0)
    found = np.sum(
        [[(r or 0.0) * n for r, n in zip(a.recall, a.count, strict=True)] for a in alike], axis=0
    )
    there = count > 0
    middles = ((edges[:-1] + edges[1:]) / 2)[there]
    recall = found[there] / count[there]
    # Few are measured in some bins; what is larger is not found worse, up to some size.
    rising = middles <= np.log(LARGEST_RISING)
    recall[rising] = np.maximum.accumulate(recall[rising])
    places = np.concatenate([edges[:1], middles])
    heights = np.concatenate([[0.0], recall])
    return np.asarray(np.interp(np.log(np.maximum(sizes, 1e-6)), places, heights))


def usefulness(sizes: Floats) -> Floats:
    """What objects that are found are worth by size on the input, in (0, 1].

    Recall tells of what is found with some confidence and an IoU of a half; what is larger is found
    with more of both. A twentieth per octave from 16 to 128 pixels, which is ours.
    """
    octaves = np.log2(np.maximum(sizes, 1e-6) / 16).clip(0, 3)
    return np.asarray((1 + 0.05 * octaves) / 1.15)


_FAR = bin_middles()[0] * 2 ** (np.arange(-_PAD, BINS + _PAD) / PER_OCTAVE)
_USEFUL = usefulness(_FAR)


@dataclass(frozen=True, slots=True, eq=False)
class Views:
    """K blocks on the inputs of V variants.

    Attributes:
        scale: (K, V) network-input pixels per image pixel.
        input_pixels: (K, V) area of the networks' inputs, whose sides are multiples of the stride.
        image_pixels: (K, V) pixels that are sent: those of the block, or fewer where it is shrunk.
    """

    scale: Floats
    input_pixels: Floats
    image_pixels: Floats


@dataclass(frozen=True, slots=True, eq=False)
class Worth:
    """Recall by size for V variants, ready to be applied to groups.

    Attributes:
        variants: V of them.
        input_size: (V,) pixels.
        network: (V,) index of each variant's network.
        windows: per network, (P, BINS) its recall by bin, for P shifts of the bins.
        most_enlarged: network-input pixels per image pixel from which on looking is worth nothing.
    """

    variants: tuple[Variant, ...]
    input_size: Floats
    network: NDArray[np.intp]
    windows: tuple[Floats, ...]
    most_enlarged: float

    @classmethod
    def of(
        cls,
        variants: Sequence[Variant],
        recall: Callable[[str, Floats], Floats],
        most_enlarged: float,
    ) -> Worth:
        """For V variants, from the recall of a network for objects of sizes on its input.

        The recall is weighted by ``usefulness``.
        """
        models = list(dict.fromkeys(variant.model for variant in variants))
        windows = [sliding_window_view(recall(m, _FAR) * _USEFUL, BINS) for m in models]
        sizes = np.array([variant.input_size for variant in variants], np.float64)
        network = np.array([models.index(variant.model) for variant in variants], np.intp)
        return cls(tuple(variants), sizes, network, tuple(windows), most_enlarged)

    def views(self, sides: Floats) -> Views:
        """How blocks of (K, 2) widths and heights in pixels look to the V variants."""
        longer = np.maximum(sides[:, 0], sides[:, 1])[:, None]
        shorter = np.minimum(sides[:, 0], sides[:, 1])[:, None]
        scale = self.input_size / longer
        short = np.ceil(shorter * scale / STRIDE - 1e-9) * STRIDE
        # Blocks grow to what the input shows all the same.
        inputs = self.input_size * short
        return Views(scale, inputs, inputs / np.square(np.maximum(scale, 1.0)))

    def values(self, weight: Floats, scale: Floats) -> Floats:
        """Expected number of objects found, weighted by ``usefulness``, shape (K, V).

        The sum over the objects of their weight times the recall at their size on the network's
        input, after Remix (MobiCom 2021, section 4), where a plan's value is the objects' size
        distribution times the network's accuracy vector. Blocks are not enlarged beyond
        ``most_enlarged``; there the value is 0.

        Args:
            weight: (K, BINS) as of ``Groups``.
            scale: (K, V) as of ``Views``.
        """
        shift = np.rint(PER_OCTAVE * np.log2(scale)).astype(np.int64)
        shift = np.minimum(np.maximum(shift, -_PAD), _PAD) + _PAD
        if len(self.windows) == 1:
            found = np.matmul(self.windows[0][shift], weight[:, :, None])[:, :, 0]
        else:
            found = np.empty(scale.shape)
            for network, windows in enumerate(self.windows):
                own = self.network == network
                found[:, own] = np.matmul(windows[shift[:, own]], weight[:, :, None])[:, :, 0]
        found[scale > self.most_enlarged] = 0.0
        return np.asarray(found)

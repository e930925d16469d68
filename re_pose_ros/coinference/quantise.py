"""Features as integers of 2, 4, 6 or 8 bits and back.

Uniform asymmetric quantisation between a least and a greatest value, of each channel or of the
whole tensor: x is sent as code = round((x - zero) / scale) and comes back as zero + scale * code
(Jacob et al., CVPR 2018, section 2.1, with a zero that is no whole number of scales, so that a
constant comes back exactly).

Measured with layers 3, 4 and 6 of the embedded detector scene-n on 6 blocks of generated scenes
(320 and 640 pixels): the mean error of the scores that the rest of the network gives, at 4 bits,
with bits per pixel of the block after coding by ``entropy`` (small):

| | layer 3 | layer 4 | layer 6 |
|---|---|---|---|
| per channel | 0.015 at 0.85 | 0.012 at 1.85 | 0.004 at 0.55 |
| per tensor | 0.022 at 0.64 | 0.027 at 1.28 | 0.009 at 0.37 |
| per tensor, 0.1 percent clipped at each end | 0.014 at 0.83 | 0.018 at 1.85 | 0.007 at 0.48 |

From 6 bits on the error is at most 0.005 either way, unless it is clipped: half a percent at each
end then makes it 0.008 to 0.04. At 2 bits that lowers the error by a fifth to a third for a fifth
to a half more bytes, which is what more bits do. So nothing is clipped by default. In mAP50, behind
the cuts that are worth anything, only 2 bits need a range per channel; from 4 bits on one per
tensor sends less for about the same (docs/coinference.md), so that the default goes by the bits.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from re_pose_ros.coinference.setting import BITS
from re_pose_ros.errors import InputError

ONE_RANGE_FROM = 4
"""Bits from which on one range serves for all channels."""


@dataclass(frozen=True, slots=True, eq=False)
class Quantised:
    """A tensor of C channels as integers.

    Attributes:
        codes: (C, H, W) uint8, below 2 ** bits.
        scales: (C,) or (1,) float32, finite, what one code is worth; 0 for a constant.
        zeros: the same shape, float32, finite, what code 0 stands for.
    """

    codes: NDArray[np.uint8]
    scales: NDArray[np.float32]
    zeros: NDArray[np.float32]


def quantise(
    values: NDArray[Any],
    bits: int,
    *,
    per_channel: bool | None = None,
    clip_percent: float = 0.0,
) -> Quantised:
    """The integers that stand for a tensor.

    A value within [zero, zero + scale * (2 ** bits - 1)], which without clipping is every one,
    comes back within scale / 2 of itself, rounded to float32 once; a value beyond comes back as the
    nearer end. The scale is (greatest - least) / (2 ** bits - 1), rounded up to float32.

    Args:
        values: (C, H, W) float32 or float16, finite, with at least one element.
        bits: one of ``BITS``.
        per_channel: a range for each channel; else one for all. None: with fewer than
            ``ONE_RANGE_FROM`` bits.
        clip_percent: percentage of the values, at each end of a range, that may lie outside it;
            in [0, 50).

    Raises:
        InputError: a value is not finite, or an argument is not one of the above.
    """
    if bits not in BITS:
        known = ", ".join(map(str, BITS))
        raise InputError(f"features cannot have {bits} bits; use one of {known}")
    if not 0 <= clip_percent < 50:
        raise InputError(f"clip_percent is {clip_percent}; it has to be at least 0 and below 50")
    if values.ndim != 3 or not values.size or values.dtype not in (np.float32, np.float16):
        raise InputError(
            f"features have to be (C, H, W) float32 or float16, not {values.shape} {values.dtype}"
        )
    if per_channel is None:
        per_channel = bits < ONE_RANGE_FROM
    rows = values.reshape(len(values) if per_channel else 1, -1).astype(np.float32, copy=False)
    least, greatest = _range(rows, clip_percent)
    # In float64 no range overflows and no step vanishes.
    work = rows.astype(np.float64)
    work -= least[:, None]
    scales = _scales(least, greatest, (1 << bits) - 1)
    work /= np.where(scales > 0, scales, 1)[:, None]
    np.rint(work, out=work)
    np.clip(work, 0, np.where(scales > 0, (1 << bits) - 1, 0)[:, None], out=work)
    return Quantised(work.astype(np.uint8).reshape(values.shape), scales, least)


def dequantise(quantised: Quantised) -> NDArray[np.float32]:
    """The tensor (C, H, W) float32 that integers stand for.

    It is finite: what is too large for float32 becomes its greatest number.
    """
    codes, greatest = quantised.codes, np.finfo(np.float32).max
    work = codes.reshape(len(quantised.scales), -1).astype(np.float64)
    work *= quantised.scales[:, None]
    work += quantised.zeros[:, None]
    np.clip(work, -greatest, greatest, out=work)
    return work.astype(np.float32).reshape(codes.shape)


def _range(
    rows: NDArray[np.float32], clip_percent: float
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Least and greatest value of each row that are to be told apart; InputError for NaN."""
    least, greatest = rows.min(axis=1), rows.max(axis=1)
    if not (np.isfinite(least).all() and np.isfinite(greatest).all()):
        raise InputError("features hold NaN or infinity; check the weights and half precision")
    count = rows.shape[1]
    outside = int(count * clip_percent / 100)
    if outside:
        ordered = np.partition(rows, (outside, count - 1 - outside), axis=1)
        least, greatest = ordered[:, outside], ordered[:, count - 1 - outside]
    return least, greatest


def _scales(
    least: NDArray[np.float32], greatest: NDArray[np.float32], top: int
) -> NDArray[np.float32]:
    spans = greatest.astype(np.float64) - least
    scales = (spans / top).astype(np.float32)
    short = scales.astype(np.float64) * top < spans
    return np.where(short, np.nextafter(scales, np.float32(np.inf)), scales)

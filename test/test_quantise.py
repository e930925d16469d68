"""Features as integers: how far off they come back, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from re_pose_ros.coinference.quantise import Quantised, dequantise, quantise
from re_pose_ros.coinference.setting import BITS
from re_pose_ros.errors import InputError

SHAPES = st.tuples(st.integers(1, 4), st.integers(1, 5), st.integers(1, 5))


def tensors(width: int = 32) -> st.SearchStrategy[np.ndarray[Any, Any]]:
    """Any finite numbers, the largest and the smallest too."""
    values = st.floats(width=width, allow_nan=False, allow_infinity=False)  # type: ignore[arg-type]
    return arrays.arrays(f"f{width // 8}", SHAPES, elements=values)


def levels(quantised: Quantised, channel: int, bits: int) -> np.ndarray[Any, Any]:
    """What the codes of a channel stand for, in float64."""
    row = channel if len(quantised.scales) > 1 else 0
    return float(quantised.zeros[row]) + float(quantised.scales[row]) * np.arange(1 << bits)


@given(st.one_of(tensors(32), tensors(16)), st.sampled_from(BITS), st.booleans())
def test_every_value_comes_back_within_half_a_step(
    values: np.ndarray[Any, Any], bits: int, per_channel: bool
) -> None:
    found = quantise(values, bits, per_channel=per_channel)
    assert found.codes.dtype == np.uint8 and found.codes.max() < 1 << bits
    assert found.scales.shape == found.zeros.shape == (len(values) if per_channel else 1,)
    assert found.scales.dtype == found.zeros.dtype == np.float32
    back = dequantise(found)
    assert back.dtype == np.float32 and back.shape == values.shape
    error = np.abs(back.astype(np.float64) - values)
    rounding = np.spacing(np.abs(back)).astype(np.float64)
    steps = found.scales.astype(np.float64)[:, None, None]
    assert (error <= 0.5 * (steps + rounding) * (1 + 1e-9)).all()


@given(tensors(), st.sampled_from(BITS), st.booleans())
def test_no_level_is_nearer_than_the_chosen_one(
    values: np.ndarray[Any, Any], bits: int, per_channel: bool
) -> None:
    found = quantise(values, bits, per_channel=per_channel)
    for channel, row in enumerate(values):
        known = levels(found, channel, bits)
        for value, code in zip(row.ravel(), found.codes[channel].ravel(), strict=True):
            away = np.abs(known - float(value))
            assert away[code] <= away.min() + 1e-9 * (abs(float(value)) + known[-1] - known[0])


@given(tensors(), st.sampled_from(BITS))
def test_the_least_value_and_constants_come_back_exactly(
    values: np.ndarray[Any, Any], bits: int
) -> None:
    values[0] = values[0, 0, 0]
    back = dequantise(quantise(values, bits, per_channel=True))
    assert (back[0] == values[0]).all()
    assert (back.min(axis=(1, 2)) == values.min(axis=(1, 2))).all()
    whole = dequantise(quantise(values, bits, per_channel=False))
    assert whole.min() == values.min()


@given(tensors(), st.sampled_from(BITS))
def test_channels_do_not_depend_on_each_other(values: np.ndarray[Any, Any], bits: int) -> None:
    together = dequantise(quantise(values, bits, per_channel=True))
    for channel in range(len(values)):
        alone = values[channel : channel + 1]
        assert (dequantise(quantise(alone, bits, per_channel=True))[0] == together[channel]).all()
        assert (dequantise(quantise(alone, bits, per_channel=False))[0] == together[channel]).all()


@given(
    arrays.arrays(np.float32, (2, 8, 8), elements=st.floats(-100, 100, width=32)),
    st.sampled_from(BITS),
    st.floats(0.5, 30),
)
def test_clipped_values_come_back_as_the_nearer_end(
    values: np.ndarray[Any, Any], bits: int, percent: float
) -> None:
    found = quantise(values, bits, per_channel=True, clip_percent=percent)
    back = dequantise(found).astype(np.float64)
    for channel, row in enumerate(values.astype(np.float64)):
        known = levels(found, channel, bits)
        ordered = np.sort(row.ravel())
        outside = int(len(ordered) * percent / 100)
        assert known[0] == ordered[outside]
        assert known[-1] == pytest.approx(ordered[-1 - outside], abs=1e-4)
        nearest = row.clip(known[0], known[-1])
        step = found.scales[channel]
        assert np.abs(back[channel] - nearest).max() <= 0.5 * step * (1 + 1e-9) + 1e-5


def test_more_bits_are_nearer() -> None:
    values = np.random.default_rng(0).normal(size=(8, 20, 20)).astype(np.float32)
    sent = [dequantise(quantise(values, bits, per_channel=True)) for bits in BITS]
    errors = [float(np.abs(back - values).mean()) for back in sent]
    assert errors == sorted(errors, reverse=True)
    assert errors[0] / errors[-1] == pytest.approx(255 / 3, rel=0.1), "in proportion to the steps"


@pytest.mark.parametrize(("bits", "ranges"), [(2, 8), (4, 1), (6, 1), (8, 1)])
def test_few_bits_have_a_range_for_each_channel(bits: int, ranges: int) -> None:
    values = np.random.default_rng(0).normal(size=(8, 5, 5)).astype(np.float32)
    assert quantise(values, bits).scales.shape == (ranges,)


def test_what_is_too_large_for_float32_stays_finite() -> None:
    huge = Quantised(
        np.full((1, 1, 1), 255, np.uint8),
        np.array([np.finfo(np.float32).max]),
        np.array([np.finfo(np.float32).max]),
    )
    assert dequantise(huge).item() == np.finfo(np.float32).max


GOOD = np.zeros((2, 3, 3), np.float32)


@pytest.mark.parametrize(
    ("values", "options", "says"),
    [
        (np.full_like(GOOD, np.nan), {}, "NaN or infinity"),
        (np.where(np.eye(3) > 0, np.inf, GOOD).astype(np.float32), {}, "NaN or infinity"),
        (np.where(np.eye(3) > 0, -np.inf, GOOD).astype(np.float16), {}, "NaN or infinity"),
        (np.where(np.eye(3) > 0, np.nan, GOOD).astype(np.float32), {"clip_percent": 40}, "NaN or"),
        (GOOD.astype(np.float64), {}, "float64"),
        (GOOD.astype(np.int32), {}, "int32"),
        (GOOD[0], {}, "(3, 3)"),
        (GOOD[:0], {}, "(0, 3, 3)"),
        (GOOD, {"bits": 3}, "3 bits; use one of 2, 4, 6, 8"),
        (GOOD, {"bits": 16}, "16 bits"),
        (GOOD, {"clip_percent": -1}, "clip_percent is -1"),
        (GOOD, {"clip_percent": 50}, "clip_percent is 50"),
        (GOOD, {"clip_percent": float("nan")}, "clip_percent is nan"),
    ],
)
def test_what_cannot_be_quantised_is_refused(
    values: np.ndarray[Any, Any], options: dict[str, Any], says: str
) -> None:
    with pytest.raises(InputError) as raised:
        quantise(values, **({"bits": 4} | options))
    assert says in str(raised.value)

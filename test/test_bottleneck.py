"""Bottlenecks: their beginning, and what quantisation is to training."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from re_pose_ros.coinference.bottleneck import (
    Bottleneck,
    BottleneckShape,
    bits_per_value,
    quantised,
)
from re_pose_ros.coinference.quantise import dequantise, quantise
from re_pose_ros.coinference.setting import BITS


def correlated(channels: int, rank: int, side: int, seed: int) -> torch.Tensor:
    """(1, channels, side, side) of which ``rank`` mixtures tell all."""
    generator = torch.Generator().manual_seed(seed)
    sources = torch.randn((1, rank, side, side), generator=generator)
    mixing = torch.randn((channels, rank), generator=generator)
    return torch.einsum("cr,brhw->bchw", mixing, sources) + torch.arange(channels)[:, None, None]


@pytest.mark.parametrize(("stride", "code"), [(1, 3), (2, 12)])
def test_principal_components_lose_nothing_that_is_not_there(stride: int, code: int) -> None:
    value = correlated(8, 3, 12, 1)
    part = Bottleneck(BottleneckShape(4, 8, code, stride)).eval()
    patches = torch.nn.functional.unfold(value, stride, stride=stride)[0].T
    part.begin_with(torch.cov(patches.T), patches.mean(0))
    with torch.no_grad():
        code_values = part.encode({4: value})
        assert code_values[4].shape == (1, code, 12 // stride, 12 // stride)
        back = part.decode(code_values)[4]
    error = (back - value).abs().max()
    # Between means of patches and of channels there is a little.
    assert error < (1e-4 if stride == 1 else 0.2 * value.std())


def test_fewer_components_are_the_best_ones() -> None:
    value = correlated(8, 5, 16, 2)
    patches = value[0].flatten(1).T
    part = Bottleneck(BottleneckShape(0, 8, 2, 1)).eval()
    part.begin_with(torch.cov(patches.T), patches.mean(0))
    with torch.no_grad():
        back = part.decode(part.encode({0: value}))[0]
    centred = (patches - patches.mean(0)).double()
    least = torch.linalg.svdvals(centred)[2:].square().sum()
    assert float((back - value).square().sum()) == pytest.approx(float(least), rel=1e-3)


@given(st.integers(0, 999), st.sampled_from(BITS), st.integers(1, 4))
def test_training_rounds_as_sending_does(seed: int, bits: int, channels: int) -> None:
    code = torch.randn((2, channels, 5, 6), generator=torch.Generator().manual_seed(seed))
    given = quantised(code, bits).numpy()
    for picture in range(2):
        sent = dequantise(quantise(code[picture].numpy(), bits, per_channel=True))
        step = np.ptp(code[picture].numpy(), axis=(1, 2)).max() / (2**bits - 1)
        # A value half-way between two steps may go either way.
        different = np.abs(sent - given[picture]) > 1e-5
        assert different.mean() < 0.05
        assert np.abs(sent - given[picture]).max() <= step * 1.001


def test_a_constant_stays_what_it_is() -> None:
    code = torch.full((1, 2, 3, 3), 0.37)
    assert torch.equal(quantised(code, 2), code)
    assert torch.isfinite(bits_per_value(code, 2))


def test_the_gradient_passes_through_rounding() -> None:
    code = torch.randn(1, 2, 4, 4, requires_grad=True)
    weights = torch.arange(32.0).reshape(1, 2, 4, 4)
    (quantised(code, 2) * weights).sum().backward()
    assert torch.equal(code.grad, weights)


def test_smooth_codes_cost_less_than_noise() -> None:
    ramp = torch.linspace(0, 1, 16).expand(1, 1, 16, 16).contiguous()
    noise = torch.rand((1, 1, 16, 16), generator=torch.Generator().manual_seed(0))
    for bits in BITS:
        assert bits_per_value(ramp, bits) < bits_per_value(noise, bits)
    costs = [float(bits_per_value(noise, bits)) for bits in BITS]
    assert costs == sorted(costs)

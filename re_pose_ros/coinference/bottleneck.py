"""Few channels instead of many across a cut.

What a layer of a detector gives is larger than the JPEG file of its picture. A bottleneck is a pair
of small networks trained into a cut, with the network around it frozen (as BottleNet++, Shao and
Zhang, 2020, and Matsubara et al., 2020, do with the network retrained): the robot's half is one
convolution whose kernel is its stride, 1x1 where nothing is made coarser, so that it costs next to
nothing; the edge's half enlarges again and is less bound.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from re_pose_ros.coinference.weights import load_weights, save_weights
from re_pose_ros.errors import InputError

_HIDDEN = 64  # channels within the edge's half


@dataclass(frozen=True, slots=True)
class BottleneckShape:
    """How a bottleneck is built.

    Attributes:
        stage: whose value crosses the cut, alone.
        channels: of that value.
        code: channels that are sent.
        stride: how many times coarser, per side, they are sent.
    """

    stage: int
    channels: int
    code: int
    stride: int


class Bottleneck(nn.Module):
    """The robot's ``encode`` and the edge's ``decode``, of the values that cross a cut by stage.

    Args:
        shape: how to build.
    """

    def __init__(self, shape: BottleneckShape) -> None:
        super().__init__()
        self.shape = shape
        side = shape.stride
        self.encoder = nn.Conv2d(shape.channels, shape.code, side, side)
        self.decoder = nn.ConvTranspose2d(shape.code, shape.channels, side, side)
        self.refine = nn.Sequential(
            nn.Conv2d(shape.channels, _HIDDEN, 1),
            nn.SiLU(inplace=True),
            nn.Conv2d(_HIDDEN, _HIDDEN, 3, 1, 1, groups=_HIDDEN),
            nn.Conv2d(_HIDDEN, _HIDDEN, 1),
            nn.SiLU(inplace=True),
            nn.Conv2d(_HIDDEN, _HIDDEN, 3, 1, 1, groups=_HIDDEN),
            nn.Conv2d(_HIDDEN, shape.channels, 1),
        )
        nn.init.zeros_(self.refine[-1].weight)
        nn.init.zeros_(self.refine[-1].bias)

    def encode(self, values: Mapping[int, Any]) -> dict[int, Any]:
        """What crosses the cut, (B, channels, H, W), to what is sent: (B, code, H/s, W/s).

        Sides have to be multiples of the stride s; those of a network's feature maps are.
        """
        return {self.shape.stage: self.encoder(values[self.shape.stage])}

    def decode(self, codes: Mapping[int, Any]) -> dict[int, Any]:
        """What was sent, up to its quantisation, to what crosses the cut, roughly.

        Raises:
            InputError: these are no codes of this bottleneck.
        """
        code = codes.get(self.shape.stage)
        if len(codes) != 1 or code is None or code.ndim != 4 or code.shape[1] != self.shape.code:
            raise InputError(
                f"the bottleneck of stage {self.shape.stage} takes {self.shape.code} channels of "
                f"it, not { ({k: tuple(v.shape) for k, v in codes.items()}) }"
            )
        coarse = self.decoder(code)
        return {self.shape.stage: coarse + self.refine(coarse)}

    def begin_with(self, covariance: Any, mean: Any) -> None:
        """Start from the principal components of what crosses the cut.

        Args:
            covariance: (n, n) of patches of stride x stride, n = channels * stride^2, in the order
                of the encoder's weights.
            mean: (n,).
        """
        shape = self.shape
        _, vectors = torch.linalg.eigh(covariance.double())
        basis = vectors[:, -shape.code :].float().T  # (code, n), orthonormal rows
        kernel = basis.reshape(shape.code, shape.channels, shape.stride, shape.stride)
        offset = basis @ mean
        with torch.no_grad():
            self.encoder.weight.copy_(kernel)
            self.encoder.bias.copy_(-offset)
            self.decoder.weight.copy_(kernel)
            flat = mean.reshape(shape.channels, -1).mean(1)
            self.decoder.bias.copy_(flat)


def quantised(code: Any, bits: int) -> Any:
    """``code`` (B, C, H, W) rounded as it is sent, with the gradient of the identity.

    Uniform steps between the least and the greatest value of each channel of each picture; the
    straight-through estimator of Bengio et al. (2013).
    """
    low = code.amin((2, 3), keepdim=True).detach()
    step = _step(code, low, bits)
    rounded = ((code - low) / step).round() * step + low
    return code + (rounded - code).detach()


def bits_per_value(code: Any, bits: int) -> Any:
    """About how many bits a value of ``code`` takes behind a predicting coder; differentiable.

    Of a value that is r steps off the mean of its left and upper neighbours, log2(1 + 2 r): what
    a code adapted to the size of r spends, up to a constant; ours.
    """
    step = _step(code, code.amin((2, 3), keepdim=True), bits)
    expected = (code[..., 1:, :-1] + code[..., :-1, 1:]) / 2
    return torch.log2(1 + 2 * (code[..., 1:, 1:] - expected).abs() / step).mean()


def _step(code: Any, low: Any, bits: int) -> Any:
    span = code.amax((2, 3), keepdim=True).detach() - low.detach()
    return span.clamp(min=1e-6) / (2**bits - 1)


def bottlenecks_path(weights: Path) -> Path:
    """Where the bottlenecks of a network's file are looked for."""
    return weights.with_name(f"{weights.stem}.bottlenecks.safetensors")


def save_bottlenecks(
    path: Path, network_hash: str, bottlenecks: Sequence[Bottleneck], training: Any
) -> None:
    """Write bottlenecks.

    Args:
        path: of the file.
        network_hash: sha256 of the network's file.
        bottlenecks: one per stage at most.
        training: how they were made, for JSON.
    """
    tensors = {
        f"{b.shape.stage}.{key}": t for b in bottlenecks for key, t in b.state_dict().items()
    }
    about = {"bottlenecks": [asdict(b.shape) for b in bottlenecks], "training": training}
    save_weights(path, "bottlenecks", network_hash, tensors, about)


def load_bottlenecks(path: Path, network_hash: str) -> dict[tuple[int, ...], Bottleneck]:
    """What ``save_bottlenecks`` wrote, by what is alive across their cuts, for inference.

    Raises:
        InputError: the file cannot be used or was made for another network.
    """
    tensors, about = load_weights(path, "bottlenecks", network_hash)
    found: dict[tuple[int, ...], Bottleneck] = {}
    for fields in about["bottlenecks"]:
        shape = BottleneckShape(**fields)
        bottleneck = Bottleneck(shape).eval().requires_grad_(False)
        prefix = f"{shape.stage}."
        own = {k.removeprefix(prefix): t for k, t in tensors.items() if k.startswith(prefix)}
        try:
            bottleneck.load_state_dict(own)
        except RuntimeError as error:
            raise InputError(f"{path} does not fit this version; make it anew") from error
        found[shape.stage,] = bottleneck
    return found

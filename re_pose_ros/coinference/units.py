"""The unit that trained parts are built of."""

from __future__ import annotations

from typing import Any

from torch import nn

_EPSILON, _MOMENTUM = 1e-3, 0.03  # of BatchNorm, as ultralytics has them
_ACTIVATIONS = {"silu": nn.SiLU, "relu": nn.ReLU}


class ConvUnit(nn.Module):
    """Convolution that keeps the sides or divides them by the stride, BatchNorm, activation.

    Args:
        channels: taken.
        width: channels given.
        size: of the kernel, odd.
        stride: of the kernel.
        groups: of the channels.
        act: ``silu``, ``relu`` or ``none``.
    """

    def __init__(
        self,
        channels: int,
        width: int,
        size: int = 1,
        stride: int = 1,
        *,
        groups: int = 1,
        act: str = "silu",
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, width, size, stride, size // 2, groups=groups, bias=False)
        self.bn = nn.BatchNorm2d(width, eps=_EPSILON, momentum=_MOMENTUM)
        self.act = nn.Identity() if act == "none" else _ACTIVATIONS[act](inplace=True)

    def forward(self, x: Any) -> Any:
        return self.act(self.bn(self.conv(x)))


def fold_normalisation(module: Any) -> None:
    """Merge each BatchNorm into the convolution before it, in place; for inference only."""
    for unit in module.modules():
        if isinstance(getattr(unit, "bn", None), nn.BatchNorm2d):
            unit.conv = nn.utils.fusion.fuse_conv_bn_eval(unit.conv.eval(), unit.bn.eval())
            unit.bn = nn.Identity()

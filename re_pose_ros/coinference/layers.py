"""The layers of an ultralytics network as stages, and where its backbone has which resolution."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from re_pose_ros.coinference.stages import PICTURE, Exit, Stage, StagedNetwork
from re_pose_ros.errors import InputError

FULL = "full"
"""The exit that is the original network."""


def layer_stages(network: Any) -> tuple[Stage, ...]:
    """The layers of a network, one stage each, with ultralytics' numbers."""
    stages = []
    for index, layer in enumerate(network.model):
        alone = isinstance(layer.f, int)
        # Negative sources count from here; the layer before the first is the picture.
        sources = (s if s >= 0 else index + s for s in ([layer.f] if alone else layer.f))
        module = layer if alone else _taking_list(layer)
        stages.append(Stage(f"{index} {type(layer).__name__}", module, tuple(sources)))
    return tuple(stages)


def layers_alone(network: Any) -> StagedNetwork:
    """A network in stages without further exits."""
    stages = layer_stages(network)
    return StagedNetwork(stages, (Exit(FULL, len(stages) - 1),))


def check_layers(network: Any) -> None:
    """Raises InputError where layers run one by one do not give what the network gives."""
    import torch

    picture = small_picture(network)
    with torch.inference_mode():
        try:
            output = layers_alone(network).run(picture, FULL)
            same = torch.equal(_first(network(picture)), _first(output))
        except (RuntimeError, TypeError, IndexError):  # layers that are no plain functions
            same = False
    if not same:
        raise InputError(f"a {type(network).__name__} cannot be cut into its layers; use a YOLO")


def backbone_levels(network: Any) -> tuple[tuple[int, int], ...]:
    """Stage and channels of the backbone's last feature map per resolution of the head.

    Fine to coarse.

    Raises:
        InputError: the backbone does not have all these resolutions.
    """
    strides = [int(s) for s in network.stride]
    maps = backbone_maps(network)
    if len(strides) < 2 or not set(strides) <= set(maps):
        raise InputError(f"a {type(network).__name__} has no backbone that exits could be put on")
    return tuple(maps[stride] for stride in strides)


def backbone_maps(network: Any) -> dict[int, tuple[int, int]]:
    """Stage and channels of the backbone's last feature map of each stride.

    The backbone is what comes before the first layer that enlarges a feature map.
    """
    import torch

    values = {PICTURE: small_picture(network)}
    side = values[PICTURE].shape[2]
    maps: dict[int, tuple[int, int]] = {}
    with torch.inference_mode():
        for index, stage in enumerate(layer_stages(network)):
            inputs = [values[i] for i in stage.inputs]
            values[index] = stage.module(*inputs)
            shape = getattr(values[index], "shape", None)
            if shape is None or len(shape) != 4 or shape[2] > min(x.shape[2] for x in inputs):
                break
            maps[side // shape[2]] = (index, shape[1])
    return maps


def small_picture(network: Any) -> Any:
    """Noise for a network, (1, 3, S, S); S is twice the stride of its coarsest feature map."""
    import torch

    weight = next(network.parameters())
    side = 2 * int(max(network.stride))
    return torch.rand((1, 3, side, side), device=weight.device, dtype=weight.dtype)


def _taking_list(layer: Any) -> Callable[..., Any]:
    return lambda *values: layer(list(values))


def _first(output: Any) -> Any:
    return output[0] if isinstance(output, (list, tuple)) else output

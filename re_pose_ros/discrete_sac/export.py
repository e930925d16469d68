"""A trained actor as plain arrays, for machines without torch."""

from __future__ import annotations

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray
from stable_baselines3.common.torch_layers import FlattenExtractor
from torch import nn

from re_pose_ros.discrete_sac.algorithm import DiscreteSAC
from re_pose_ros.errors import InputError

_ACTIVATIONS = {nn.ReLU: "relu", nn.Tanh: "tanh"}


def actor_arrays(model: DiscreteSAC) -> dict[str, NDArray[np.generic]]:
    """Weights and biases of the actor, for ``numpy.savez`` and inference without torch.

    Layer k of K has ``actor.<k>.weight`` (outputs, inputs) and ``actor.<k>.bias`` (outputs,),
    float32; ``activation``, "relu" or "tanh", a string array of shape (), follows each but the
    last. The logits are then ``W_K ... act(W_0 x + b_0) ... + b_K`` of a flat observation x; what
    is invalid is left out before the greatest is taken.

    Raises:
        InputError: observations are images, integers or normalised by ``VecNormalize``, or the
            layers are others than linear ones with ReLU or tanh.
    """
    actor = model.policy.actor
    if not isinstance(model.observation_space, spaces.Box) or not isinstance(
        actor.features_extractor, FlattenExtractor
    ):
        raise InputError("only actors for flat real observations are exported")
    normalised = model.get_vec_normalize_env()
    if normalised is not None and normalised.norm_obs:
        raise InputError("observations are normalised by VecNormalize; do so in the environment")
    layers = list(actor.layers)
    arrays: dict[str, NDArray[np.generic]] = {}
    for k, layer in enumerate(layers[::2]):
        if not isinstance(layer, nn.Linear):
            raise InputError(f"the actor has a layer {type(layer).__name__}; use linear ones")
        arrays[f"actor.{k}.weight"] = layer.weight.detach().cpu().numpy().copy()
        arrays[f"actor.{k}.bias"] = layer.bias.detach().cpu().numpy().copy()
    kinds = {type(layer) for layer in layers[1::2]} or {nn.ReLU}
    if len(kinds) > 1 or not kinds <= _ACTIVATIONS.keys():
        raise InputError("the actor's activation_fn is neither ReLU nor Tanh")
    arrays["activation"] = np.array(_ACTIVATIONS[kinds.pop()])
    return arrays

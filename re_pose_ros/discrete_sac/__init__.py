"""Soft Actor-Critic for discrete actions on stable-baselines3, which it needs, as it does torch.

``DiscreteSAC`` learns as the algorithms of stable-baselines3 do; what is valid in a state is told
by the environment's method ``action_masks()``, as for sb3-contrib's MaskablePPO.
"""

from re_pose_ros.errors import InputError

try:
    from re_pose_ros.discrete_sac.algorithm import DiscreteSAC
    from re_pose_ros.discrete_sac.buffer import MaskedReplayBuffer
    from re_pose_ros.discrete_sac.export import actor_arrays
    from re_pose_ros.discrete_sac.masks import MaskedPredictor, MasksInInfo, action_masks
    from re_pose_ros.discrete_sac.policies import DiscreteSACPolicy, MlpPolicy
except ModuleNotFoundError as error:
    package = (error.name or "").partition(".")[0]
    if package not in ("stable_baselines3", "gymnasium", "torch"):
        raise
    raise InputError(
        f"DiscreteSAC needs {package}: pip install stable-baselines3 gymnasium torch"
    ) from error

__all__ = [
    "DiscreteSAC",
    "DiscreteSACPolicy",
    "MaskedPredictor",
    "MaskedReplayBuffer",
    "MasksInInfo",
    "MlpPolicy",
    "action_masks",
    "actor_arrays",
]

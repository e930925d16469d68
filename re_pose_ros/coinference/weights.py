"""Weights that belong to a network: safetensors files that name the network by its hash."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from re_pose_ros.errors import InputError

_FORMAT, _KEY = 1, "re_pose_ros"


def file_hash(path: Path) -> str:
    """The sha256 of a file, or of the files of a folder and their names, in hexadecimal."""
    if not path.is_dir():
        return hashlib.sha256(path.read_bytes()).hexdigest()
    files = sorted(p for p in path.rglob("*") if p.is_file())
    parts = [f"{p.relative_to(path)} {file_hash(p)}" for p in files]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def save_weights(
    path: Path, kind: str, network_hash: str, tensors: Mapping[str, Any], about: Mapping[str, Any]
) -> None:
    """Write tensors in float16, with what they are for and how to build what holds them.

    Args:
        path: of the file.
        kind: what the tensors are, as ``exits``; ``load_weights`` asks for the same.
        network_hash: sha256 of the network that they were trained for; empty for none.
        tensors: torch tensors by name.
        about: for JSON.
    """
    import torch
    from safetensors.torch import save

    content = {"format": _FORMAT, "kind": kind, "network": network_hash, "about": about}
    halves = {
        name: tensor.detach().to("cpu", torch.float16).contiguous()
        for name, tensor in tensors.items()
    }
    partial = path.with_suffix(".part")
    # One key, since safetensors writes several in any order; equal weights make equal files.
    partial.write_bytes(save(halves, {_KEY: json.dumps(content, sort_keys=True)}))
    partial.replace(path)


def load_weights(path: Path, kind: str, network_hash: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Tensors in float32, and what ``save_weights`` was told about them.

    Raises:
        InputError: the file cannot be read, is of another kind, or was made for another network.
    """
    content, tensors = _read(path, kind)
    made_for = str(content.get("network"))
    if made_for != network_hash:
        raise InputError(
            f"{path} was made for another network (sha256 {made_for[:12]}..., here "
            f"{network_hash[:12]}...); make it anew with: python -m re_pose_ros train exits"
        )
    return tensors, content["about"]


def about(path: Path, kind: str) -> dict[str, Any]:
    """What ``save_weights`` was told about a file's tensors; raises InputError as above."""
    found: dict[str, Any] = _read(path, kind)[0]["about"]
    return found


def _read(path: Path, kind: str) -> tuple[dict[str, Any], dict[str, Any]]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt") as file:
            content = json.loads((file.metadata() or {}).get(_KEY, "{}"))
            tensors = {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118
    except FileNotFoundError as error:
        raise InputError(
            f"{path} is not there; make it with: python -m re_pose_ros train exits"
        ) from error
    except (OSError, ValueError, SafetensorError) as error:
        raise InputError(f"{path} is no safetensors file; delete it or make it anew") from error
    if (content.get("format"), content.get("kind")) != (_FORMAT, kind):
        raise InputError(f"{path} holds no {kind} of this format; delete it or make it anew")
    return content, tensors

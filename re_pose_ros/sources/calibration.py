"""Camera calibrations in the YAML format of ROS's camera_calibration."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from re_pose_ros.errors import InputError

# sensor_msgs/distortion_models.hpp; other models pass with any number of coefficients.
_COEFFICIENTS = {"plumb_bob": (4, 5), "rational_polynomial": (8, 12, 14), "equidistant": (4,)}


@dataclass(frozen=True, slots=True)
class Calibration:
    """The fields of ``sensor_msgs/CameraInfo`` under their names there; matrices by rows.

    Attributes:
        width: pixels.
        height: pixels.
        camera_name: free text.
        distortion_model: as in ``sensor_msgs/distortion_models.hpp``.
        d: distortion coefficients.
        k: 3x3 intrinsic matrix in pixels.
        r: 3x3 rectification matrix.
        p: 3x4 projection matrix in pixels.
    """

    width: int
    height: int
    camera_name: str
    distortion_model: str
    d: tuple[float, ...]
    k: tuple[float, ...]
    r: tuple[float, ...]
    p: tuple[float, ...]


def default_calibration(width: int, height: int) -> Calibration:
    """A guess for an unknown camera: pinhole, focal length = width, centre in the middle."""
    f, x, y = float(width), width / 2, height / 2
    return Calibration(
        width,
        height,
        "camera",
        "plumb_bob",
        (0.0,) * 5,
        (f, 0.0, x, 0.0, f, y, 0.0, 0.0, 1.0),
        (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0),
        (f, 0.0, x, 0.0, 0.0, f, y, 0.0, 0.0, 0.0, 1.0, 0.0),
    )


def load_calibration(path: str | Path, size: tuple[int, int] | None = None) -> Calibration:
    """Read a calibration; ``size`` is the (width, height) of the images it is for, if known.

    Raises:
        InputError: unreadable, not of the format, wrong lengths, or for another image size.
    """
    try:
        content = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"calibration {path} cannot be read: {error.strerror}") from error
    except (yaml.YAMLError, ValueError) as error:
        text = " ".join(str(error).split())
        raise InputError(f"calibration {path} is no valid YAML: {text}") from error
    try:
        calibration = _parse(content)
    except (KeyError, TypeError, ValueError) as error:
        what = f"{error.args[0]} is missing" if isinstance(error, KeyError) else str(error)
        raise InputError(f"calibration {path}: {what}") from error
    if size is not None and (calibration.width, calibration.height) != tuple(size):
        raise InputError(
            f"calibration {path} is for {calibration.width}x{calibration.height} pixels, "
            f"the images have {size[0]}x{size[1]}"
        )
    return calibration


def _parse(content: Any) -> Calibration:
    if not isinstance(content, dict):
        raise TypeError("expected the fields of camera_calibration's YAML")
    model = content["distortion_model"]
    if not isinstance(model, str):
        raise TypeError("distortion_model must be text")
    d = _numbers(content, "distortion_coefficients")
    lengths = _COEFFICIENTS.get(model, (len(d),))
    if len(d) not in lengths:
        wanted = " or ".join(str(n) for n in lengths)
        raise ValueError(f"{model} needs {wanted} distortion coefficients, got {len(d)}")
    return Calibration(
        _pixels(content, "image_width"),
        _pixels(content, "image_height"),
        str(content.get("camera_name", "camera")),
        model,
        d,
        _numbers(content, "camera_matrix", 9),
        _numbers(content, "rectification_matrix", 9),
        _numbers(content, "projection_matrix", 12),
    )


def _pixels(content: dict[Any, Any], name: str) -> int:
    value = content[name]
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(f"{name} must be a positive whole number, got {value!r}")
    return value


def _numbers(content: dict[Any, Any], name: str, length: int | None = None) -> tuple[float, ...]:
    matrix = content[name]
    data = matrix.get("data") if isinstance(matrix, dict) else None
    if not isinstance(data, list):
        raise TypeError(f"{name} needs a list of numbers under data")
    for value in data:
        if (
            isinstance(value, bool)
            or not isinstance(value, (int, float))
            or not math.isfinite(value)
        ):
            raise ValueError(f"{name} holds {value!r}, which is no number")
    if length is not None and len(data) != length:
        raise ValueError(f"{name} needs {length} numbers, got {len(data)}")
    return tuple(float(value) for value in data)

"""Camera calibrations in YAML."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from re_pose_ros.errors import InputError
from re_pose_ros.sources import Calibration, default_calibration, load_calibration


def calibration_fields(**changes: Any) -> dict[str, Any]:
    fields = {
        "image_width": 64,
        "image_height": 48,
        "camera_name": "front",
        "distortion_model": "plumb_bob",
        "camera_matrix": {"rows": 3, "cols": 3, "data": [70, 0, 32.5, 0, 71, 24, 0, 0, 1]},
        "distortion_coefficients": {"rows": 1, "cols": 5, "data": [0.1, -0.2, 0, 0, 0.01]},
        "rectification_matrix": {"rows": 3, "cols": 3, "data": [1, 0, 0, 0, 1, 0, 0, 0, 1]},
        "projection_matrix": {"rows": 3, "cols": 4, "data": [7, 0, 3, 0, 0, 7, 2, 0, 0, 0, 1, 0]},
    }
    return {k: v for k, v in (fields | changes).items() if v is not None}


@pytest.fixture
def calibration_file(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "camera.yaml"


def test_a_calibration_is_read(calibration_file: Path) -> None:
    calibration_file.write_text(yaml.safe_dump(calibration_fields()))
    calibration = load_calibration(calibration_file, (64, 48))
    assert (calibration.width, calibration.height) == (64, 48)
    assert calibration.camera_name == "front"
    assert calibration.k == (70.0, 0.0, 32.5, 0.0, 71.0, 24.0, 0.0, 0.0, 1.0)
    assert calibration.d == (0.1, -0.2, 0.0, 0.0, 0.01)
    assert len(calibration.r) == 9
    assert len(calibration.p) == 12
    with pytest.raises(InputError, match="is for 64x48 pixels, the images have 640x480"):
        load_calibration(calibration_file, (640, 480))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a: [", "no valid YAML"),
        ("", "expected the fields"),
        ("- 1", "expected the fields"),
        (yaml.safe_dump(calibration_fields(camera_matrix=None)), "camera_matrix is missing"),
        (yaml.safe_dump(calibration_fields(image_width="64")), "image_width must be"),
        (yaml.safe_dump(calibration_fields(image_height=0)), "image_height must be"),
        (yaml.safe_dump(calibration_fields(camera_matrix={"data": [1.0] * 8})), "9 numbers, got 8"),
        (yaml.safe_dump(calibration_fields(projection_matrix=[1.0] * 12)), "under data"),
        (yaml.safe_dump(calibration_fields(camera_matrix={"data": ["x"] * 9})), "is no number"),
        (
            yaml.safe_dump(calibration_fields(distortion_coefficients={"data": [0.0] * 3})),
            "plumb_bob needs 4 or 5",
        ),
        (yaml.safe_dump(calibration_fields(distortion_model=5)), "must be text"),
    ],
)
def test_malformed_calibrations(calibration_file: Path, text: str, told: str) -> None:
    calibration_file.write_text(text)
    with pytest.raises(InputError, match=told) as caught:
        load_calibration(calibration_file)
    assert str(calibration_file) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_calibration(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        load_calibration(tmp_path / "missing.yaml")


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.binary(max_size=200))
def test_any_bytes_are_a_calibration_or_refused(
    tmp_path_factory: pytest.TempPathFactory, data: bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    path.write_bytes(data)
    with pytest.raises(InputError):
        load_calibration(path)


def test_the_default_calibration() -> None:
    calibration = default_calibration(1280, 720)
    assert isinstance(calibration, Calibration)
    assert calibration.k == (1280.0, 0.0, 640.0, 0.0, 1280.0, 360.0, 0.0, 0.0, 1.0)
    k = np.reshape(calibration.k, (3, 3))
    assert np.array_equal(np.reshape(calibration.p, (3, 4)), np.hstack([k, np.zeros((3, 1))]))
    assert np.array_equal(np.reshape(calibration.r, (3, 3)), np.eye(3))
    assert calibration.d == (0.0,) * 5

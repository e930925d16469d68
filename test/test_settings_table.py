"""What settings cost and find, of a graph whose costs and findings are known."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from re_pose_ros.coinference.profile import ActionTable
from re_pose_ros.coinference.setting import BITS, DEVICE, Setting
from re_pose_ros.detections import Detections
from re_pose_ros.ground_truth import GroundTruth
from re_pose_ros.training import settings_table
from re_pose_ros.training.settings_table import QUALITIES, measure, save_plot, settings_of

Image = NDArray[np.uint8]


@dataclass(frozen=True)
class Known:
    """Sends a byte per bit and pixel of width; finds the exit's number."""

    exits: tuple[str, ...] = ("early", "full")

    def head(self, image: Image, input_size: int, setting: Setting) -> bytes:
        return bytes(setting.bits * image.shape[1])

    def finished(self, data: bytes) -> Any:
        return len(data)

    def whole(self, image: Image, input_size: int, exit: str) -> Any:
        return self.exits.index(exit)


def judge(found: list[Any]) -> tuple[float, None]:
    return float(np.mean(found)) / 1e4, None


def test_settings_of_an_exit_are_pictures_features_and_the_robot_alone() -> None:
    made = settings_of("full", [3, 5])
    assert [s.quality for s in made if s.cut == 0] == list(QUALITIES)
    assert [(s.cut, s.bits) for s in made if s.cut > 0] == [(c, b) for c in (3, 5) for b in BITS]
    assert made[-1] == Setting("full", DEVICE, 0, 0) and len(set(made)) == len(made)


def test_every_setting_goes_its_own_way() -> None:
    images = [np.zeros((64, 64, 3), np.uint8)] * 3
    settings = [
        Setting("full", 4, 6, 0),
        Setting("full", 0, 0, 80),
        Setting("early", DEVICE, 0, 0),
    ]
    features, picture, alone = measure(Known(), settings, images, judge, (32, 64))
    assert features.bytes == (6 * 32, 6 * 64) and features.accuracy == 6 * 64 / 1e4
    assert picture.accuracy == 1 / 1e4 and all(0 < size < 3000 for size in picture.bytes)
    assert alone.accuracy == 0 and alone.bytes == (0, 0) and alone.edge_ms == (0, 0)
    for action in (features, picture, alone):
        assert all(ms >= 0 for ms in (*action.device_ms, *action.edge_ms))


def test_accuracy_by_size_is_of_the_objects_of_that_size() -> None:
    boxes = np.array([(0, 0, 10, 10), (20, 20, 50, 50), (60, 60, 160, 160)], np.float32)
    truth = GroundTruth.of(boxes, [0, 0, 0])
    all_found = Detections.of(boxes, [0.9, 0.9, 0.9], [0, 0, 0])
    overall, by_size = settings_table._detections_judged([all_found.take([1, 2])], [truth])
    assert by_size == pytest.approx((0.0, 1.0, 1.0), abs=0.01)
    assert 0.6 < overall < 0.7
    assert settings_table._detections_judged([all_found], [truth])[1] == pytest.approx((1, 1, 1))


def test_shipped_tables_are_of_the_shipped_networks(tmp_path: Path) -> None:
    pytest.importorskip("ultralytics")
    from re_pose_ros.coinference.alexnet import SHIPPED, load_alexnet
    from re_pose_ros.coinference.halves import Halves
    from re_pose_ros.detection.model import load_model

    model = load_model("scene-n")
    assert model.path is not None
    table = ActionTable.read(settings_table.table_path(model.path))
    halves = Halves.of(model)
    assert table.model_hash == halves.model_hash and table.model == "scene-n"
    for setting in table.settings:
        halves.check(setting)
    small = ActionTable.read(settings_table.table_path(SHIPPED))
    assert small.model_hash == load_alexnet().model_hash
    save_plot(table, tmp_path / "rates.png")
    assert (tmp_path / "rates.png").stat().st_size > 1000

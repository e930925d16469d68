"""What settings cost and find, of a graph whose costs and findings are known."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from re_pose_ros.coinference.profile import Action, ActionTable
from re_pose_ros.coinference.setting import BITS, DEVICE, Setting
from re_pose_ros.detections import Detections
from re_pose_ros.errors import InputError
from re_pose_ros.ground_truth import GroundTruth
from re_pose_ros.training import settings_table
from re_pose_ros.training.alexnet import AlexNetTraining, train_alexnet
from re_pose_ros.training.packs import packed
from re_pose_ros.training.settings_report import rates, save_plot
from re_pose_ros.training.settings_scope import QUALITIES, Scope, settings_of
from re_pose_ros.training.settings_table import measure

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


POSSIBLE = {"early": (1, 2, 9), "full": (1, 2, 3, 4)}


def test_a_scope_says_what_is_measured() -> None:
    def sent(scope: Scope) -> dict[str, set[tuple[int, int]]]:
        made = scope.of(POSSIBLE, lambda exit: (2,))
        exits = {setting.exit for setting in made}
        return {e: {(s.cut, s.bits) for s in made if s.exit == e and s.cut > 0} for e in exits}

    every = {2, 4, 6, 8}
    assert sent(Scope()) == {e: {(2, b) for b in every} for e in POSSIBLE}
    assert sent(Scope(cuts="all", bits=(4,))) == {
        e: {(cut, 4) for cut in cuts} for e, cuts in POSSIBLE.items()
    }
    assert sent(Scope(("full",), (1, 4), (8, 2))) == {"full": {(1, 2), (1, 8), (4, 2), (4, 8)}}
    assert sent(Scope(cuts=(9,), bits=(8,))) == {"early": {(9, 8)}, "full": set()}


@pytest.mark.parametrize(
    ("fields", "word"),
    [
        ({"exits": ("middle",)}, "exit 'middle' is none of early, full"),
        ({"cuts": (5,)}, "at cut 5; use of 1, 2, 3, 4, 9"),
        ({"exits": ("full",), "cuts": (9,)}, "at cut 9; use of 1, 2, 3, 4"),
        ({"bits": (3,)}, "bits"),
        ({"bits": ()}, "bits"),
    ],
)
def test_a_scope_that_no_network_has_is_refused(fields: dict[str, Any], word: str) -> None:
    with pytest.raises(InputError, match=word):
        Scope(**fields).of(POSSIBLE, lambda exit: (2,))


def test_rates_have_a_row_for_what_is_sent_and_a_column_for_each_exit() -> None:
    def action(exit: str, cut: int, bits: int, quality: int, accuracy: float, size: int) -> Action:
        edge = (1.0,) if size else (0.0,)
        return Action(
            Setting(exit, cut, bits, quality), accuracy, None, (1.0,), edge, (float(size),)
        )

    actions = (
        action("early", DEVICE, 0, 0, 0.5, 0),
        action("early", 2, 4, 0, 0.4, 300),
        action("full", 3, 2, 0, 0.6, 200),
        action("full", 3, 8, 0, 0.7, 800),
        action("full", 0, 0, 80, 0.75, 900),
        action("full", DEVICE, 0, 0, 0.8, 0),
    )
    table = ActionTable("alexnet", "alexnet", "abc", {}, (32,), (), actions)
    lines = rates(table).splitlines()
    assert lines[0] == "Accuracy / bytes per picture:"
    assert lines[2] == "| sent | exit `full` | exit `early` |"
    assert lines[4:] == [
        "| JPEG, quality 80 | 0.750 / 900 |  |",
        "| cut 2, 4 bits |  | 0.400 / 300 |",
        "| cut 3, 8 bits | 0.700 / 800 |  |",
        "| cut 3, 2 bits | 0.600 / 200 |  |",
        "| nothing (the robot alone) | 0.800 | 0.500 |",
    ]
    large = tuple(replace(a, bytes=(100 * a.bytes[0],)) for a in actions)
    assert "| cut 3, 8 bits | 0.700 / 80.0 |  |" in rates(replace(table, actions=large))


def test_a_plot_of_many_cuts_has_their_numbers_in_place_of_a_legend(tmp_path: Path) -> None:
    settings = settings_of("full", range(1, 13), (4,))
    actions = tuple(
        Action(s, 0.5, None, (1.0,), (float(s.sends),), (500.0 * s.sends,)) for s in settings
    )
    few = ActionTable("alexnet", "alexnet", "abc", {}, (32,), (), actions)
    save_plot(few, tmp_path / "many.svg")
    drawn = (tmp_path / "many.svg").read_text()
    assert "<!-- 12 -->" in drawn and "<!-- cut 12 -->" not in drawn
    save_plot(few.only(lambda setting: setting.cut < 4), tmp_path / "few.svg")
    assert "<!-- cut 3 -->" in (tmp_path / "few.svg").read_text()


def colour_pack(folder: Path, classes: int) -> Path:
    """Flat pictures of so many colours, as ``packed`` takes them."""
    folder.mkdir()
    class_ids = np.arange(24) % classes
    images = np.zeros((24, 32, 32, 3), np.uint8)
    images += (80 * class_ids)[:, None, None, None].astype(np.uint8)
    for part in ("train", "test"):
        np.savez(folder / f"{part}.npz", images=images, labels=class_ids)
    return folder


def test_alexnet_is_measured_on_packed_pictures(tmp_path: Path) -> None:
    data = colour_pack(tmp_path / "colours", 3)
    settings = AlexNetTraining("colours", iterations=1, batch=4)
    weights = train_alexnet(settings, packed(data)[0], tmp_path)
    scope = Scope(("b1",), (2,), (4,), per_channel=False)
    made = settings_table.measure_alexnet(weights, str(data), tmp_path / "absent", 6, scope)
    assert made == tmp_path / "alexnet.coinference.json"
    table = ActionTable.read(made)
    assert {s.cut for s in table.settings} == {0, 2, DEVICE} and table.input_sizes == (32,)
    others = colour_pack(tmp_path / "others", 2)
    with pytest.raises(InputError, match="the pictures show 0, 1"):
        settings_table.measure_alexnet(weights, str(others), tmp_path / "absent", 6, scope)


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

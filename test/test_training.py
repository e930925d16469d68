"""Training goes on where it stopped, and gives weights that load."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from re_pose_ros.detection.model import load_model
from re_pose_ros.errors import InputError
from re_pose_ros.scenes import CLASSES
from re_pose_ros.training.crops import FIRST_SEED, Crops, collect, scene_of
from re_pose_ros.training.detector import TrainSettings, train_detector


@pytest.fixture(scope="module")
def crops(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the crops of one scene."""
    folder = tmp_path_factory.mktemp("training")
    collect(folder / "crops", 1, 0, 1)
    return folder


@pytest.fixture
def folder(crops: Path, tmp_path: Path) -> Path:
    shutil.copytree(crops / "crops", tmp_path / "crops")
    return tmp_path


def settings(iterations: int, **changes: object) -> TrainSettings:
    given = {"network": "scene-n", "scenes": 1, "iterations": iterations, **changes}
    return TrainSettings(**given)  # type: ignore[arg-type]


def average(folder: Path) -> dict[str, torch.Tensor]:
    content = torch.load(folder / "scene-n.checkpoint", weights_only=True)
    tensors: dict[str, torch.Tensor] = content["average"]
    return tensors


def boxes_of(crops: Crops) -> np.ndarray:
    return np.concatenate(crops.boxes)


def test_crops_show_objects_within_them(crops: Path) -> None:
    for part, side in zip(collect(crops / "crops", 1, 0, 1), (320, 640), strict=True):
        assert part.side == side
        assert len(part) == len(part.boxes) == len(part.class_ids) > 0
        boxes = boxes_of(part)
        assert boxes.min() >= 0
        assert boxes.max() <= side
        assert ((boxes[:, 2:] - boxes[:, :2]) > 0).all()
        assert part.image(0).shape == (side, side, 3)
        assert set(np.concatenate(part.class_ids)) <= set(range(len(CLASSES)))


def test_scenes_for_training_have_seeds_of_their_own() -> None:
    specs = [scene_of(k, seed) for k in range(50) for seed in (0, 3)]
    assert all(spec.seed >= FIRST_SEED for spec in specs)
    assert len({spec.seed for spec in specs}) == len(specs)
    assert {spec.kind for spec in specs} == {"plaza", "street", "yard"}
    assert scene_of(4, 0) == scene_of(4, 0)


def test_a_resumed_run_gives_the_same_weights(folder: Path, crops: Path) -> None:
    train_detector(settings(6), folder)
    at_once = average(folder)
    (folder / "scene-n.checkpoint").unlink()

    class InterruptedRunError(Exception):
        pass

    def stop(iteration: int) -> None:
        if iteration == 4:
            raise InterruptedRunError

    with pytest.raises(InterruptedRunError):
        train_detector(settings(6), folder, save_every=2, on_batch=stop)
    train_detector(settings(6), folder)
    for name, tensor in average(folder).items():
        assert torch.equal(tensor, at_once[name]), name


def test_the_weights_load_and_know_their_classes(folder: Path) -> None:
    path = train_detector(settings(1), folder)
    model = load_model(str(path))
    assert model.name == "scene-n"
    assert model.labels == CLASSES
    assert path.stat().st_size < 6e6
    assert len(model.detect([np.zeros((64, 64, 3), np.uint8)], 64)) == 1


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"network": "scene-x"}, "scene-n"),
        ({"scenes": 0}, "scene"),
        ({"learning_rate": 2.0}, "learning rate"),
    ],
)
def test_impossible_settings_are_refused(changes: dict[str, object], word: str) -> None:
    with pytest.raises(InputError, match=word):
        settings(1, **changes)


def test_another_setting_does_not_go_on_with_a_checkpoint(folder: Path) -> None:
    train_detector(settings(1), folder)
    with pytest.raises(InputError, match="learning_rate"):
        train_detector(settings(2, learning_rate=1e-3), folder)


@pytest.mark.parametrize("damaged", ["scene-n.checkpoint", "crops/seed0_scene0000.npz"])
def test_damaged_files_are_named(folder: Path, damaged: str) -> None:
    (folder / damaged).write_bytes(b"no such thing")
    with pytest.raises(InputError, match=Path(damaged).name):
        train_detector(settings(1), folder)

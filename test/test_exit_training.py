"""Exits, bottlenecks and AlexNet learn, and go on where they stopped."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from re_pose_ros.coinference.alexnet import SIDE
from re_pose_ros.coinference.bottleneck import load_bottlenecks
from re_pose_ros.coinference.detector import staged_detector
from re_pose_ros.coinference.layers import FULL
from re_pose_ros.coinference.weights import about
from re_pose_ros.detection.model import load_model
from re_pose_ros.detection.networks import as_teacher
from re_pose_ros.errors import InputError
from re_pose_ros.image_codec import encode_jpeg
from re_pose_ros.scenes import CLASSES
from re_pose_ros.training.alexnet import AlexNetTraining, top1, train_alexnet
from re_pose_ros.training.bottlenecks import train_bottlenecks
from re_pose_ros.training.crops import Crops
from re_pose_ros.training.distil import DistilSettings, Teacher, imitation_loss, in_float
from re_pose_ros.training.exit_command import ExitOptions, make_alexnet, make_detector
from re_pose_ros.training.exits import train_exits
from re_pose_ros.training.pictures import BACKGROUND, Pictures, of_scenes

pytest.importorskip("ultralytics")


class InterruptedRunError(Exception):
    pass


def stopping_at(limit: int) -> Callable[[int], None]:
    def stop(iteration: int) -> None:
        if iteration == limit:
            raise InterruptedRunError

    return stop


def crops(side: int, count: int, seed: int) -> Crops:
    """Bright squares of class k in grey level on noise, as if they were objects."""
    rng = np.random.default_rng(seed)
    jpegs, boxes, class_ids = [], [], []
    for _ in range(count):
        image = rng.integers(0, 40, (side, side, 3), np.uint8)
        corners = rng.integers(0, side // 2 - 24, (2, 2)) + np.array([[0, 0], [side // 2] * 2])
        ids = rng.integers(0, len(CLASSES), 2)
        for (x, y), k in zip(corners, ids, strict=True):
            image[y : y + 24, x : x + 24] = 100 + 25 * k
        jpegs.append(bytes(encode_jpeg(image, 95)))
        boxes.append(np.concatenate([corners, corners + 24], axis=1).astype(np.float32))
        class_ids.append(ids.astype(np.int32))
    return Crops(side, tuple(jpegs), tuple(boxes), tuple(class_ids))


@pytest.fixture(scope="module")
def make() -> Callable[[int], Teacher]:
    model = load_model("scene-n")
    network = as_teacher(model.network)
    small, large = crops(64, 20, 0), crops(64, 8, 1)

    def made(iterations: int, **changes: object) -> Teacher:
        given = {"iterations": iterations, "bfloat16": False, **changes}
        settings = DistilSettings(**given)  # type: ignore[arg-type]
        return Teacher(model, network, small, large, settings, "cpu")

    return made


@pytest.fixture(autouse=True)
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("re_pose_ros.training.detector._BATCH", {64: 4})


@pytest.mark.parametrize(
    ("train", "name"), [(train_exits, "exits"), (train_bottlenecks, "bottlenecks")]
)
def test_a_resumed_run_gives_the_same_weights(
    make: Callable[..., Teacher], train: Callable[..., Path], name: str, tmp_path: Path
) -> None:
    at_once = train(make(5), tmp_path / "one")
    with pytest.raises(InterruptedRunError):
        train(make(5), tmp_path / "two", save_every=2, on_batch=stopping_at(3))
    again = train(make(5), tmp_path / "two")
    assert again.name == f"scene-n.{name}.safetensors"
    assert again.read_bytes() == at_once.read_bytes()
    with pytest.raises(InputError, match="learning_rate"):
        train(make(6, learning_rate=1e-4), tmp_path / "two")


def test_the_network_stays_as_it_is(make: Callable[..., Teacher], tmp_path: Path) -> None:
    teacher = make(2)
    before = {k: v.clone() for k, v in teacher.network.state_dict().items()}
    train_exits(teacher, tmp_path)
    train_bottlenecks(teacher, tmp_path)
    after = teacher.network.state_dict()
    assert all(torch.equal(before[key], after[key]) for key in before)
    assert all(p.grad is None for p in teacher.network.parameters())


def test_exits_come_nearer_to_the_network(make: Callable[..., Teacher], tmp_path: Path) -> None:
    pixels, _ = make(1).batch(99)
    distances = []
    for iterations in (1, 25):
        path = train_exits(make(iterations, learning_rate=0.02), tmp_path / str(iterations))
        staged = staged_detector(make(1).model, exits=path)
        with torch.no_grad():
            wanted = in_float(make(1).network(pixels))
            given = [staged.network.run(pixels, exit)[1] for exit in ("p4", "p5")]
            distances.append([float(imitation_loss(g, wanted)) for g in given])
        assert len(about(path, "exits")["training"]["loss"]) == iterations
    assert distances[1][0] < 0.8 * distances[0][0]
    assert distances[1][1] < 0.8 * distances[0][1]


def test_what_was_trained_can_be_used(make: Callable[..., Teacher], tmp_path: Path) -> None:
    teacher = make(1)
    exits, bottlenecks = train_exits(teacher, tmp_path), train_bottlenecks(teacher, tmp_path)
    staged = staged_detector(teacher.model, exits=exits, bottlenecks=bottlenecks)
    assert [e.name for e in staged.network.exits] == ["p4", "p5", FULL]
    assert set(staged.bottlenecks) == {(2,), (4,)}
    for cut in (3, 5):
        values = staged.head(torch.rand(1, 3, 64, 64), cut, FULL)
        staged.tail(values, cut, FULL)
    assert set(load_bottlenecks(bottlenecks, staged.network_hash)) == {(2,), (4,)}


def test_nothing_imitates_better_than_the_network_itself(make: Callable[..., Teacher]) -> None:
    teacher = make(1)
    pixels, targets = teacher.batch(0)
    with torch.no_grad():
        wanted = in_float(teacher.network(pixels))
        itself = float(imitation_loss(wanted, wanted))
        for seed in range(3):
            generator = torch.Generator().manual_seed(seed)
            other = {
                name: value + 0.1 * torch.randn(value.shape, generator=generator)
                for name, value in wanted.items()
                if name != "feats"
            }
            assert float(imitation_loss(other, wanted)) > itself
        assert float(teacher.truth_loss(wanted, targets)) > 0


def colours(count: int, seed: int) -> Pictures:
    """Two classes: bluish and reddish noise."""
    rng = np.random.default_rng(seed)
    class_ids = np.arange(count) % 2
    images = rng.integers(0, 100, (count, SIDE, SIDE, 3), np.uint8)
    images[class_ids == 0, ..., 0] += 100
    images[class_ids == 1, ..., 2] += 100
    return Pictures(images, class_ids.astype(np.int64), ("blue", "red"))


def test_every_exit_of_alexnet_learns(tmp_path: Path) -> None:
    settings = AlexNetTraining("colours", iterations=25, batch=16, learning_rate=5e-3)
    path = train_alexnet(settings, colours(40, 0), tmp_path)
    accuracy = top1(path, colours(50, 1))
    assert list(accuracy) == ["b1", "b2", "b3", "full"]
    assert min(accuracy.values()) > 0.9


def test_a_resumed_alexnet_has_the_same_weights(tmp_path: Path) -> None:
    settings = AlexNetTraining("colours", iterations=4, batch=4)
    at_once = train_alexnet(settings, colours(10, 0), tmp_path / "one")
    with pytest.raises(InterruptedRunError):
        train_alexnet(
            settings, colours(10, 0), tmp_path / "two", save_every=2, on_batch=stopping_at(3)
        )
    again = train_alexnet(settings, colours(10, 0), tmp_path / "two")
    assert again.read_bytes() == at_once.read_bytes()
    with pytest.raises(InputError, match="pictures = 10"):
        train_alexnet(settings, colours(12, 0), tmp_path / "two")


def test_pictures_of_scenes_show_their_class() -> None:
    made = of_scenes(crops(160, 60, 5), 20, 0)
    assert made.labels == (*CLASSES, BACKGROUND)
    assert made.images.shape[1:] == (SIDE, SIDE, 3)
    counts = np.bincount(made.class_ids, minlength=len(made.labels))
    assert (counts[:-1] > 5).all()
    assert counts.max() <= 21
    middle = made.images[:, 12:20, 12:20].mean(axis=(1, 2, 3))
    for k in range(len(CLASSES)):
        assert np.abs(middle[made.class_ids == k] - (100 + 25 * k)).max() < 12
    assert middle[made.class_ids == len(CLASSES)].max() < 40
    again = of_scenes(crops(160, 60, 5), 20, 0)
    assert np.array_equal(again.images, made.images)


def options(folder: Path, **changes: object) -> ExitOptions:
    given = {
        "seed": 0,
        "scenes": 1,
        "iterations": 1,
        "processes": 1,
        "device": "cpu",
        "bfloat16": False,
        "crops": folder / "crops",
        "out": folder / "out",
    } | changes
    return ExitOptions(**given)  # type: ignore[arg-type]


@pytest.fixture
def no_drawing(monkeypatch: pytest.MonkeyPatch) -> None:
    pair = crops(64, 12, 3), crops(64, 4, 4)
    for module in ("distil", "exit_command"):
        monkeypatch.setattr(f"re_pose_ros.training.{module}.collect", lambda *a: pair)
    monkeypatch.setattr("re_pose_ros.training.exit_command.held_out", lambda *a: pair)


@pytest.mark.usefixtures("no_drawing")
def test_the_command_reports_on_a_detector(tmp_path: Path) -> None:
    text = make_detector("scene-n", ["exits", "bottlenecks"], options(tmp_path)).read_text()
    for row in ("| p4 |", "| p5 |", "| full |", "| JPEG, quality 20 |", "| cut 5, 4 bits |"):
        assert row in text
    assert (tmp_path / "out" / "scene-n.exits.report.json").exists()
    with pytest.raises(InputError, match="part 'heads' is none of exits, bottlenecks"):
        make_detector("scene-n", ["heads"], options(tmp_path))


@pytest.mark.usefixtures("no_drawing")
def test_the_command_reports_on_alexnet(tmp_path: Path) -> None:
    text = make_alexnet("scenes", options(tmp_path)).read_text()
    assert "| b1 |" in text
    assert "generated scenes" in text
    assert (tmp_path / "out" / "alexnet.safetensors").stat().st_size < 2_000_000


@pytest.mark.parametrize(
    ("changes", "word"),
    [({"scenes": 0}, "scenes"), ({"learning_rate": 2.0}, "learning rate"), ({"seed": -1}, "seed")],
)
def test_impossible_settings_are_refused(changes: dict[str, object], word: str) -> None:
    with pytest.raises(InputError, match=word):
        DistilSettings(**changes)  # type: ignore[arg-type]

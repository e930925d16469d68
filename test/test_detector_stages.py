"""The detector cut and left anywhere, and what its exits are made of."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from re_pose_ros.coinference.bottleneck import (
    Bottleneck,
    BottleneckShape,
    bottlenecks_path,
    quantised,
    save_bottlenecks,
)
from re_pose_ros.coinference.detector import StagedDetector, staged_detector
from re_pose_ros.coinference.exit_heads import ExitHead, exit_shapes, exits_path, save_exits
from re_pose_ros.coinference.layers import FULL
from re_pose_ros.coinference.weights import about, file_hash, load_weights
from re_pose_ros.detection.model import Model, load_model
from re_pose_ros.detections import Detections
from re_pose_ros.errors import InputError
from re_pose_ros.geometry import iou
from re_pose_ros.scenes import Scene, SceneSpec

pytest.importorskip("ultralytics")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The embedded network, with untrained exits and bottlenecks beside it."""
    folder = tmp_path_factory.mktemp("weights")
    embedded = load_model("scene-n").path
    assert embedded is not None
    weights = Path(shutil.copy(embedded, folder))
    network = load_model(str(weights)).network
    network_hash = file_hash(weights)
    torch.manual_seed(3)
    heads = [(shape, ExitHead(network.model[-1], shape)) for shape in exit_shapes(network)]
    save_exits(exits_path(weights), network_hash, heads, "none")
    shapes = [BottleneckShape(2, 32, 5, 2), BottleneckShape(4, 64, 7, 1)]
    parts = [Bottleneck(shape) for shape in shapes]
    save_bottlenecks(bottlenecks_path(weights), network_hash, parts, "none")
    return folder


@pytest.fixture(scope="module")
def model(folder: Path) -> Model:
    return load_model(str(folder / "scene-n.pt"))


@pytest.fixture(scope="module")
def staged(model: Model) -> StagedDetector:
    return staged_detector(model)


@pytest.fixture(scope="module")
def crowd() -> NDArray[np.uint8]:
    """A piece of a generated scene around an object, not as wide as a network's stride."""
    image, truth = Scene(SceneSpec("plaza", 77)).render(3)
    centre = (truth.xyxy[:, :2] + truth.xyxy[:, 2:]) / 2
    x, y = centre[np.abs(centre - np.median(centre, axis=0)).sum(axis=1).argmin()].astype(int)
    return np.ascontiguousarray(image[y - 240 : y + 240, x - 315 : x + 315])


def first(output: object) -> torch.Tensor:
    tensor = output[0] if isinstance(output, (list, tuple)) else output
    assert isinstance(tensor, torch.Tensor)
    return tensor


def test_the_last_exit_is_the_network(staged: StagedDetector, model: Model) -> None:
    picture = torch.rand(2, 3, 96, 160)
    with torch.inference_mode():
        assert torch.equal(first(staged.run(picture, FULL)), first(model.network(picture)))


@pytest.mark.parametrize("exit", ["p4", "p5", FULL])
def test_every_cut_gives_the_bits_of_the_whole(staged: StagedDetector, exit: str) -> None:
    picture = torch.rand(1, 3, 64, 96)
    network = staged.network
    with torch.inference_mode():
        expected = first(network.run(picture, exit))
        assert len(network.cuts(exit)) > 7
        for cut in network.cuts(exit):
            values = network.head(picture, cut, exit)
            assert torch.equal(first(network.tail(values, cut, exit)), expected), cut


def test_another_network_is_cut_as_well(shared_data: Path) -> None:
    model = load_model(str(shared_data / "weights" / "yolo11n_coco.pt"))
    staged = staged_detector(model)
    assert [e.name for e in staged.network.exits] == [FULL]
    assert not staged.bottlenecks
    picture = torch.rand(1, 3, 64, 64)
    with torch.inference_mode():
        expected = first(model.network(picture))
        for cut in (0, 5, 11, 16, 23):
            values = staged.network.head(picture, cut, FULL)
            assert torch.equal(first(staged.network.tail(values, cut, FULL)), expected)
    assert [shape.levels for shape in exit_shapes(model.network)] == [(4, 6), (4, 6, 10)]


def test_results_are_those_of_the_model(
    staged: StagedDetector, model: Model, crowd: NDArray[np.uint8]
) -> None:
    small = np.ascontiguousarray(crowd[:400, :525])  # of the same shape on the input
    output = staged.run(staged.picture([crowd, small], 320), FULL)
    sizes = [(image.shape[1], image.shape[0]) for image in (crowd, small)]
    found = staged.detections(output, sizes, 320)
    for one, other in zip(found, model.detect([crowd, small], 320), strict=True):
        assert len(one) > 2
        assert np.array_equal(one.xyxy, other.xyxy)
        assert np.array_equal(one.confidence, other.confidence)
        assert np.array_equal(one.class_id, other.class_id)


def test_exits_have_the_anchors_and_classes_of_the_network(staged: StagedDetector) -> None:
    picture = torch.rand(1, 3, 64, 128)
    shapes = {first(staged.run(picture, e.name)).shape for e in staged.network.exits}
    assert shapes == {(1, 4 + 6, 8 * 16 + 4 * 8 + 2 * 4)}


def test_earlier_exits_use_less_of_the_network(staged: StagedDetector) -> None:
    network = staged.network
    assert [e.name for e in network.exits] == ["p4", "p5", FULL]
    assert max(network.used("p4")[:-1]) == 6
    assert max(network.used("p5")[:-1]) == 10
    assert network.used(FULL) == tuple(range(24))
    assert network.alive(network.cuts("p4")[-1], "p4") == (4, 6)


@pytest.mark.parametrize("canvas", [(64, 64), (160, 96), (320, 192)])
def test_what_is_sent_has_the_shapes_that_are_told(
    staged: StagedDetector, canvas: tuple[int, int]
) -> None:
    picture = torch.rand(1, 3, canvas[1], canvas[0])
    for exit in ("p4", "p5", FULL):
        for cut in staged.network.cuts(exit):
            values = staged.head(picture, cut, exit)
            told = staged.shapes(cut, exit, canvas)
            assert {i: tuple(v.shape[1:]) for i, v in values.items()} == told
    assert staged.shapes(5, FULL, (64, 64)) == {4: (7, 8, 8)}
    assert staged.shapes(3, FULL, (64, 64)) == {2: (5, 8, 8)}


def test_a_bottleneck_is_used_on_both_sides(staged: StagedDetector) -> None:
    picture = torch.rand(1, 3, 64, 64)
    for cut, exit in ((5, "p4"), (5, FULL), (3, FULL)):
        code = staged.head(picture, cut, exit)
        with torch.inference_mode():
            part = staged.bottlenecks[staged.network.alive(cut, exit)]
            values = part.decode(part.encode(staged.network.head(picture, cut, exit)))
            expected = first(staged.network.tail(values, cut, exit))
        assert torch.equal(first(staged.tail(code, cut, exit)), expected)
        assert not torch.equal(expected, first(staged.run(picture, exit)))


def test_wrong_codes_are_refused(staged: StagedDetector) -> None:
    picture = torch.rand(1, 3, 64, 64)
    with pytest.raises(InputError, match="takes 7 channels"):
        staged.tail(staged.network.head(picture, 5, FULL), 5, FULL)
    with pytest.raises(InputError, match="takes 7 channels"):
        staged.tail({}, 5, FULL)
    with pytest.raises(InputError, match="sends stage 4, stage 6"):
        staged.tail({4: torch.zeros(1, 64, 8, 8)}, 7, FULL)


def test_the_hash_covers_all_files(folder: Path, staged: StagedDetector, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "same")
    again = staged_detector(load_model(str(tmp_path / "same" / "scene-n.pt")))
    assert again.model_hash == staged.model_hash
    bottlenecks_path(tmp_path / "same" / "scene-n.pt").unlink()
    less = staged_detector(load_model(str(tmp_path / "same" / "scene-n.pt")))
    assert less.network_hash == staged.network_hash
    assert less.model_hash != staged.model_hash


def test_exits_of_another_network_are_refused(folder: Path, tmp_path: Path) -> None:
    other = load_model("scene-s").path
    assert other is not None
    weights = Path(shutil.copy(other, tmp_path))
    shutil.copy(exits_path(folder / "scene-n.pt"), exits_path(weights))
    with pytest.raises(InputError, match=r"scene-s\.exits.* made for another network"):
        staged_detector(load_model(str(weights)))


def test_unusable_files_are_named(folder: Path, tmp_path: Path) -> None:
    weights = folder / "scene-n.pt"
    damaged = tmp_path / "damaged.safetensors"
    damaged.write_bytes(exits_path(weights).read_bytes()[:5000])
    model = load_model(str(weights))
    with pytest.raises(InputError, match=r"damaged\.safetensors is no safetensors file"):
        staged_detector(model, exits=damaged)
    with pytest.raises(InputError, match=r"bottlenecks\.safetensors holds no exits"):
        staged_detector(model, exits=bottlenecks_path(weights))
    with pytest.raises(InputError, match=r"absent\.safetensors is not there"):
        staged_detector(model, exits=tmp_path / "absent.safetensors")


def test_a_network_without_layers_is_refused(shared_data: Path) -> None:
    pytest.importorskip("ai_edge_litert")
    model = load_model(str(shared_data / "weights" / "yolo11n_int8.tflite"))
    with pytest.raises(InputError, match="no layers to cut"):
        staged_detector(model)


def test_weights_are_kept_in_half_precision(folder: Path) -> None:
    path = exits_path(folder / "scene-n.pt")
    tensors, told = load_weights(path, "exits", file_hash(folder / "scene-n.pt"))
    assert told == about(path, "exits")
    assert [e["name"] for e in told["exits"]] == ["p4", "p5"]
    assert path.stat().st_size < 2.2 * sum(t.numel() for t in tensors.values())


def test_shipped_exits_find_most_of_what_the_network_finds(crowd: NDArray[np.uint8]) -> None:
    model = load_model("scene-n")
    staged = staged_detector(model)
    size = crowd.shape[1], crowd.shape[0]
    picture = staged.picture([crowd], 640)
    wanted = staged.detections(staged.run(picture, FULL), [size], 640)[0]
    wanted = wanted.take(wanted.confidence > 0.5)
    assert len(wanted) > 5
    for exit in ("p4", "p5"):
        found = staged.detections(staged.run(picture, exit), [size], 640)[0]
        assert _share_found(wanted, found) > 0.6
    for cut in (3, 5):
        code = staged.head(picture, cut, FULL)
        sent = {i: quantised(v, 4) for i, v in code.items()}
        found = staged.detections(staged.tail(sent, cut, FULL), [size], 640)[0]
        assert _share_found(wanted, found) > 0.85


def _share_found(wanted: Detections, found: Detections) -> float:
    """Of the wanted ones, those that one of the same class lies on."""
    overlap = iou(wanted.xyxy, found.xyxy) > 0.5
    same = wanted.class_id[:, None] == found.class_id[None]
    return float((overlap & same).any(axis=1).mean())

"""AlexNet cut and left anywhere."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from re_pose_ros.coinference.alexnet import AlexNet, StagedClassifier, load_alexnet, save_alexnet
from re_pose_ros.errors import InputError

LABELS = ("cat", "dog", "ship")


@pytest.fixture(scope="module")
def untrained() -> AlexNet:
    """Random weights, and statistics of normalisation as if it had seen something."""
    torch.manual_seed(1)
    network = AlexNet(len(LABELS)).train()
    with torch.no_grad():
        for _ in range(60):
            network(torch.randn(8, 3, 32, 32))
    return network.eval()


@pytest.fixture(scope="module")
def path(untrained: AlexNet, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("alexnet") / "alexnet.safetensors"
    save_alexnet(path, untrained, LABELS, ([0.5, 0.4, 0.3], [0.2, 0.2, 0.25]), "none")
    return path


@pytest.fixture(scope="module")
def classifier(path: Path) -> StagedClassifier:
    return load_alexnet(path)


def images(count: int) -> list[np.ndarray]:
    return list(np.random.default_rng(4).integers(0, 256, (count, 32, 32, 3), np.uint8))


def test_every_cut_gives_the_bits_of_the_whole(classifier: StagedClassifier) -> None:
    picture = classifier.picture(images(3))
    network = classifier.network
    for exit in network.exits:
        expected = classifier.run(picture, exit.name)
        assert expected.shape == (3, len(LABELS))
        for cut in network.cuts(exit.name):
            values = classifier.head(picture, cut, exit.name)
            assert len(values) == 1
            assert torch.equal(classifier.tail(values, cut, exit.name), expected)


def test_exits_are_ordered_by_depth(classifier: StagedClassifier) -> None:
    network = classifier.network
    assert [e.name for e in network.exits] == ["b1", "b2", "b3", "full"]
    sizes = [len(network.used(e.name)) for e in network.exits]
    assert sizes == sorted(sizes)
    names = [network.stages[i].name for i in network.used("full")]
    assert names == [*("conv1", "pool1", "conv2", "pool2", "conv3", "conv4", "conv5"), *names[7:]]
    assert names[7:] == ["pool5", "fc6", "fc7", "fc8"]


def test_what_is_sent_has_the_shapes_that_are_told(classifier: StagedClassifier) -> None:
    picture = classifier.picture(images(2))
    for exit in classifier.network.exits:
        for cut in classifier.network.cuts(exit.name):
            values = classifier.head(picture, cut, exit.name)
            told = classifier.shapes(cut, exit.name)
            assert {i: tuple(v.shape[1:]) for i, v in values.items()} == told
    with pytest.raises(InputError, match="32x32"):
        classifier.shapes(0, "b1", (64, 64))


def test_weights_come_back(path: Path, untrained: AlexNet, classifier: StagedClassifier) -> None:
    # Saving has folded the normalisation of what was saved, so this compares half precision only.
    assert classifier.labels == LABELS
    picture = classifier.picture(images(4))
    with torch.inference_mode():
        for exit, expected in zip(classifier.network.exits, untrained(picture), strict=True):
            assert torch.allclose(classifier.run(picture, exit.name), expected, atol=0.02)
    assert path.stat().st_size < 2_000_000


def test_folding_changes_nothing_but_rounding() -> None:
    torch.manual_seed(2)
    network = AlexNet(4)
    for _ in range(5):
        network(torch.randn(4, 3, 32, 32))
    network.eval()
    picture = torch.randn(2, 3, 32, 32)
    from re_pose_ros.coinference.units import fold_normalisation

    with torch.no_grad():
        before = network(picture)
        fold_normalisation(network)
        after = network(picture)
    for one, other in zip(before, after, strict=True):
        assert torch.allclose(one, other, atol=1e-4)


def test_pictures_are_normalised(classifier: StagedClassifier) -> None:
    blue = np.zeros((32, 32, 3), np.uint8)
    blue[..., 0] = 255
    picture = classifier.picture([blue])
    expected = torch.tensor([-0.5 / 0.2, -0.4 / 0.2, (1 - 0.3) / 0.25])
    assert torch.allclose(picture[0, :, 5, 7], expected, atol=1e-5)


def test_the_likeliest_class_is_told(classifier: StagedClassifier) -> None:
    output = torch.tensor([[0.1, 3.0, 0.2], [5.0, 3.0, 0.2]])
    assert classifier.classes(output).tolist() == [1, 0]


def test_the_shipped_network_knows_its_classes() -> None:
    shipped = load_alexnet()
    rng = np.random.default_rng(0)
    grey = [np.full((32, 32, 3), level, np.uint8) for level in rng.integers(60, 200, 8)]
    for exit in shipped.network.exits:
        found = shipped.classes(shipped.run(shipped.picture(grey), exit.name))
        assert [shipped.labels[k] for k in found] == ["background"] * 8


def test_other_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.safetensors is not there"):
        load_alexnet(tmp_path / "none.safetensors")
    (tmp_path / "text.safetensors").write_text("no such thing")
    with pytest.raises(InputError, match=r"text\.safetensors is no safetensors file"):
        load_alexnet(tmp_path / "text.safetensors")

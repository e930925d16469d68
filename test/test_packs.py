"""Packs of small pictures: what is read, and how what is wrong is said."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from re_pose_ros.coinference.alexnet import SIDE
from re_pose_ros.errors import InputError
from re_pose_ros.image_codec import encode_jpeg
from re_pose_ros.training.packs import packed

COUNT = 6


def images(seed: int = 0, side: int = SIDE) -> NDArray[np.uint8]:
    """Flat pictures (COUNT, side, side, 3) BGR, each of its own colour."""
    colours = np.random.default_rng(seed).integers(0, 256, (COUNT, 1, 1, 3), np.uint8)
    return np.broadcast_to(colours, (COUNT, side, side, 3)).copy()


def jpegs(pictures: NDArray[np.uint8]) -> dict[str, Any]:
    """Arrays of a file with ``data`` and ``offsets``."""
    files = [bytes(encode_jpeg(image, 100)) for image in pictures]
    return {
        "data": np.frombuffer(b"".join(files), np.uint8),
        "offsets": np.cumsum([0, *map(len, files)]),
        "labels": np.arange(COUNT) // 2,
    }


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    np.savez(tmp_path / "train_a.npz", **jpegs(images(0)))
    np.savez(tmp_path / "test_a.npz", images=images(1)[..., ::-1], labels=np.arange(COUNT) // 2)
    return tmp_path


def test_files_and_arrays_are_read(folder: Path) -> None:
    train, test = packed(folder)
    assert np.abs(train.images.astype(int) - images(0)).max() <= 4
    assert np.array_equal(test.images, images(1))
    for part in (train, test):
        assert part.class_ids.tolist() == [0, 0, 1, 1, 2, 2]
        assert part.labels == ("0", "1", "2")


def test_several_files_of_a_part_are_joined(folder: Path) -> None:
    np.savez(folder / "train_b.npz", **{**jpegs(images(2)), "labels": np.full(COUNT, 4)})
    train, test = packed(folder)
    assert len(train) == 2 * COUNT and train.class_ids.tolist()[COUNT:] == [4] * COUNT
    assert np.abs(train.images[COUNT:].astype(int) - images(2)).max() <= 4
    assert train.labels == test.labels == ("0", "1", "2", "3", "4")


def test_classes_may_have_names(folder: Path) -> None:
    names = folder / "classes.json"
    names.write_text('["cat", "dog", "ship"]')
    assert packed(folder)[1].labels == ("cat", "dog", "ship")
    for content, word in (
        (["cat"], "names 1 classes"),
        ({"0": "cat"}, "list of names"),
        ([1, 2, 3], "list of names"),
    ):
        names.write_text(json.dumps(content))
        with pytest.raises(InputError, match=word):
            packed(folder)
    names.write_text("cat")
    with pytest.raises(InputError, match="no JSON"):
        packed(folder)


def changed(**changes: Any) -> dict[str, Any]:
    made = jpegs(images()) | changes
    return {name: array for name, array in made.items() if array is not None}


@pytest.mark.parametrize(
    ("arrays", "word"),
    [
        (changed(labels=None), "no array 'labels'"),
        (changed(data=None), "no array 'data'"),
        (changed(offsets=None), "no array 'offsets'"),
        (changed(labels=np.zeros(COUNT)), "whole numbers from 0"),
        (changed(labels=np.arange(COUNT) - 1), "whole numbers from 0"),
        (changed(labels=np.zeros(0, int)), "at least one"),
        (changed(labels=np.array([{}] * COUNT)), "plain arrays"),
        (changed(labels=np.zeros(COUNT - 1, int)), "5 labels need 6"),
        (changed(offsets=np.zeros(COUNT + 1, int)), "have to rise"),
        (changed(offsets=np.arange(COUNT + 1) * 10**6), "have to rise within"),
        (changed(offsets=np.arange(COUNT + 1) - 1), "have to rise within"),
        (changed(offsets=np.arange(COUNT + 1)), "picture 0: compressed image"),
        (changed(data=np.zeros((2, 9), np.uint8)), "data is"),
        (jpegs(images(side=16)), "picture 0 is 16x16; AlexNet takes 32x32"),
        ({"images": images(side=16), "labels": np.zeros(COUNT, int)}, "images are"),
        ({"images": images() / 255, "labels": np.zeros(COUNT, int)}, "float64"),
    ],
)
def test_what_is_no_pack_is_refused_in_one_line(
    folder: Path, arrays: dict[str, Any], word: str
) -> None:
    np.savez(folder / "test_a.npz", **arrays)
    with pytest.raises(InputError, match=word) as caught:
        packed(folder)
    assert "test_a.npz" in str(caught.value) and "\n" not in str(caught.value)


def test_files_that_are_missing_or_damaged_are_named(folder: Path) -> None:
    with pytest.raises(InputError, match="absent holds no pictures as train"):
        packed(folder / "absent")
    whole = (folder / "test_a.npz").read_bytes()
    for content in (b"", b"no zip", whole[: len(whole) // 2]):
        (folder / "test_a.npz").write_bytes(content)
        with pytest.raises(InputError, match=r"test_a.npz cannot be read"):
            packed(folder)
    np.save(folder / "array.npy", images())
    (folder / "array.npy").replace(folder / "test_a.npz")
    with pytest.raises(InputError, match=r"test_a.npz cannot be read"):
        packed(folder)
    (folder / "test_a.npz").unlink()
    with pytest.raises(InputError, match=r"no pictures as test\*.npz"):
        packed(folder)

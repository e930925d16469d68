"""Where objects are in frames: made once, and told what is wrong with the files."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from re_pose_ros.errors import InputError
from re_pose_ros.scenes import SceneSpec
from re_pose_ros.training import crops as crops_module
from re_pose_ros.training import layouts as layouts_module
from re_pose_ros.training.crops import FIRST_SEED
from re_pose_ros.training.layouts import collect, layouts_of, scene_of


@pytest.fixture
def scenes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Small ones, drawn in this process; which of them were drawn."""
    drawn: list[int] = []

    def small(index: int, seed: int, *more: int) -> SceneSpec:
        return SceneSpec("plaza", 500 + index, size=(320, 240))

    write = layouts_module._write

    def noted(path: Path, spec: SceneSpec) -> None:
        drawn.append(spec.seed - 500)
        write(path, spec)

    monkeypatch.setattr(layouts_module, "scene_of", small)
    monkeypatch.setattr(layouts_module, "_write", noted)
    monkeypatch.setattr(crops_module, "process_pool", ThreadPoolExecutor)
    return drawn


def test_layouts_are_made_once(tmp_path: Path, scenes: list[int]) -> None:
    first = collect(tmp_path, 2, 0, 1)
    assert scenes == [0, 1]
    assert len(first) == 2 * layouts_module.FRAMES
    for frame in first:
        assert frame.frame_size == (320, 240) and frame.boxes.dtype == np.float32
        assert (frame.boxes[:, 2:] > frame.boxes[:, :2]).all()
        assert frame.class_id.shape == (len(frame.boxes),)
    assert sum(len(frame.boxes) for frame in first) > 0
    (tmp_path / "seed0_scene0001.npz").unlink()
    (tmp_path / "seed0_scene0001.part").write_bytes(b"half")
    again = collect(tmp_path, 2, 0, 1)
    assert scenes == [0, 1, 1]
    for one, other in zip(first, again, strict=True):
        assert (one.boxes == other.boxes).all()


def written(path: Path, **arrays: object) -> bytes:
    np.savez(path, **arrays)  # type: ignore[arg-type]
    return path.read_bytes()


@pytest.mark.parametrize(
    "kind",
    [
        "text",
        "cut",
        "other",
        "empty",
    ],
)
def test_a_file_without_layouts_is_named(tmp_path: Path, kind: str, scenes: list[int]) -> None:
    whole = written(
        tmp_path / "whole.npz", size=(320, 240), boxes=np.ones((9, 4)), count=np.array([4, 5])
    )
    content = {
        "text": b"no layouts here",
        "cut": whole[: len(whole) // 2],
        "other": written(tmp_path / "other.npz", boxes=np.ones(3)),
        "empty": b"",
    }
    path = tmp_path / "seed0_scene0000.npz"
    path.write_bytes(content[kind])
    with pytest.raises(InputError, match="holds no layouts") as caught:
        collect(tmp_path, 1, 0, 1)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)
    assert not scenes


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be made"):
        collect(tmp_path / "file" / "layouts", 1, 0, 1)


def test_training_scenes_have_seeds_of_their_own() -> None:
    specs = [scene_of(index, seed) for index in range(30) for seed in (0, 2)]
    assert len({spec.seed for spec in specs}) == len(specs)
    assert min(spec.seed for spec in specs) >= FIRST_SEED
    assert len({spec.kind for spec in specs}) == 3 and len({spec.size for spec in specs}) == 3


def test_layouts_of_the_users_data() -> None:
    spec = "scene:plaza?seed=1&size=320x240&frames=30"
    found = layouts_of([spec, spec], step=25)
    assert [frame.frame_size for frame in found] == [(320, 240)] * 4
    assert any(len(frame.boxes) for frame in found)
    assert layouts_of([]) == []
    with pytest.raises(InputError, match="does not exist"):
        layouts_of(["/nowhere/at/all"])

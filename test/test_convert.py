"""The convert command: datasets and scenes as bags, whole or interrupted."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from rosbags.highlevel import AnyReader

from re_pose_ros.__main__ import main
from re_pose_ros.bags import BagWriter, typestore
from re_pose_ros.datasets import Dataset, FrameRef, GroundTruth, open_dataset, write_bag
from re_pose_ros.errors import InputError
from re_pose_ros.frame import Frame

SCENE = "scene:yard?seed=2&size=160x90&frames=6&fps=5"


def same(a: GroundTruth, b: GroundTruth) -> None:
    for name in ("xyxy", "class_id", "ignore", "track_id", "visibility", "ignored_regions"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name), err_msg=name)
    assert a.annotated == b.annotated


def formats(bag: Path) -> list[str]:
    with AnyReader([bag], default_typestore=typestore()) as reader:
        wanted = [c for c in reader.connections if c.topic == "/image_raw/compressed"]
        messages: list[Any] = [
            reader.deserialize(raw, c.msgtype) for c, _, raw in reader.messages(wanted)
        ]
    return [message.format.split()[1] for message in messages]


@pytest.mark.parametrize("name", ["out.mcap", "out"])
def test_a_scene_becomes_a_bag(
    tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    storage = "mcap" if "." in name else "sqlite3"
    assert main(["convert", f"{SCENE}&step=2", str(tmp_path / name), "--format", storage]) == 0
    assert f"{name}: 3 frames of scene:yard" in capsys.readouterr().out
    back, scene = open_dataset(tmp_path / name), open_dataset(f"{SCENE}&step=2")
    assert back.labels == scene.labels
    assert len(back) == 3
    for (frame, truth), (original, expected) in zip(back, scene, strict=True):
        np.testing.assert_array_equal(frame.image, original.image)
        same(truth, expected)
        assert truth.ignore.sum() == (truth.visibility < 0.25).sum()
        assert frame.frame_id == original.frame_id == "yard_2"
    # A stamp of zero would be none, so they begin at one second.
    assert [frame.stamp_ns for frame, _ in back] == [10**9, 1_400_000_000, 1_800_000_000]


def test_rate_and_jpeg(tmp_path: Path) -> None:
    out = tmp_path / "out.mcap"
    assert main(["convert", SCENE, str(out), "--fps", "2", "--jpeg-quality", "95"]) == 0
    assert formats(out) == ["jpeg"] * 6
    back, scene = list(open_dataset(out)), list(open_dataset(SCENE))
    assert [frame.stamp_ns for frame, _ in back] == [10**9 + k * 500_000_000 for k in range(6)]
    for (frame, _), (original, _) in zip(back, scene, strict=True):
        assert 0 < np.abs(frame.image.astype(int) - original.image).mean() < 8
    # A bag again: what is JPEG stays, stamps are kept.
    again = tmp_path / "again"
    assert main(["convert", str(out), str(again), "--jpeg-quality", "50"]) == 0
    assert [f.stamp_ns for f, _ in open_dataset(again)] == [f.stamp_ns for f, _ in back]


def test_what_cannot_be_converted_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "there").mkdir()
    for arguments, told in (
        ([f"{tmp_path}/none", "a"], "none does not exist"),
        (["scene:moon", "a"], "'moon' is not known"),
        ([SCENE, f"{tmp_path}/there"], "there exists already"),
        ([SCENE, f"{tmp_path}/a.mcap", "--format", "sqlite3"], "sqlite3 needs a folder"),
        ([SCENE, f"{tmp_path}/a", "--fps", "0"], "rate is 0"),
        ([SCENE, f"{tmp_path}/a", "--fps", "nan"], "rate is nan"),
        ([SCENE, f"{tmp_path}/a", "--jpeg-quality", "101"], "quality is 101"),
    ):
        assert main(["convert", *arguments]) == 2
        error = capsys.readouterr().err
        assert told in error
        assert "Traceback" not in error
    assert not (tmp_path / "a").exists()
    assert not (tmp_path / "a.mcap").exists()


def pictures(folder: Path, count: int) -> Dataset:
    refs = []
    for k in range(count):
        cv2.imwrite(str(folder / f"{k}.png"), np.full((8, 8, 3), k, np.uint8))
        refs.append(FrameRef(folder / f"{k}.png", GroundTruth.of([[0, 0, k + 1, 5]], 0)))
    return Dataset("x", ("a",), refs)


@dataclass(frozen=True)
class Interrupted:
    """Frames at the fifth of which the user presses Ctrl-C."""

    frames: Dataset
    name = "x"
    independent = False
    labels = ("a",)

    def __len__(self) -> int:
        return len(self.frames)

    def __iter__(self) -> Iterator[tuple[Frame, GroundTruth]]:
        for frame, truth in self.frames:
            if frame.index == 4:
                raise KeyboardInterrupt
            yield frame, truth

    def select(self, indices: object) -> Interrupted:
        raise NotImplementedError


@pytest.mark.parametrize("name", ["out.mcap", "out"])
@pytest.mark.parametrize("reason", ["interrupted", "image is gone", "disk is full"])
def test_what_was_written_before_the_end_is_readable(
    tmp_path: Path, name: str, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset, out = pictures(tmp_path, 8), tmp_path / name
    storage = "mcap" if "." in name else "sqlite3"
    if reason == "interrupted":
        with pytest.raises(KeyboardInterrupt):
            write_bag(Interrupted(dataset), out, storage=storage)
    elif reason == "image is gone":
        (tmp_path / "4.png").unlink()
        with pytest.raises(InputError, match=r"4\.png cannot be read"):
            write_bag(dataset, out, storage=storage)
    else:
        write = BagWriter.write

        def full(bag: BagWriter, topic: str, *rest: Any, **more: Any) -> None:
            if topic == "/image_raw/compressed" and rest[2] == 1_400_000_000:
                raise OSError(errno.ENOSPC, "No space left on device")
            write(bag, topic, *rest, **more)

        monkeypatch.setattr(BagWriter, "write", full)
        with pytest.raises(InputError, match=r"cannot be written: .*No space left"):
            write_bag(dataset, out, storage=storage)
    back = list(open_dataset(out))
    assert [int(frame.image[0, 0, 0]) for frame, _ in back] == [0, 1, 2, 3]
    assert [truth.xyxy[0, 2] for _, truth in back] == [1, 2, 3, 4]

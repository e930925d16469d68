"""Reading annotated sets of every format, class maps, and bags there and back."""

from __future__ import annotations

import contextlib
import json
import logging
import random
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from rosbags.highlevel import AnyReader

from re_pose_ros.bags import BagWriter, topics, typestore
from re_pose_ros.datasets import (
    BUILT_IN_MAPS,
    Dataset,
    FrameRef,
    GroundTruth,
    choose_class_map,
    is_dataset,
    open_dataset,
    open_datasets,
    read_truth,
    write_bag,
)
from re_pose_ros.datasets.convert import truth_message
from re_pose_ros.datasets.visdrone import LABELS as VISDRONE
from re_pose_ros.detections import Detections
from re_pose_ros.errors import InputError
from re_pose_ros.image_codec import decode_compressed, encode_jpeg
from re_pose_ros.scenes import CLASSES, Scene, parse_spec

WIDTH, HEIGHT = 64, 48


def picture(path: Path, value: int = 90, size: tuple[int, int] = (WIDTH, HEIGHT)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = np.full((size[1], size[0], 3), value, np.uint8)
    image[::7, ::5] = 255 - value
    if path.suffix == ".jpg":
        path.write_bytes(encode_jpeg(image, 90))
    else:
        cv2.imwrite(str(path), image)
    return path


def text(path: Path, *lines: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


def visdrone_det(root: Path) -> Path:
    picture(root / "images/b.jpg")
    picture(root / "images/a.jpg")
    text(
        root / "annotations/a.txt",
        "1,2,10,20,1,4,0,1",
        "30,0,30,40,0,0,0,0",
        "5,6,7,8,0,1,0,2",
        "9,9,3,3,1,11,0,0,",
        "0,0,0,5,1,2,0,0",
    )
    text(root / "annotations/b.txt")
    return root


def visdrone_vid(root: Path) -> Path:
    for sequence in ("uav1", "uav2"):
        for k in (1, 2):
            picture(root / f"sequences/{sequence}/{k:07}.jpg")
        text(
            root / f"annotations/{sequence}.txt", "2,7,1,2,10,20,1,10,0,0", "1,7,0,2,10,20,1,10,0,0"
        )
    return root


def mot(root: Path) -> Path:
    for k in (1, 2):
        picture(root / f"img1/{k:06}.jpg")
    text(
        root / "seqinfo.ini",
        "[Sequence]",
        "name=x",
        "imDir=img1",
        "frameRate=25",
        f"imWidth={WIDTH}",
        f"imHeight={HEIGHT}",
    )
    text(
        root / "gt/gt.txt",
        "2,4,11,11,20,20,1,1,0.5",
        "2,5,-9,1,20,20,1,1,1",
        "2,6,1,1,5,5,0,1,1",
        "2,7,1,1,5,5,0,7,1",
        "2,8,1,1,5,5,0,3,1",
        "2,9,900,1,5,5,1,1,0",
        "3,4,11,11,20,20,1,1,0.5",
    )
    return root


def coco(root: Path) -> Path:
    picture(root / "images/x.jpg")
    picture(root / "images/y.png")
    boxes: list[dict[str, Any]] = [
        {"image_id": 5, "category_id": 9, "bbox": [1, 2, 10, 20], "iscrowd": 0, "track_id": 3},
        {"image_id": 5, "category_id": 2, "bbox": [1.5, 2, 3, 4], "iscrowd": 1},
        {"image_id": 5, "category_id": 2, "bbox": [1.5, 2, 3, 4], "ignore": 1},
        {"image_id": 5, "category_id": 2, "bbox": [1, 2, 0, 4]},
    ]
    content = {
        "images": [{"id": 5, "file_name": "x.jpg"}, {"id": 2, "file_name": "y.png"}],
        "categories": [{"id": 9, "name": "car"}, {"id": 2, "name": "person"}],
        "annotations": boxes,
    }
    text(root / "annotations/instances_val.json", json.dumps(content, indent=1))
    return root


def yolo(root: Path) -> Path:
    picture(root / "images/val/x.jpg")
    picture(root / "images/val/y.jpg")
    text(
        root / "labels/val/x.txt",
        "1 0.5 0.5 0.25 0.5",
        "0 0 0 0.5 0.5",
        "0 0.1 0.1 0.2 0.3 0.4 0.1",
    )
    meta = {
        "annotated_classes": {"some": [1], "all": [0, 1]},
        "images": [
            {"file": "x.jpg", "gt": "some", "ignore_xywh": [[1, 2, 3, 4]]},
            {"file": "y.jpg", "gt": "all"},
        ],
    }
    text(root / "meta.json", json.dumps(meta))
    text(root / "data.yaml", "path: .", "val: images/val", "names:", "  0: dog", "  1: cat")
    return root


MAKERS = [visdrone_det, visdrone_vid, mot, coco, yolo]


def same(a: GroundTruth, b: GroundTruth) -> None:
    for name in ("xyxy", "class_id", "ignore", "track_id", "visibility", "ignored_regions"):
        left, right = getattr(a, name), getattr(b, name)
        assert left.dtype == right.dtype
        np.testing.assert_array_equal(left, right, err_msg=name)
    assert a.annotated == b.annotated


def test_visdrone_images(tmp_path: Path) -> None:
    dataset = open_dataset(visdrone_det(tmp_path))
    assert dataset.labels == VISDRONE
    assert [ref.path.name for ref in dataset.frames] == ["a.jpg", "b.jpg"]
    expected = GroundTruth.of(
        [[1, 2, 11, 22], [5, 6, 12, 14]],
        [3, 0],
        ignore=[False, True],
        visibility=[0.75, 0.25],
        ignored_regions=[[30, 0, 60, 40], [9, 9, 12, 12]],
    )
    same(dataset.frames[0].truth, expected)
    same(dataset.frames[1].truth, GroundTruth.empty())
    frames = [frame for frame, _ in dataset]
    assert [(f.index, f.size) for f in frames] == [(0, (WIDTH, HEIGHT)), (1, (WIDTH, HEIGHT))]


def test_visdrone_sequences(tmp_path: Path) -> None:
    dataset = open_dataset(visdrone_vid(tmp_path))
    assert [ref.frame_id for ref in dataset.frames] == ["uav1", "uav1", "uav2", "uav2"]
    assert [ref.truth.xyxy[0, 0] for ref in dataset.frames] == [0, 1, 0, 1]
    same(dataset.frames[1].truth, GroundTruth.of([[1, 2, 11, 22]], 9, track_id=7))


def test_mot(tmp_path: Path) -> None:
    root = mot(tmp_path / "set/MOT-1")
    dataset = open_dataset(root)
    assert dataset.labels == ("pedestrian",)
    assert [ref.stamp_ns for ref in dataset.frames] == [40_000_000, 80_000_000]
    assert [ref.name for ref in dataset.frames] == ["MOT-1/000001.jpg", "MOT-1/000002.jpg"]
    same(dataset.frames[0].truth, GroundTruth.empty())
    expected = GroundTruth.of(
        [[10, 10, 30, 30], [0, 0, 10, 20], [0, 0, 5, 5], [0, 0, 5, 5]],
        0,
        ignore=[False, False, True, True],
        track_id=[4, 5, 6, 7],
        visibility=[0.5, 1, 1, 1],
    )
    same(dataset.frames[1].truth, expected)
    assert len(open_dataset(root.parent)) == 2
    # Numbers in names, not places in the folder, say which frame an image is.
    (root / "img1/000001.jpg").unlink()
    same(open_dataset(root).frames[0].truth, expected)


def test_mot_of_a_video(tmp_path: Path) -> None:
    path = tmp_path / "film.avi"
    video = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 10, (64, 48))  # type: ignore[attr-defined]
    for k in range(6):
        video.write(np.full((48, 64, 3), 40 * k, np.uint8))
    video.release()
    rows = text(tmp_path / "gt.txt", *(f"{k},1,{k},1,9,9,1,4.2,-1,0.3" for k in (1, 3, 6)))
    dataset = open_dataset(f"mot:{rows}?images={path}&start=1&step=2")
    assert len(dataset) == 3
    assert [ref.index for ref in dataset.frames] == [1, 3, 5]
    assert [len(truth) for _, truth in dataset] == [0, 0, 1]
    means = [float(frame.image.mean()) for frame, _ in dataset]
    assert means == pytest.approx([40, 120, 200], abs=3)
    with pytest.raises(InputError, match="images="):
        open_dataset(rows)


def test_coco(tmp_path: Path) -> None:
    dataset = open_dataset(coco(tmp_path))
    assert dataset.labels == ("person", "car")
    expected = GroundTruth.of(
        [[1, 2, 11, 22], [1.5, 2, 4.5, 6], [1.5, 2, 4.5, 6]],
        [1, 0, 0],
        ignore=[False, True, True],
        track_id=[3, -1, -1],
    )
    same(dataset.frames[0].truth, expected)
    assert len(dataset.frames[1].truth) == 0
    assert len(list(dataset)) == 2
    moved = tmp_path / "elsewhere"
    (tmp_path / "images").rename(moved)
    file = tmp_path / "annotations/instances_val.json"
    with pytest.raises(InputError, match=r"x\.jpg .* not found; images=FOLDER"):
        open_dataset(file)
    assert len(list(open_dataset(file, images=str(moved)))) == 2


def test_yolo(tmp_path: Path) -> None:
    root = yolo(tmp_path)
    dataset = open_dataset(root)
    assert dataset.labels == ("dog", "cat")
    expected = GroundTruth.of(
        [[24, 12, 40, 36], [0, 0, 16, 12], [6.4, 4.8, 25.6, 14.4]],
        [1, 0, 0],
        ignored_regions=[[1, 2, 4, 6]],
        annotated=[1],
    )
    same(dataset.frames[0].truth, expected)
    assert dataset.frames[1].truth.annotated == (0, 1)
    assert len(open_dataset(root / "data.yaml")) == 2
    (only,) = open_dataset(f"yolo:{root}?groups=all").frames
    assert only.path.name == "y.jpg"
    assert open_dataset(root, names="a,b").labels == ("a", "b")
    (root / "data.yaml").unlink()
    with pytest.raises(InputError, match="names="):
        open_dataset(root)
    flat = tmp_path / "flat"
    shutil.copytree(root / "images/val", flat)
    text(flat / "x.txt", "0 0.5 0.5 1 1")
    assert [len(t) for _, t in open_dataset(flat, names="thing")] == [1, 0]


def test_exif_turns_boxes_with_the_image(tmp_path: Path) -> None:
    path = picture(tmp_path / "t.jpg")
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.open(path).save(path, exif=exif)
    text(tmp_path / "t.txt", "0 0.5 0.5 1 1")
    ((frame, truth),) = open_dataset(tmp_path, names="thing")
    assert frame.size == (HEIGHT, WIDTH)
    assert truth.xyxy.tolist() == [[0, 0, HEIGHT, WIDTH]]


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("d/annotations/a.txt", "1,2,10,20,1,4,0,1\n1,2,x,4,1,1,0,0", r"a\.txt, line 2: '1,2,x"),
        ("d/annotations/a.txt", "\n1,2,3,4", r"a\.txt, line 2: 4 columns, 8 expected"),
        ("d/annotations/a.txt", "1,2,3,4,1,12,0,0", r"line 1: category is 12"),
        ("d/annotations/a.txt", "1,2,-3,4,1,1,0,0", r"line 1: 1,2,-3,4 is no box"),
        ("d/annotations/a.txt", "1,2,nan,4,1,1,0,0", r"line 1: .* without value"),
        ("d/annotations/c.txt", "1,2,3,4,1,1,0,0", r"c\.txt has no image c\.jpg"),
        ("m/gt/gt.txt", "1.5,2,3,4,5,6,1,1,1", r"line 1: frame is 1\.5"),
        ("m/gt/gt.txt", "1,2,3,4,5,6,1,1,7", r"line 1: visibility is 7"),
        ("m/gt/gt.txt", "7,2,3,4,5,6,1,1,1", r"line 1: neither this frame"),
        ("m/seqinfo.ini", "frameRate=1", r"seqinfo\.ini is malformed"),
        ("y/labels/val/x.txt", "2 .5 .5 .1 .1", r"x\.txt, line 1: class is 2"),
        ("y/labels/val/x.txt", "1 50 50 10 10", r"line 1: coordinates are in shares"),
        ("y/labels/val/x.txt", "1 .1 .1 .1 .1 .1", r"line 1: 6 columns are neither"),
        ("y/data.yaml", "names: 3", r"data\.yaml: 'names'"),
        ("y/meta.json", "{\n x", r"meta\.json, line 2: no JSON"),
        ("c/annotations/instances_val.json", "{\n\n [", r"val\.json, line 3: no JSON"),
        ("c/annotations/instances_val.json", "[]", r"no lists images"),
    ],
)
def test_what_is_wrong_is_told(tmp_path: Path, file: str, content: str, message: str) -> None:
    makers = {"d": visdrone_det, "m": mot, "y": yolo, "c": coco}
    folder = makers[file[0]](tmp_path / file[0])
    (tmp_path / file).write_text(content)
    with pytest.raises(InputError, match=message) as told:
        open_dataset(folder)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    ("part", "index", "change", "message"),
    [
        ("annotations", 0, {"bbox": [1, 2, 3]}, r"annotations\[0\]: 'bbox'"),
        ("annotations", 1, {"bbox": [1, 2, float("nan"), 3]}, r"annotations\[1\]: 'bbox'"),
        ("annotations", 0, {"image_id": 77}, r"image_id 77 is not among"),
        ("annotations", 0, {"category_id": None}, r"'category_id' is no whole"),
        ("images", 1, {"file_name": "gone.jpg"}, r"images\[1\]: there is no .*gone\.jpg"),
        ("images", 0, {"id": 2}, "two images"),
        ("categories", 0, {"name": "person"}, "two categories"),
    ],
)
def test_what_is_wrong_in_coco_is_told(
    tmp_path: Path, part: str, index: int, change: dict[str, Any], message: str
) -> None:
    file = coco(tmp_path) / "annotations/instances_val.json"
    content = json.loads(file.read_text())
    content[part][index] |= change
    file.write_text(json.dumps(content))
    with pytest.raises(InputError, match=message):
        open_dataset(file)


def test_what_is_no_dataset_is_told(tmp_path: Path) -> None:
    det = visdrone_det(tmp_path / "det")
    for spec, message in (
        ("", "names no dataset"),
        ("coco:", "names no dataset"),
        (f"{tmp_path}/none", "none does not exist"),
        (f"{det}/{'x' * 300}", "does not exist"),
        (f"{tmp_path}", "of no known format; say which"),
        (f"{det}/images/a.jpg", "of no known format"),
        (f"{det}?color=red", "no option 'color'; they have annotations, start, count, step"),
        (f"{det}?count=-1", "count is '-1'"),
        (f"{det}?step=0", "step is '0'"),
        (f"{det}?start=2", "has 2 frames; start 2"),
        (f"visdrone:{det}?annotations=other", "other does not exist"),
        (f"mot:{det}", "no gt/gt.txt"),
        (f"coco:{det}", "one annotation file, it has none"),
        (f"bag:{det}", "no rosbag2"),
        (f"yolo:{det}?names=a", "no image in"),
    ):
        with pytest.raises(InputError, match=message):
            open_dataset(spec)
    dataset = open_dataset(f"{det}?count=1", start=1)
    assert [ref.path.name for ref in dataset.frames] == ["b.jpg"]
    (det / "images/b.jpg").write_bytes(b"no image")
    with pytest.raises(InputError, match=r"b\.jpg: compressed image cannot"):
        list(dataset)
    (det / "images/b.jpg").unlink()
    with pytest.raises(InputError, match=r"b\.jpg cannot be read"):
        list(dataset)


@pytest.fixture(scope="module")
def fuzzed(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[Path, Path, bytes]]:
    """Per annotation file of every format its dataset, itself and its good content."""
    base = tmp_path_factory.mktemp("fuzzed")
    files = []
    for make in MAKERS:
        root = make(base / make.__name__)
        for file in root.rglob("*"):
            if file.suffix in (".txt", ".json", ".yaml", ".ini"):
                files.append((root, file, file.read_bytes()))
    return sorted(files)


PIECES = st.sampled_from(
    [
        *(b"", b"-1", b"0", b"1e9", b"1e400", b"nan", b"9" * 30, b",", b" ", b"\n", b"null", b"{}"),
        *(b"[", b"]", b'"x"', b"\xff", b"\0", b"true", b"0.5", b": ", b"!!int ''", b"- ", b"../"),
        b"a" * 300,
    ]
)


@pytest.mark.parametrize("make", MAKERS)
@settings(max_examples=200)
@given(data=st.data())
def test_fuzzed_annotations_raise_input_errors_only(
    fuzzed: list[tuple[Path, Path, bytes]], make: Callable[[Path], Path], data: st.DataObject
) -> None:
    files = [entry for entry in fuzzed if entry[0].name == make.__name__]
    root, file, good = data.draw(st.sampled_from(files))
    content = good
    for _ in range(data.draw(st.integers(1, 3))):
        begin = data.draw(st.integers(0, len(content)))
        end = min(len(content), begin + data.draw(st.integers(0, 8)))
        content = content[:begin] + data.draw(PIECES) + content[end:]
    file.write_bytes(content)
    try:
        dataset = open_dataset(root)
    except InputError as error:
        assert "\n" not in str(error)
    else:
        for ref in dataset.frames:
            assert np.isfinite(ref.truth.xyxy).all()
            assert (ref.truth.xyxy[:, 2:] > ref.truth.xyxy[:, :2]).all()
            assert len(ref.truth) == 0 or ref.truth.class_id.min() >= 0
            assert len(ref.truth) == 0 or ref.truth.class_id.max() < len(dataset.labels)
            assert ref.truth.track_id.min(initial=0) >= -1
        with contextlib.suppress(InputError):
            list(dataset)
    finally:
        file.write_bytes(good)


@pytest.mark.parametrize("name", ["set.mcap", "set"])
def test_fuzzed_bags_raise_input_errors_only(tmp_path: Path, name: str) -> None:
    storage = "mcap" if name.endswith("mcap") else "sqlite3"
    write_bag(open_dataset(visdrone_det(tmp_path / "in")), tmp_path / name, storage=storage)
    path = tmp_path / name
    file = path if path.is_file() else next(path.glob("*.db3"))
    good = file.read_bytes()
    rng = random.Random(4)
    outcomes = Counter[str]()
    for _ in range(80):
        content = bytearray(good)
        for _ in range(rng.randint(1, 8)):
            content[rng.randrange(len(content))] = rng.choice((0, 1, 0x7F, 0x80, 0xFF))
        file.write_bytes(content[: rng.choice((len(content), rng.randrange(len(content))))])
        try:
            list(open_dataset(path))
            outcomes["read"] += 1
        except InputError as error:
            assert "\n" not in str(error)
            outcomes["told"] += 1
    assert min(outcomes["read"], outcomes["told"]) > 5


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize("name", ["set.mcap", "set"])
def test_a_bag_gives_the_dataset_back(
    tmp_path: Path, make: Callable[[Path], Path], name: str
) -> None:
    dataset = open_dataset(make(tmp_path / "in"))
    storage = "mcap" if name.endswith("mcap") else "sqlite3"
    write_bag(dataset, tmp_path / name, storage=storage)
    kinds = {
        "/image_raw/compressed": "sensor_msgs/msg/CompressedImage",
        "/ground_truth": "vision_msgs/msg/Detection2DArray",
        "/ground_truth/label_info": "vision_msgs/msg/LabelInfo",
    }
    assert topics(tmp_path / name) == kinds
    back = open_dataset(tmp_path / name)
    assert (back.name, back.labels) == ("set", dataset.labels)
    stamps = [ref.stamp_ns or 0 for ref in back.frames]
    expected = [ref.stamp_ns for ref in dataset.frames]
    assert stamps == (
        expected if None not in expected else [10**9 + k * 10**8 for k in range(len(back))]
    )
    for (frame, truth), (other, original) in zip(back, dataset, strict=True):
        assert (frame.index, frame.frame_id) == (other.index, other.frame_id)
        np.testing.assert_array_equal(frame.image, other.image)
        same(truth, original)
    write_bag(back, tmp_path / f"again-{name}", storage=storage)
    for a, b in zip(open_dataset(tmp_path / f"again-{name}"), dataset, strict=True):
        np.testing.assert_array_equal(a[0].image, b[0].image)
        same(a[1], b[1])


def test_jpeg_files_go_into_the_bag_as_they_are(tmp_path: Path) -> None:
    files = [
        picture(tmp_path / f"{name}", 90 + k) for k, name in enumerate(("a.jpg", "b.png", "c.bmp"))
    ]
    dataset = Dataset("x", ("a",), [FrameRef(f, GroundTruth.empty()) for f in files])
    write_bag(dataset, tmp_path / "bag", rate=4.0)
    with AnyReader([tmp_path / "bag"], default_typestore=typestore()) as reader:
        wanted = [c for c in reader.connections if c.topic == "/image_raw/compressed"]
        images: list[Any] = [
            reader.deserialize(raw, c.msgtype) for c, _, raw in reader.messages(wanted)
        ]
    assert [bytes(m.data) for m in images[:2]] == [f.read_bytes() for f in files[:2]]
    assert [m.format.split()[1] for m in images] == ["jpeg", "png", "png"]
    assert [m.header.stamp.nanosec for m in images] == [0, 250_000_000, 500_000_000]
    np.testing.assert_array_equal(
        decode_compressed(images[2].data), decode_compressed(files[2].read_bytes())
    )
    with pytest.raises(InputError, match="rate"):
        write_bag(dataset, tmp_path / "other", rate=0)
    with pytest.raises(InputError, match="exists already"):
        write_bag(dataset, tmp_path / "bag")


boxes = st.tuples(*[st.integers(-64, 64 * 8000)] * 2, *[st.integers(1, 64 * 900)] * 2).map(
    lambda b: [b[0] / 64, b[1] / 64, (b[0] + b[2]) / 64, (b[1] + b[3]) / 64]
)
entries = st.tuples(
    boxes, st.integers(0, 4), st.booleans(), st.integers(-1, 2**63 - 1), st.floats(0, 1, width=32)
)
truths = st.builds(
    lambda rows, regions, annotated: GroundTruth.of(
        [r[0] for r in rows],
        [r[1] for r in rows],
        ignore=[r[2] for r in rows],
        track_id=[r[3] for r in rows],
        visibility=[r[4] for r in rows],
        ignored_regions=regions,
        annotated=annotated,
    ),
    st.lists(entries, max_size=5),
    st.lists(boxes, max_size=3),
    st.none() | st.lists(st.integers(0, 4), max_size=5),
)


@settings(max_examples=25)
@given(st.lists(truths, min_size=1, max_size=3))
def test_every_ground_truth_survives_a_bag(
    tmp_path_factory: pytest.TempPathFactory, drawn: list[GroundTruth]
) -> None:
    folder = tmp_path_factory.mktemp("bag")
    image = picture(folder / "i.jpg", size=(16, 8))
    dataset = Dataset("x", ("a", "b", "c", "d", "e"), [FrameRef(image, t) for t in drawn])
    write_bag(dataset, folder / "b.mcap")
    for ref, truth in zip(open_dataset(folder / "b.mcap").frames, drawn, strict=True):
        same(ref.truth, truth)


def foreign_bag(path: Path, class_ids: list[str], *, images: int = 2) -> Path:
    """Annotations as other tools write them: no label_info, not for every image."""
    types = typestore().types
    truth = truth_message(GroundTruth.of([[1, 2, 3, 4]] * len(class_ids), 0), 1, 5, "cam")
    for detection, name in zip(truth.detections, class_ids, strict=True):
        detection.results[0].hypothesis.class_id = name
        detection.id = "track-a"
    data = np.frombuffer(encode_jpeg(np.zeros((8, 8, 3), np.uint8), 80), np.uint8)
    with BagWriter(path) as bag:
        for k in range(images):
            stamp = types["builtin_interfaces/msg/Time"](0, 5 + k)
            head = types["std_msgs/msg/Header"](stamp, "cam")
            kind = "sensor_msgs/msg/CompressedImage"
            bag.write("/camera/jpeg", kind, types[kind](head, "jpeg", data), 5 + k)
        bag.write("/truth", "vision_msgs/msg/Detection2DArray", truth, 5)
    return path


def test_bags_of_others(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    named = foreign_bag(tmp_path / "named", ["dog", "cat", "dog"])
    with pytest.raises(InputError, match=r"on /ground_truth; ground_truth=TOPIC .* /truth"):
        open_dataset(named)
    with caplog.at_level(logging.WARNING):
        dataset = open_dataset(f"{named}?ground_truth=truth")
    assert "1 images on /camera/jpeg are not annotated" in caplog.text
    assert dataset.labels == ("cat", "dog")
    assert [t.class_id.tolist() for _, t in dataset] == [[1, 0, 1]]
    assert dataset.frames[0].truth.track_id.tolist() == [-1] * 3
    numbered = foreign_bag(tmp_path / "numbered", ["2"])
    assert open_dataset(numbered, ground_truth="/truth").labels == ("0", "1", "2")
    with pytest.raises(InputError, match=r"has no .* on /none"):
        open_dataset(numbered, ground_truth="/truth", images="/none")
    blind = foreign_bag(tmp_path / "blind", ["2"], images=0)
    with pytest.raises(InputError, match="images=TOPIC"):
        open_dataset(blind, ground_truth="/truth")


def test_a_cut_bag_gives_what_is_there(tmp_path: Path) -> None:
    images = [picture(tmp_path / f"{k}.jpg", k, (320, 240)) for k in range(30)]
    refs = [FrameRef(f, GroundTruth.of([[k, 0, 90, 90]], 0)) for k, f in enumerate(images)]
    write_bag(Dataset("x", ("a",), refs), tmp_path / "bag.mcap")
    whole = (tmp_path / "bag.mcap").read_bytes()
    (tmp_path / "cut.mcap").write_bytes(whole[: len(whole) // 2])
    seen = [truth.xyxy[0, 0] for _, truth in open_dataset(tmp_path / "cut.mcap")]
    assert seen == list(range(len(seen)))
    assert 10 < len(seen) < 20
    for length in range(0, len(whole), len(whole) // 15):
        (tmp_path / "cut.mcap").write_bytes(whole[:length])
        try:
            list(open_dataset(tmp_path / "cut.mcap"))
        except InputError as error:
            assert "cut.mcap" in str(error)


@pytest.mark.parametrize("name", ["set.mcap", "set"])
def test_sizes_may_change_from_frame_to_frame(tmp_path: Path, name: str) -> None:
    sizes = [(64, 48), (32, 80), (64, 48), (7, 5)]
    files = [picture(tmp_path / f"{k}.png", k, size) for k, size in enumerate(sizes)]
    refs = [FrameRef(file, GroundTruth.of([[0, 0, 3, k + 1]], 0)) for k, file in enumerate(files)]
    dataset = Dataset("x", ("a",), refs)
    write_bag(dataset, tmp_path / name, storage="mcap" if "." in name else "sqlite3")
    for frames in (dataset, open_dataset(tmp_path / name)):
        assert [frame.size for frame, _ in frames] == sizes


def test_truth_of_a_recorded_graph(tmp_path: Path) -> None:
    """Under a namespace, with the detector's classes beside the truth's, and without images."""
    types = typestore().types
    kind = "vision_msgs/msg/LabelInfo"
    head = types["std_msgs/msg/Header"](types["builtin_interfaces/msg/Time"](0, 5), "")
    truth = GroundTruth.of([[1, 2, 3, 4]], 1, track_id=2**40, annotated=[1])
    with BagWriter(tmp_path / "graph.mcap") as bag:
        for topic, names in (("label_info", "person,dog"), ("ground_truth/label_info", "cat,van")):
            classes = [
                types["vision_msgs/msg/VisionClass"](k, n) for k, n in enumerate(names.split(","))
            ]
            bag.write(f"/demo/{topic}", kind, types[kind](head, classes, 0.0), 5)
        for topic in ("detections", "ground_truth"):
            message = truth_message(truth, 2, 6, "cam")
            bag.write(f"/demo/{topic}", "vision_msgs/msg/Detection2DArray", message, 6)
    assert is_dataset(str(tmp_path / "graph.mcap"))
    recorded = read_truth(tmp_path / "graph.mcap")
    assert (recorded.topic, recorded.labels) == ("/demo/ground_truth", ("cat", "van"))
    assert list(recorded.by_stamp) == [6]
    same(recorded.by_stamp[6], truth)
    with pytest.raises(InputError, match="images=TOPIC"):
        open_dataset(tmp_path / "graph.mcap")
    images = foreign_bag(tmp_path / "images", ["0"])
    assert not is_dataset(str(images))
    joined = open_dataset(images, ground_truth=str(tmp_path / "graph.mcap"))
    ((frame, found),) = joined
    assert (frame.stamp_ns, joined.labels) == (6, ("cat", "van"))
    same(found, truth)
    with pytest.raises(InputError, match=r"no .* on /none; labels=TOPIC"):
        read_truth(tmp_path / "graph.mcap", labels="/none")


def test_which_frames_follow_one_another(tmp_path: Path) -> None:
    photos = (visdrone_det, yolo)
    for make in MAKERS:
        dataset = open_dataset(make(tmp_path / make.__name__))
        assert dataset.independent == (make in photos)
        write_bag(dataset, tmp_path / f"{make.__name__}.mcap")
        assert open_dataset(tmp_path / f"{make.__name__}.mcap").independent == (make in photos)
    file = tmp_path / "coco/annotations/instances_val.json"
    file.write_text(file.read_text().replace("track_id", "other"))
    assert open_dataset(tmp_path / "coco").independent
    assert [ref.name for ref in open_dataset(tmp_path / "yolo").frames] == ["x.jpg", "y.jpg"]


SCENE = "scene:plaza?seed=3&size=160x90&frames=12&objects=0.2"


def test_scenes_are_datasets() -> None:
    scene = Scene(parse_spec(SCENE))
    dataset = open_dataset(f"{SCENE}&step=5", start=1, count=2)
    assert (dataset.labels, dataset.independent, len(dataset)) == (CLASSES, False, 2)
    assert dataset.name == SCENE
    for _ in range(2):
        pairs = list(dataset)
        for (frame, truth), number in zip(pairs, (1, 6), strict=True):
            image, expected = scene.render(number)
            np.testing.assert_array_equal(frame.image, image)
            same(truth, expected)
            assert frame.truth is truth
            assert frame.stamp_ns == number * 40_000_000
        assert [(f.index, f.frame_id) for f, _ in pairs] == [(0, "plaza_3"), (1, "plaza_3")]
    assert len(open_dataset(SCENE)) == 12
    for spec, message in (
        (f"{SCENE}&zoom=2", "'zoom' is not known; known: seed"),
        (f"{SCENE}&seed=4", "'seed' is given twice"),
        (f"{SCENE}&step=0", "step is '0'"),
        (f"{SCENE}&start=12", "has 12 frames; start 12 is behind them"),
        ("scene:moon", "'moon' is not known; known: plaza"),
        ("scene:plaza?fast", "are not key=value|'fast'"),
    ):
        with pytest.raises(InputError, match=message):
            open_dataset(spec)


def test_several_datasets_as_one(tmp_path: Path) -> None:
    one, other = visdrone_vid(tmp_path / "one"), visdrone_vid(tmp_path / "other")
    joined = open_datasets([one, f"{other}?count=1", f"{other}?start=1"])
    assert (len(joined), joined.independent, joined.name) == (8, False, "one + other + other")
    expected = ["uav1", "uav1", "uav2", "uav2", "uav1", "uav1#3", "uav2#3", "uav2#3"]
    for _ in range(2):
        assert [frame.frame_id for frame, _ in joined] == expected
    assert [frame.index for frame, _ in joined] == list(range(8))
    some = joined.select([0, 3, 7])
    assert [frame.index for frame, _ in some] == [0, 1, 2]
    assert len({frame.frame_id for frame, _ in some}) == 3
    assert len(joined.select(slice(0, 0))) == 0
    with pytest.raises(IndexError):
        joined.select([8])
    assert open_datasets([visdrone_det(tmp_path / "a"), tmp_path / "a"]).independent
    assert open_datasets([SCENE]).name == SCENE
    with pytest.raises(InputError, match=r"plaza.* has the classes person, .* same classes"):
        open_datasets([one, SCENE])
    with pytest.raises(InputError, match="no dataset given"):
        open_datasets([])


def test_what_is_a_dataset(tmp_path: Path) -> None:
    for make in MAKERS:
        assert is_dataset(str(make(tmp_path / make.__name__)))
    plain = tmp_path / "plain"
    picture(plain / "a.png")
    text(plain / "notes.txt", "nothing")
    for spec in (str(plain), str(plain / "a.png"), f"{tmp_path}/none", "0", "", "a\0"):
        assert not is_dataset(spec)
    assert is_dataset("scene:plaza")
    assert is_dataset(f"mot:{tmp_path}/none")


COCO = ("person", "bicycle", "car", "motorcycle", "airplane", "bus", "train", "truck")


def test_coco_detections_on_visdrone() -> None:
    chosen = choose_class_map(COCO, VISDRONE)
    assert chosen.name == "coco->visdrone"
    assert chosen.labels == ("pedestrian", "bicycle", "car", "truck", "bus", "motor")
    found = Detections.of(np.arange(32).reshape(8, 4), np.linspace(0.1, 0.8, 8), range(8))
    mapped = chosen.map_detections(found, COCO)
    assert [chosen.labels[k] for k in mapped.class_id] == [
        *("pedestrian", "bicycle", "car", "motor", "bus", "truck")
    ]
    np.testing.assert_array_equal(mapped.xyxy[3], found.xyxy[3])
    truth = GroundTruth.of(np.tile([0, 0, 9, 9], (10, 1)), range(10), track_id=range(10))
    same_classes = chosen.map_truth(truth, VISDRONE)
    assert [chosen.labels[k] for k in same_classes.class_id] == [
        *("pedestrian", "pedestrian", "bicycle", "car", "car", "truck", "bus", "motor")
    ]
    assert same_classes.track_id.tolist() == [0, 1, 2, 3, 4, 5, 8, 9]
    assert same_classes.annotated is None
    some = chosen.only(["car", "pedestrian"])
    assert some.labels == ("pedestrian", "car")
    assert set(some.map_truth(truth, VISDRONE).class_id.tolist()) == {0, 1}
    with pytest.raises(InputError, match="no class 'van'; it has pedestrian"):
        chosen.only(["van"])


def test_a_merged_class_is_annotated_where_all_its_parts_are() -> None:
    truth = GroundTruth.of([[0, 0, 9, 9]], 0, annotated=[0, 2, 3, 4, 5, 8, 9])
    merged = choose_class_map(COCO, VISDRONE)
    annotated = merged.map_truth(truth, VISDRONE).annotated
    assert annotated is not None
    assert [merged.labels[k] for k in annotated] == ["bicycle", "car", "truck", "bus", "motor"]
    single = choose_class_map(COCO, VISDRONE, "coco->visdrone-pedestrian")
    assert single.map_truth(truth, VISDRONE).annotated == (0, 1, 2, 3, 4, 5)


def test_maps_by_name_and_by_themselves() -> None:
    assert choose_class_map(COCO, ("pedestrian",)).name == "coco->mot"
    identity = choose_class_map(("car", "dog"), ("cat", "dog", "car"))
    assert (identity.name, identity.labels) == ("identity", ("dog", "car"))
    assert (
        identity.map_detections(Detections.of([[0, 0, 1, 1]], [1], [0]), ("car", "dog")).class_id
        == 1
    )
    own = choose_class_map(VISDRONE, VISDRONE)
    assert own.labels == VISDRONE
    fewer = choose_class_map(("person", "car"), VISDRONE)
    assert fewer.labels == ("pedestrian", "car")
    with pytest.raises(InputError, match="'other' is not known; known: coco->visdrone"):
        choose_class_map(COCO, VISDRONE, "other")
    with pytest.raises(InputError, match="no class in common"):
        choose_class_map(("dog",), VISDRONE)
    assert set(BUILT_IN_MAPS) == {"coco->visdrone", "coco->visdrone-pedestrian", "coco->mot"}


def test_real_sets(shared_data: Path) -> None:
    photos = open_dataset(f"{shared_data}/visdrone?groups=full10,train7")
    assert len(photos) == 47
    assert photos.labels == VISDRONE
    official = open_dataset(f"visdrone:{shared_data}/visdrone?annotations=ann_visdrone")
    assert len(official) == 5
    by_name = {ref.path.name: ref.truth for ref in photos.frames}
    for ref in official.frames:
        converted, truth = by_name[ref.path.name], ref.truth
        counted = truth.take(~truth.ignore)
        assert len(counted) == len(converted)
        np.testing.assert_array_equal(np.sort(counted.class_id), np.sort(converted.class_id))
        assert len(truth.ignored_regions) == len(converted.ignored_regions)
    sequence = open_dataset(shared_data / "mot17")
    assert [len(truth.take(~truth.ignore)) for _, truth in sequence] == [42] * 8
    walkers = f"mot:{shared_data}/pets_s2l1/gt_480x360.txt?images={shared_data}/pets_s2l1/vtest.avi"
    assert len(open_dataset(walkers)) == 795
    names = ",".join(f"class{k}" for k in range(80))
    assert len(open_dataset(shared_data / "coco256", names=names)) == 256
    assert len(list(open_dataset(shared_data / "aerial_cars", names="car,truck,bus,minibus"))) == 31

"""Letterboxing, loading, batches and the mapping of a worker's detections."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from re_pose_ros.detection.model import Model, class_ids, load_model, model_name, to_tensor
from re_pose_ros.detection.preprocess import PADDING_VALUE, canvas_size, letterbox, to_image
from re_pose_ros.detection.worker import Request, Worker
from re_pose_ros.detections import Detections
from re_pose_ros.errors import InputError
from re_pose_ros.geometry import Block, iou, whole
from re_pose_ros.plan import Variant

LABELS = ("person", "bicycle", "car")

sides = st.integers(1, 500)
strides = st.sampled_from([32, 64])
fixed_sizes = st.none() | st.tuples(st.integers(1, 6), st.integers(1, 6)).map(
    lambda size: (32 * size[0], 32 * size[1])
)


def bright_box(batch: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
    """A stand-in for a network: the bounding box of what is brighter than the padding."""
    results = []
    for image in batch:
        ys, xs = np.nonzero(image[..., 0] > 200)
        rows = [[xs.min(), ys.min(), xs.max() + 1, ys.max() + 1, 0.9, 2]] if len(xs) else []
        results.append(np.array(rows, np.float32).reshape(-1, 6))
    return results


def fake_model(name: str = "fake", fixed_size: tuple[int, int] | None = None) -> Model:
    return Model(name, LABELS, 32, fixed_size, 4, "cpu", bright_box)


@pytest.fixture(scope="session")
def weights(shared_data: Path) -> Path:
    pytest.importorskip("ultralytics")
    return shared_data / "weights" / "yolo11n_coco.pt"


@pytest.fixture(scope="session")
def yolo(weights: Path) -> Model:
    return load_model(str(weights))


@pytest.fixture(scope="session")
def people(shared_data: Path) -> NDArray[np.uint8]:
    """A photo of four persons."""
    image = cv2.imread(str(shared_data / "coco256/images/val2017/000000002153.jpg"))
    return np.asarray(image, np.uint8)


# letterbox


@given(width=sides, height=sides, input_size=sides, stride=strides, fixed_size=fixed_sizes)
@settings(max_examples=60, deadline=None)
def test_letterbox_canvas_and_way_back(
    width: int, height: int, input_size: int, stride: int, fixed_size: tuple[int, int] | None
) -> None:
    image = np.zeros((height, width, 3), np.uint8)
    array, scale, pad = letterbox(image, input_size, stride, fixed_size)
    canvas = array.shape[1], array.shape[0]
    assert canvas == canvas_size((width, height), input_size, stride, fixed_size)
    if fixed_size is None:
        assert all(side % stride == 0 for side in canvas)
        assert max(canvas) == -(-input_size // stride) * stride
    else:
        assert canvas == fixed_size

    content = (array[..., 0] == 0).nonzero()
    top, left = content[0].min(), content[1].min()
    bottom, right = content[0].max() + 1, content[1].max() + 1
    assert (left, top) == pad
    assert array[..., 0].size - (array == PADDING_VALUE).all(axis=2).sum() == (
        (right - left) * (bottom - top)
    )
    assert abs((canvas[0] - right) - left) <= 1 and abs((canvas[1] - bottom) - top) <= 1
    back = to_image(np.array([[left, top, right, bottom]]), scale, pad, (width, height))
    assert np.allclose(back, [[0, 0, width, height]], rtol=1e-5)


@given(
    width=st.integers(8, 4000),
    height=st.integers(8, 4000),
    input_size=st.integers(32, 640),
    corners=st.lists(st.floats(0, 1), min_size=4, max_size=4),
)
@settings(max_examples=60, deadline=None)
def test_any_box_survives_the_way_there_and_back(
    width: int, height: int, input_size: int, corners: list[float]
) -> None:
    _, scale, pad = letterbox(np.zeros((height, width, 3), np.uint8), input_size, 32)
    box = np.sort(np.array(corners).reshape(2, 2), axis=0) * [width, height]
    there = box * scale + pad
    assert np.allclose(to_image(there.reshape(1, 4), scale, pad, (width, height)), box.ravel())


def test_boxes_outside_the_image_are_clipped() -> None:
    boxes = np.array([[-50.0, 0, 700, 700]])
    assert to_image(boxes, (0.5, 0.5), (0, 10), (400, 300)).tolist() == [[0, 0, 400, 300]]


# detect, with a stand-in for the network


def test_a_tensor_is_rgb_from_0_to_1_with_channels_together() -> None:
    torch = pytest.importorskip("torch")
    batch = np.random.default_rng(4).integers(0, 256, (3, 64, 32, 3), np.uint8)
    made = to_tensor(batch)
    wanted = torch.from_numpy(batch[..., ::-1].copy()).permute(0, 3, 1, 2).float() / 255
    assert torch.equal(made, wanted) and made.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(to_tensor(batch[:, ::2, ::2]), wanted[:, :, ::2, ::2])


_FAULTS = """
import resource, sys
import numpy as np
from re_pose_ros.detection.memory import keep_freed_memory

def maps():
    kept = [np.ones((size, 1 << 18)) for size in (4, 12)]  # 8 and 24 MiB

if sys.argv[1] == "kept":
    keep_freed_memory()
maps()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(5):
    maps()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="needs the C library of GNU")
def test_memory_of_one_picture_serves_the_next() -> None:
    plain = {k: v for k, v in os.environ.items() if not k.startswith(("MALLOC_", "GLIBC_"))}

    def faults(how: str, **more: str) -> int:
        command = [sys.executable, "-c", _FAULTS, how]
        done = subprocess.run(command, env=plain | more, capture_output=True, text=True, check=True)
        return int(done.stdout)

    kept = faults("kept")
    # With huge pages a page is 2 MiB: 16 for both maps.
    assert kept < 8 and faults("given back") >= 5 * 8
    assert faults("kept", MALLOC_MMAP_THRESHOLD_="65536") >= 5 * 8


def test_results_keep_the_order_of_mixed_shapes() -> None:
    shapes = [(100, 200), (200, 100), (100, 200), (90, 90)] * 3
    images = [np.zeros((*shape, 3), np.uint8) for shape in shapes]
    for i, image in enumerate(images):
        image[10:40, 2 * i : 2 * i + 20] = 255
    found = fake_model().detect(images, 320)
    for i, detections in enumerate(found):
        assert np.allclose(detections.xyxy, [[2 * i, 10, 2 * i + 20, 40]], atol=1.0)


def test_batches_hold_one_shape_and_no_more_than_the_model_takes() -> None:
    seen = []

    def predict(batch: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
        seen.append(batch.shape)
        return bright_box(batch)

    model = Model("fake", LABELS, 32, None, 4, "cpu", predict)
    model.detect([np.zeros((90, 160, 3), np.uint8)] * 6 + [np.zeros((90, 90, 3), np.uint8)], 160)
    assert seen == [(4, 96, 160, 3), (2, 96, 160, 3), (1, 160, 160, 3)]


def test_no_images_give_no_results() -> None:
    assert fake_model().detect([], 320) == []


def test_a_box_in_the_padding_alone_is_dropped() -> None:
    def predict(batch: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
        return [np.array([[0, 0, 320, 3, 0.9, 0]], np.float32) for _ in batch]

    model = Model("fake", LABELS, 32, (320, 320), 1, "cpu", predict)
    assert len(model.detect([np.zeros((90, 160, 3), np.uint8)], 320)[0]) == 0


# class filter and names


def test_classes_by_name_and_id() -> None:
    assert class_ids(["car", 0, "1"], LABELS) == [0, 1, 2]
    assert class_ids([], LABELS) == []
    assert class_ids(["person"], ("person", "person")) == [0]


@pytest.mark.parametrize("item", ["persn", 3, -1, "", "1.5", "99999999"])
def test_unknown_class_names_some_that_exist(item: str | int) -> None:
    with pytest.raises(InputError, match=r"no class '.*'; it has 3, as .*person"):
        class_ids([item], LABELS)


def test_model_names_fit_variants(tmp_path: Path) -> None:
    folder = tmp_path / "yolo11n_int8_openvino_model"
    folder.mkdir()
    assert model_name(folder) == "yolo11n_int8"
    assert model_name(tmp_path / "yolo11n.onnx") == "yolo11n"
    assert model_name(tmp_path / "car_saved_model.pt") == "car_saved_model"
    assert str(Variant.parse(f"{model_name(tmp_path / 'my net@2.pt')}@320")) == "my_net_2@320"


# real weights


def rows(detections: Detections) -> NDArray[np.float32]:
    columns = (detections.xyxy, detections.confidence[:, None], detections.class_id[:, None])
    return np.hstack(columns)


def test_agrees_with_ultralytics_own_predict(
    yolo: Model, weights: Path, people: NDArray[np.uint8]
) -> None:
    import ultralytics

    network: Any = ultralytics.YOLO(str(weights))
    (theirs,) = network.predict([people], imgsz=320, verbose=False, save=False)
    ours = rows(yolo.detect([people], 320)[0])
    assert len(ours) > 3
    assert np.allclose(ours[:, :4], theirs.boxes.xyxy.numpy(), atol=1.0)
    assert np.allclose(ours[:, 4], theirs.boxes.conf.numpy(), atol=0.01)
    assert (ours[:, 5] == theirs.boxes.cls.numpy()).all()


def test_finds_the_labelled_persons(yolo: Model, shared_data: Path) -> None:
    """Four persons and more per photo, small and hidden ones among them."""
    folder = shared_data / "coco256"
    seen: list[bool] = []
    for photo in ("1353", "2153", "5193", "6954", "8690", "11511"):
        name = f"val2017/{photo:0>12}"
        image = np.asarray(cv2.imread(str(folder / f"images/{name}.jpg")), np.uint8)
        labelled = np.loadtxt(folder / f"labels/{name}.txt").reshape(-1, 5)
        centre, extent = labelled[:, 1:3], labelled[:, 3:5]
        boxes = np.hstack([centre - extent / 2, centre + extent / 2])
        boxes *= np.tile([image.shape[1], image.shape[0]], 2)
        person = yolo.labels.index("person")
        (found,) = yolo.detect([image], 640)
        overlap = iou(boxes[labelled[:, 0] == person], found.xyxy[found.class_id == person])
        seen.extend((overlap.max(axis=1) > 0.5).tolist())
    assert len(seen) == 29
    assert np.mean(seen) >= 0.7


def test_result_does_not_depend_on_the_batch(yolo: Model, people: NDArray[np.uint8]) -> None:
    upright = np.ascontiguousarray(people[:, :300])
    images = [people, upright, np.ascontiguousarray(people[:, ::-1]), people[:200], upright]
    together = yolo.detect(images, 320)
    alone = [yolo.detect([image], 320)[0] for image in images]
    for one, other in zip(together, alone, strict=True):
        a, b = rows(one.ranked()), rows(other.ranked())
        assert a.shape == b.shape
        assert np.allclose(a[:, :4], b[:, :4], atol=0.5)
        assert np.allclose(a[:, 4], b[:, 4], atol=0.01)
        assert (a[:, 5] == b[:, 5]).all()


def test_class_filter_and_limits(weights: Path, people: NDArray[np.uint8]) -> None:
    model = load_model(str(weights), classes=["person"], confidence=0.5, max_detections=2)
    (found,) = model.detect([people], 320)
    assert len(found) == 2
    assert (found.class_id == model.labels.index("person")).all()
    assert (found.confidence >= 0.5).all()


def test_scaled_crop_and_full_image_agree(yolo: Model, people: NDArray[np.uint8]) -> None:
    """The same objects lie at the same place, seen whole and in an enlarged crop."""
    height, width = people.shape[:2]
    canvas = np.full((height + 300, width + 500, 3), 114, np.uint8)
    canvas[200 : 200 + height, 300 : 300 + width] = people
    roi = Block(300, 200, width, height)
    crop = cv2.resize(roi.crop(canvas), (width * 3 // 2, height * 3 // 2))
    requests = [
        Request(canvas, whole(width + 500, height + 300)),
        Request(roi.crop(canvas), roi),
        Request(np.asarray(crop, np.uint8), roi),
    ]
    (full, native, scaled), timings = Worker([yolo], [640]).process(requests)
    for seen in (full, native):
        sure = seen.take(np.flatnonzero(seen.confidence > 0.6))
        assert len(sure) >= 3
        overlap = iou(sure.xyxy, scaled.xyxy).max(axis=1)
        # two persons hide each other: their boxes depend on the resolution, but not by a scale
        assert overlap.min() > 0.6
    assert np.median(overlap) > 0.95
    assert sum(timings.request_ms) <= timings.total_ms


# what cannot be loaded


def assert_one_line(error: pytest.ExceptionInfo[InputError], *parts: str) -> None:
    message = str(error.value)
    assert "\n" not in message and len(message) < 400
    for part in parts:
        assert part in message


@pytest.mark.parametrize(
    "name", ["no/such.pt", "no_such.onnx", "no_such_openvino_model", "n.yaml", ""]
)
def test_missing_weights(name: str) -> None:
    with pytest.raises(InputError) as error:
        load_model(name)
    assert_one_line(error, f"'{name}'" if name else "no model", "give")


def test_name_that_nobody_publishes() -> None:
    pytest.importorskip("ultralytics")
    with pytest.raises(InputError) as error:
        load_model("no_such.pt")
    assert_one_line(error, "'no_such.pt'", "path")


def test_weights_by_name_without_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    downloads = pytest.importorskip("ultralytics.utils.downloads")

    def unreachable(*_: object, **__: object) -> None:
        raise ConnectionError("Download failure for https://example.org.\nMay be offline.")

    monkeypatch.setattr(downloads, "safe_download", unreachable)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError) as error:
        load_model("yolo11n.pt")
    assert_one_line(error, "'yolo11n.pt'", "download failed", "give its path")


@pytest.mark.parametrize("name", ["garbage.pt", "garbage.torchscript", "garbage.txt", "garbage"])
@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 not a model at all\n" * 40])
def test_garbage_file(tmp_path: Path, name: str, content: bytes) -> None:
    pytest.importorskip("ultralytics")
    file = tmp_path / name
    file.write_bytes(content)
    with pytest.raises(InputError) as error:
        load_model(str(file))
    assert_one_line(error, name)


def test_truncated_weights(tmp_path: Path, weights: Path) -> None:
    file = tmp_path / "half.pt"
    file.write_bytes(weights.read_bytes()[:100_000])
    with pytest.raises(InputError) as error:
        load_model(str(file))
    assert_one_line(error, "half.pt")


def test_model_for_another_task(tmp_path: Path) -> None:
    ultralytics = pytest.importorskip("ultralytics")
    file = tmp_path / "cls.pt"
    ultralytics.YOLO("yolo11n-cls.yaml").save(file)
    with pytest.raises(InputError) as error:
        load_model(str(file))
    assert_one_line(error, "cls.pt", "classify", "detect")


@pytest.mark.parametrize(
    ("file", "module", "package"),
    [
        ("net.onnx", "onnxruntime", "onnxruntime"),
        ("net.tflite", "ai_edge_litert", "ai-edge-litert"),
        ("net_openvino_model", "openvino", "openvino"),
        ("net.engine", "tensorrt", "tensorrt"),
    ],
)
def test_missing_runtime_names_its_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str, module: str, package: str
) -> None:
    pytest.importorskip("ultralytics")
    path = tmp_path / file
    if file.endswith("_model"):
        path.mkdir()
    else:
        path.write_bytes(b"garbage")
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(InputError) as error:
        load_model(str(path))
    assert_one_line(error, file, f"pip install {package}")


def test_cuda_where_there_is_none(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for device in ("cuda", "cuda:1", "0"):
        with pytest.raises(InputError) as error:
            load_model(str(weights), device=device)
        assert_one_line(error, device, "cpu")


def test_cuda_device_that_does_not_exist(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    for device in ("cuda:1", "7", "cuda:x"):
        with pytest.raises(InputError, match="CUDA devices are 0 to 0"):
            load_model(str(weights), device=device)


def test_unknown_device_and_options(weights: Path) -> None:
    with pytest.raises(InputError, match="device=quantum"):
        load_model(str(weights), device="quantum")
    with pytest.raises(InputError, match="confidence is 2"):
        load_model(str(weights), confidence=2)
    with pytest.raises(InputError, match="iou is -1"):
        load_model(str(weights), iou=-1)
    with pytest.raises(InputError, match="max_detections is 0"):
        load_model(str(weights), max_detections=0)
    with pytest.raises(InputError, match="threads is -1"):
        load_model(str(weights), threads=-1)
    with pytest.raises(InputError, match="no class 'unicorn'"):
        load_model(str(weights), classes=["unicorn"])


# worker


def test_variants_are_the_product_and_fixed_models_have_one() -> None:
    worker = Worker([fake_model("a"), fake_model("b", (320, 192))], [160, 640, 160])
    assert [str(variant) for variant in worker.variants] == ["a@160", "a@640", "b@320"]
    assert worker.default == Variant("a", 160)
    assert worker.labels == LABELS


def test_choice_of_a_variant() -> None:
    worker = Worker([fake_model("a")], [160, 320, 640], Variant("a", 640))
    assert worker.choose(None) == Variant("a", 640)
    assert worker.choose(Variant("a", 320)) == Variant("a", 320)
    assert worker.choose(Variant("a", 300)) == Variant("a", 320)
    assert worker.choose(Variant("a", 240)) == Variant("a", 160)
    assert worker.choose(Variant("a", 9999)) == Variant("a", 640)
    assert worker.choose(Variant("other", 160)) == Variant("a", 640)


def test_workers_that_cannot_be() -> None:
    other_labels = Model("b", ("cat",), 32, None, 1, "cpu", bright_box)
    for models, sizes, default, message in (
        ([], [320], None, "at least one model"),
        ([fake_model("a"), fake_model("a")], [320], None, "called 'a'"),
        ([fake_model("a"), other_labels], [320], None, "different class names"),
        ([fake_model("a")], [], None, "name at least one"),
        ([fake_model("a")], [0], None, "input size 0"),
        ([fake_model("a")], [320], Variant("a", 640), "a@640 is none of a@320"),
    ):
        with pytest.raises(InputError, match=message):
            Worker(models, sizes, default)


@given(
    x=st.integers(0, 2000),
    y=st.integers(0, 1000),
    width=st.integers(64, 800),
    height=st.integers(64, 800),
    scale_x=st.floats(0.4, 2),
    scale_y=st.floats(0.4, 2),
    fixed=st.booleans(),
)
@settings(max_examples=40, deadline=None)
def test_worker_answers_in_full_image_pixels(
    x: int, y: int, width: int, height: int, scale_x: float, scale_y: float, fixed: bool
) -> None:
    roi = Block(x, y, width, height)
    block = np.zeros((height, width, 3), np.uint8)
    box = width // 4, height // 4, 3 * width // 4, 3 * height // 4
    block[box[1] : box[3], box[0] : box[2]] = 255
    size = max(round(width * scale_x), 1), max(round(height * scale_y), 1)
    image = np.asarray(cv2.resize(block, size), np.uint8)
    worker = Worker([fake_model("a", (320, 192) if fixed else None)], [320])
    (found,), _ = worker.process([Request(image, roi)])
    expected = np.add(box, (x, y, x, y))
    pixel = max(width, height) * 5 / 192  # what one pixel of image and input can be in the block
    assert np.abs(found.xyxy - expected).max() <= pixel
    assert (found.xyxy >= (x, y, x, y)).all()
    assert (found.xyxy <= (x + width, y + height, x + width, y + height)).all()


def test_requests_of_several_variants_keep_their_order_and_share_the_time() -> None:
    worker = Worker([fake_model("a"), fake_model("b")], [160, 320])
    requests = []
    for i in range(7):
        image = np.zeros((90, 160, 3), np.uint8)
        image[20:40, 10 * i : 10 * i + 10] = 255
        requests.append(Request(image, Block(1000, 500, 160, 90), worker.variants[i % 4]))
    results, timings = worker.process(requests)
    for i, found in enumerate(results):
        expected = [1000 + 10 * i, 520, 1010 + 10 * i, 540]
        assert np.allclose(found.xyxy, [expected], atol=1.0)
        assert found.block.tolist() == [-1]
    assert len(timings.request_ms) == 7 and min(timings.request_ms) > 0
    assert sum(timings.request_ms) <= timings.total_ms
    assert worker.process([])[0] == []

"""Offline evaluation, with a stand-in network that finds bright squares."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from re_pose_ros.__main__ import main
from re_pose_ros.datasets import GroundTruth, open_dataset, write_bag
from re_pose_ros.detection.model import Model
from re_pose_ros.detections import Detections
from re_pose_ros.errors import InputError
from re_pose_ros.evaluation import evaluate_coco
from re_pose_ros.evaluation.by_size import match
from re_pose_ros.evaluation.class_maps import class_map_of
from re_pose_ros.evaluation.configuration import configurations
from re_pose_ros.evaluation.data import EvaluationData, open_data
from re_pose_ros.evaluation.offline import run_offline
from re_pose_ros.evaluation.outcome import FrameOutcome
from re_pose_ros.evaluation.reference import Reference, reference_blocks
from re_pose_ros.evaluation.run import EvaluateOptions, evaluate
from re_pose_ros.evaluation.scores import Scoring, method_figures
from re_pose_ros.frame import Frame
from re_pose_ros.plan import Variant

WIDTH, HEIGHT = 640, 360
SIDE = 20
PLACES = [(60, 40), (100, 44), (500, 300)]


def squares(batch: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
    """Boxes of the white areas of (B, H, W, 3) images, as a network would report them."""
    results = []
    for image in batch:
        _, _, stats, _ = cv2.connectedComponentsWithStats(
            (image.min(axis=2) > 170).astype(np.uint8)
        )
        rows = [[x, y, x + w, y + h, 0.9, 0] for x, y, w, h, area in stats[1:] if area > 12]
        results.append(np.array(rows, np.float32).reshape(-1, 6))
    return results


def stand_in(predict: Callable[..., Any] = squares, name: str = "squares") -> Model:
    return Model(name, ("square", "other"), 32, None, 8, "cpu", predict)


def picture(shift: int = 0) -> NDArray[np.uint8]:
    image = np.full((HEIGHT, WIDTH, 3), 60, np.uint8)
    for x, y in PLACES:
        image[y : y + SIDE, x + shift : x + shift + SIDE] = 255
    return image


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("re_pose_ros.evaluation.run.load_model", lambda *_, **__: stand_in())


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Five photos with YOLO text; on the fourth one object more is annotated than there is."""
    folder = tmp_path / "photos"
    for part in ("images", "labels"):
        (folder / part).mkdir(parents=True)
    (folder / "data.yaml").write_text("names: [square, other]\n")
    for k in range(5):
        cv2.imwrite(str(folder / f"images/{k}.png"), picture(4 * k))
        boxes = [(x + 4 * k, y) for x, y in PLACES] + ([(300, 100)] if k == 3 else [])
        lines = [
            f"0 {(x + SIDE / 2) / WIDTH} {(y + SIDE / 2) / HEIGHT} {SIDE / WIDTH} {SIDE / HEIGHT}"
            for x, y in boxes
        ]
        (folder / f"labels/{k}.txt").write_text("\n".join(lines))
    return folder


def options(data: Path | str, tmp_path: Path, **more: Any) -> EvaluateOptions:
    settings: dict[str, Any] = {
        "partitioner": ("whole",),
        "input_sizes": (640,),
        "pictures": 0,
        "out": str(tmp_path / "out"),
    }
    return EvaluateOptions(data=[str(data)], **{**settings, **more})


def accuracy(summary: dict[str, Any]) -> dict[str, Any]:
    """All of it that does not depend on the machine's speed, where the files are, or the time."""
    without = {"latency_ms", "stages_ms", "wall_s", "created", "data", "methods"}
    methods = {
        name: [
            {k: v for k, v in row.items() if k not in ("latency_ms", "name", "sequence", "bytes")}
            for row in method["frames"]
        ]
        for name, method in summary["methods"].items()
    }
    return {k: v for k, v in summary.items() if k not in without} | {"rows": methods}


def test_figures_are_those_of_a_hand_count(model: None, photos: Path, tmp_path: Path) -> None:
    summary = evaluate(options(photos, tmp_path))
    assert (summary["frames_done"], summary["frames_asked"]) == (5, 5)
    assert (summary["objects"], summary["missed"], summary["false_positives"]) == (16, 1, 0)
    assert summary["recall"] == 15 / 16
    assert summary["precision"] == 1.0
    # Recall ends at 15/16: the last 6 of 101 points of the curve are at 0.
    assert summary["map50"] == pytest.approx(94 / 101)
    assert summary["classes"] == ["square", "other"]
    rows = summary["methods"]["whole"]["frames"]
    assert [(row["tp"], row["fp"], row["fn"]) for row in rows] == [(3, 0, 0)] * 3 + [
        (3, 0, 1),
        (3, 0, 0),
    ]
    by_size = summary["recall_by_size"]
    assert sum(by_size["objects"]) == 16
    assert [r for r in by_size["recall"] if r is not None] == [15 / 16]
    written = json.loads((tmp_path / "out/summary.json").read_text())
    assert written == json.loads(json.dumps(summary))
    assert set(written["latency_ms"]) == {"mean", "p50", "p95", "p99", "max"}
    assert list(written["stages_ms"]) == ["partition", "encode", "decode", "detect", "fusion"]
    assert (tmp_path / "out/report.html").stat().st_size > 1e6


def test_twice_gives_the_same_to_the_last_digit(model: None, photos: Path, tmp_path: Path) -> None:
    setup = options(photos, tmp_path, partitioner=("clusters", "uniform"), repeat=2)
    first, second = evaluate(setup), evaluate(setup)
    assert accuracy(first) == accuracy(second)


def test_a_bag_gives_what_its_files_give(model: None, photos: Path, tmp_path: Path) -> None:
    bag = tmp_path / "photos.mcap"
    write_bag(open_dataset(photos), bag)
    setup = {"partitioner": ("clusters",), "repeat": 2}
    direct = evaluate(options(photos, tmp_path, **setup))
    through = evaluate(options(bag, tmp_path, **setup))
    assert accuracy(direct) == accuracy(through)


def test_photos_begin_anew_and_are_repeated(model: None, photos: Path, tmp_path: Path) -> None:
    area = {}
    for repeat in (1, 2):
        pipelines = {"clusters": configurations(["clusters"])[0].pipeline([stand_in()])}
        outcomes = list(run_offline(pipelines, open_data([str(photos)]), repeat=repeat))
        plans = [o["clusters"].plan for o in outcomes]
        area[repeat] = [sum(b.block.area for b in plan.blocks) for plan in plans if plan]
    assert area[1] == [WIDTH * HEIGHT] * 5
    assert len(area[2]) == 5
    assert max(area[2]) < WIDTH * HEIGHT


def frames_of(*sequences: str) -> EvaluationData:
    frames = [
        Frame(picture(), k, frame_id=name, truth=GroundTruth.empty())
        for k, name in enumerate(sequences)
    ]
    return EvaluationData(
        "frames",
        ("square",),
        False,
        len(frames),
        lambda: iter(frames),
        lambda positions: (frames[k] for k in positions),
    )


def test_a_sequence_goes_on_until_another_begins() -> None:
    pipelines = {"clusters": configurations(["clusters"])[0].pipeline([stand_in()])}
    areas = [
        sum(b.block.area for b in step["clusters"].plan.blocks)  # type: ignore[union-attr]
        for step in run_offline(pipelines, frames_of("a", "a", "a", "b", "b"))
    ]
    whole = [area == WIDTH * HEIGHT for area in areas]
    assert whole == [True, False, False, True, False]


def test_frames_that_follow_one_another_are_not_repeated() -> None:
    with pytest.raises(InputError, match="follow one another"):
        next(run_offline({}, frames_of("a", "a"), repeat=2))


def test_what_was_computed_before_an_error_is_kept(
    model: None, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def break_later(*arguments: Any, **more: Any) -> EvaluationData:
        data = open_data(*arguments, **more)
        (photos / "images/3.png").write_bytes(b"no picture")
        return data

    monkeypatch.setattr("re_pose_ros.evaluation.run.open_data", break_later)
    with pytest.raises(InputError, match=r"3\.png"):
        evaluate(options(photos, tmp_path, pictures=2))
    summary = json.loads((tmp_path / "out/summary.json").read_text())
    assert (summary["frames_done"], summary["frames_asked"]) == (3, 5)
    assert "3.png" in summary["stopped"]
    assert summary["map50"] == 1.0
    assert "Not complete" in (tmp_path / "out/report.html").read_text()


def test_an_interrupted_run_is_reported(
    monkeypatch: pytest.MonkeyPatch, photos: Path, tmp_path: Path
) -> None:
    seen = []

    def interrupted(batch: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
        seen.append(len(batch))
        if len(seen) == 3:
            raise KeyboardInterrupt
        return squares(batch)

    monkeypatch.setattr(
        "re_pose_ros.evaluation.run.load_model", lambda *_, **__: stand_in(interrupted)
    )
    out = tmp_path / "out"
    command = ["evaluate", str(photos), "--partitioner", "whole", "--out", str(out)]
    assert main([*command, "--input-sizes", "640"]) == 1
    summary = json.loads((out / "summary.json").read_text())
    assert (summary["frames_done"], summary["stopped"]) == (2, "interrupted")


def test_the_command_says_in_one_line_what_cannot_be_used(
    model: None, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    head = ["evaluate", str(photos), "--out", str(tmp_path / "out")]
    for more, text in (
        (["--partitioner", "diagonal"], "diagonal"),
        (["--set", "partitioner.margin:=99"], "margin"),
        (["--set", "partitioner.look:=1"], "look"),
        (["--set", "margin"], "name:=value"),
        (["--class-map", "nobody"], "nobody"),
        (["--classes", "nobody"], "nobody"),
        (["--ground-truth", "/topic"], "/topic"),
        (["--input-sizes", "big"], "big"),
        (["--compare", str(photos / "data.yaml")], "data.yaml"),
        (["--start", "9"], "9"),
        (["--jpeg-quality", "101"], "101"),
        (["--workers", "0"], "0"),
        (["--out", "/dev/null/x"], "/dev/null/x"),
    ):
        assert main([*head, *more]) == 2, more
        printed = capsys.readouterr().err.strip().splitlines()
        assert printed[-1].startswith("re_pose_ros: "), more
        assert text in printed[-1], more
    assert main(["evaluate", str(tmp_path / "nothing"), "--out", str(tmp_path / "out")]) == 2


def test_dropped_and_late_frames_are_misses() -> None:
    truth = GroundTruth.of([[0, 0, 30, 30]], [0])
    found = Detections.of([[0, 0, 30, 30]], [0.9], [0])

    def outcome(index: int, detections: Detections | None, late: bool = False) -> FrameOutcome:
        latency = None if detections is None and not late else 5.0
        return FrameOutcome(
            index, "", "", (640, 360), truth, detections, None, {}, (), (), latency, late
        )

    class_map = class_map_of("identity", ("a",), ("a",))
    figures = method_figures(
        [outcome(0, found), outcome(1, None), outcome(2, None, late=True), outcome(3, found)],
        Scoring(class_map, ("a",), ("a",), 0.25),
    )
    assert (figures["recall"], figures["precision"]) == (0.5, 1.0)
    assert (figures["frames_dropped"], figures["frames_late"]) == (1, 1)
    assert figures["map50"] == pytest.approx(51 / 101)
    assert figures["latency_ms"]["max"] == 5.0


def test_without_ground_truth_it_is_agreement(model: None, tmp_path: Path) -> None:
    folder = tmp_path / "bare"
    folder.mkdir()
    for k in range(3):
        cv2.imwrite(str(folder / f"{k}.png"), picture(3 * k))
    summary = evaluate(options(folder, tmp_path, input_sizes=(320,)))
    assert summary["ground_truth"] == "slow reference"
    assert summary["agreement_objects"] == 9

    def names(value: object) -> set[str]:
        inner = value.values() if isinstance(value, dict) else value
        found = set(value) if isinstance(value, dict) else set()
        return found.union(*map(names, inner)) if isinstance(inner, list) or found else found

    plain = {"map50", "map", "ap_small", "ar", "precision", "recall", "per_class", "tp"}
    assert not plain & (summary.keys() | summary["methods"]["whole"].keys())
    assert not plain & summary["methods"]["whole"]["frames"][0].keys()
    assert "agreement" in (tmp_path / "out/report.html").read_text()


def test_the_reference_looks_at_every_pixel_at_three_scales() -> None:
    size = (1000, 700)
    blocks = [b.block for b in reference_blocks(size, Variant("x", 320))]
    for side in (160, 320, 640):
        seen = np.zeros(size[::-1], bool)
        for block in blocks:
            if (block.width, block.height) == (side, side):
                block.crop(seen)[:] = True  # type: ignore[arg-type]
        assert seen.all(), side
    assert (1000, 700) in [(b.width, b.height) for b in blocks]
    found = Reference([stand_in()], (160, 320)).detect(picture())
    assert len(found) == len(PLACES)


def test_weak_reference_detections_need_not_be_found() -> None:
    def faint(batch: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
        rows = squares(batch)
        for row in rows:
            row[:1, 4] = 0.1
        return rows

    truth = Reference([stand_in(faint)], (640,)).truth(picture(), 0.05)
    assert truth.ignore.any()
    assert not Reference([stand_in()], (640,)).truth(picture(), 0.05).ignore.any()


def test_class_maps_are_given_as_text_or_file(tmp_path: Path) -> None:
    ours, theirs = ("person", "car", "truck"), ("pedestrian", "people", "vehicle")
    chosen = class_map_of(
        "person=pedestrian, person=people,car=vehicle,truck=vehicle", ours, theirs
    )
    assert chosen.labels == ("pedestrian", "vehicle")
    assert chosen.detector == {"person": "pedestrian", "car": "vehicle", "truck": "vehicle"}
    assert chosen.dataset == {
        "pedestrian": "pedestrian",
        "people": "pedestrian",
        "vehicle": "vehicle",
    }
    file = tmp_path / "map.json"
    file.write_text(json.dumps({"person": ["pedestrian", "people"], "car": "vehicle"}))
    assert class_map_of(str(file), ours, theirs).labels == ("pedestrian", "vehicle")
    for text in ("dog=pedestrian", "person=dog", "person=", "=", ","):
        with pytest.raises(InputError):
            class_map_of(text, ours, theirs)
    for content in ("[]", "{}", "{", '{"person": 3}', '{"person": []}', '{"": "people"}', "\xff"):
        file.write_bytes(content.encode("latin-1"))
        with pytest.raises(InputError, match="class map"):
            class_map_of(str(file), ours, theirs)


def test_names_of_configurations_may_carry_a_size() -> None:
    made = configurations(
        ["whole_1280", "uniform_400", "clusters"],
        input_sizes=(640,),
        settings={"partitioner.margin": "0.5", "fusion.merge_threshold": "0.6"},
    )
    assert [c.input_sizes for c in made] == [(640, 1280), (400, 640), (640,)]
    assert made[0].partition.whole_size == 1280
    assert made[1].partition.tile_size == 400
    assert made[2].partition.margin == 0.5
    assert made[2].fusion.merge.threshold == 0.6
    assert made[2].described()["fusion"]["merge_threshold"] == 0.6
    for names in (["clusters_640"], [], ["whole", "whole"]):
        with pytest.raises(InputError):
            configurations(names)


def test_an_annotation_file_may_belong_to_other_frames(tmp_path: Path, photos: Path) -> None:
    text = tmp_path / "gt.txt"
    text.write_text("1,1,61,41,20,20,1,1,1\n3,1,61,41,20,20,1,1,1\n")
    data = open_data([str(photos / "images")], ground_truth=str(text))
    assert [len(f.truth) for f in data.frames() if f.truth is not None] == [1, 0, 1, 0, 0]
    bag = tmp_path / "photos.mcap"
    write_bag(open_dataset(photos), bag)
    through = open_data([str(bag)], ground_truth=str(text))
    assert [len(f.truth) for f in through.frames() if f.truth is not None] == [1, 0, 1, 0, 0]

    coco = tmp_path / "coco.json"
    content: dict[str, Any] = {
        "images": [{"id": k, "file_name": f"frame_{k:06}.png"} for k in (2, 0)],
        "categories": [{"id": 1, "name": "square"}],
        "annotations": [{"image_id": 2, "category_id": 1, "bbox": [1, 2, 3, 4]}],
    }
    coco.write_text(json.dumps(content))
    numbered = list(open_data([str(bag)], ground_truth=str(coco)).frames())
    assert [len(f.truth) for f in numbered if f.truth is not None] == [0, 1]
    assert (numbered[1].image == picture(8)).all()
    content["images"].append({"id": 9, "file_name": "frame_000009.png"})
    coco.write_text(json.dumps(content))
    with pytest.raises(InputError, match="frame_000009"):
        open_data([str(bag)], ground_truth=str(coco))


def test_frames_are_chosen_by_start_count_and_step(photos: Path) -> None:
    for spec, truth in ((photos, True), (photos / "images", False)):
        data = open_data([str(spec)], start=1, count=2, step=2)
        assert data.total == 2
        frames = list(data.frames())
        assert [int(np.nonzero(f.image[45, :, 0] > 200)[0][0]) for f in frames] == [64, 72]
        (one,) = data.some([1])
        assert (one.image == frames[1].image).all()
        assert (frames[0].truth is not None) is truth


def test_hits_by_box_are_those_of_the_metrics() -> None:
    rng = np.random.default_rng(5)
    for _ in range(20):
        corner = rng.uniform(0, 200, (25, 2))
        boxes = np.hstack([corner, corner + rng.uniform(8, 70, (25, 2))])
        truth = GroundTruth.of(
            boxes,
            rng.integers(0, 2, 25),
            ignore=rng.random(25) < 0.2,
            ignored_regions=[[0, 0, 60, 60]],
        )
        moved = boxes + rng.normal(0, 5, boxes.shape)
        moved[:, 2:] = np.maximum(moved[:, 2:], moved[:, :2] + 2)
        found = Detections.of(moved, rng.random(25), truth.class_id).ranked()
        kept = found.take(found.confidence >= 0.3)
        metrics = evaluate_coco([found], [truth], ("a", "b"), confidence=0.3)
        matches = match(kept, truth)
        hit = matches.truth >= 0
        assert (int(hit.sum()), int((~hit & ~matches.excused).sum())) == (
            metrics.counts.true_positives,
            metrics.counts.false_positives,
        )


@pytest.mark.slow
def test_real_photos_give_the_figures_that_were_measured_elsewhere(
    shared_data: Path, tmp_path: Path
) -> None:
    setup = options(
        f"yolo:{shared_data / 'visdrone'}?groups=full10,train7",
        tmp_path,
        model=(str(shared_data / "weights/yolo11n_coco.pt"),),
        class_map="coco->visdrone-pedestrian",
        classes=("pedestrian", "car", "truck", "bus"),
        partitioner=("whole_640",),
        confidence=0.05,
    )
    summary = evaluate(setup)
    assert summary["map50"] == pytest.approx(0.144, abs=0.01)
    assert summary["map"] == pytest.approx(0.088, abs=0.01)
    assert summary["frames_done"] == 47
    sequence = replace(
        setup,
        data=[f"mot:{shared_data / 'mot17'}"],
        class_map="",
        classes=(),
        frames=2,
        partitioner=("clusters",),
    )
    assert math.isfinite(evaluate(sequence)["map50"])

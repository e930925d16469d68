"""The HTML report: complete, self-contained, and drawn by a browser."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from dataclasses import replace
from html import unescape
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import plotly.graph_objects
import pytest

from re_pose_ros.datasets import GroundTruth
from re_pose_ros.detections import Detections
from re_pose_ros.errors import InputError
from re_pose_ros.evaluation.class_maps import class_map_of
from re_pose_ros.evaluation.configuration import configurations
from re_pose_ros.evaluation.data import EvaluationData
from re_pose_ros.evaluation.outcome import FrameOutcome
from re_pose_ros.evaluation.report import (
    Compared,
    Picture,
    read_compared,
    render_report,
    take_pictures,
)
from re_pose_ros.evaluation.report import figures as plots
from re_pose_ros.evaluation.report.predicted import predicted
from re_pose_ros.evaluation.scores import Scoring, method_figures
from re_pose_ros.frame import Frame
from re_pose_ros.geometry import Block
from re_pose_ros.plan import BlockRequest, Plan, PlannedBlock, Slot, Variant
from re_pose_ros.plan_outcome import PlanOutcome

FIGURES = (
    plots.precision_recall,
    plots.stages,
    plots.timeline,
    plots.recall_by_size,
    plots.per_class,
)
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
LABELS = ("person", "car")
SIZE = (800, 450)


def scoring(reference: bool = False) -> Scoring:
    return Scoring(class_map_of("identity", LABELS, LABELS), LABELS, LABELS, 0.25, reference)


def outcomes(seed: int, frames: int = 8) -> list[FrameOutcome]:
    """Frames with some found, some missed and some false objects; the last one is dropped."""
    rng = np.random.default_rng(seed)
    made = []
    for index in range(frames):
        corner = rng.uniform(0, 380, (12, 2))
        boxes = np.hstack([corner, corner + rng.uniform(6, 60, (12, 1))])
        classes = rng.integers(0, 2, 12)
        found = Detections.of(
            boxes[3:] + 40 * (rng.random((9, 1)) < 0.2), rng.random(9), classes[3:]
        )
        block = BlockRequest(Block(20, 30, 400, 300), Variant("net", 320))
        made.append(
            FrameOutcome(
                index=index,
                name=f"frame {index}",
                sequence="one",
                size=SIZE,
                truth=GroundTruth.of(boxes, classes),
                detections=found if index < frames - 1 else None,
                plan=Plan(0, "", (PlannedBlock(Slot("edge_0", 0), block),)),
                stages_ms={"partition": 1.0, "detect": 30.0 + index, "fusion": 0.5},
                block_ms=(30.0,),
                block_bytes=(12_000 + seed,),
                latency_ms=31.5 + index if index < frames - 1 else None,
            )
        )
    return made


def summary_of(
    runs: dict[str, list[FrameOutcome]], *, reference: bool = False, **more: Any
) -> dict[str, Any]:
    methods = {
        name: {
            **method_figures(run, scoring(reference)),
            "settings": configurations(["whole"])[0].described(),
            "notes": ["a note <of> it"],
        }
        for name, run in runs.items()
    }
    summary = {
        "data": ["scene:plaza?seed=1"],
        "ground_truth": "slow reference" if reference else "own",
        "mode": "offline",
        "model": ["net"],
        "device": "cpu",
        "confidence": 0.25,
        "class_map": "identity",
        "classes": list(LABELS),
        "frames_asked": 9,
        "frames_done": 8,
        "start": 0,
        "step": 1,
        "repeat": 1,
        "seeds": [1],
        "settings": {},
        "methods": methods,
        "machine": {
            "processor": "a processor",
            "cores": 2,
            "memory_gib": 8,
            "system": "Linux",
            "python": "3",
        },
        "commit": "abc",
        "created": "2000-01-01T00:00:00+00:00",
        "wall_s": 1.0,
        "stopped": None,
    }
    return json.loads(json.dumps(summary | more))  # as it is read from the file


def two_methods(**more: Any) -> dict[str, Any]:
    return summary_of({"whole": outcomes(1), "clusters": outcomes(2)}, **more)


def planned(seed: int) -> list[FrameOutcome]:
    """As ``outcomes``, of a method that plans for a budget; its first frame expected nothing."""
    run = outcomes(seed)
    return run[:1] + [
        replace(
            frame,
            expected=PlanOutcome(50.0 + k, 48.0 + 2 * k, 9.5, 8 + k % 2, 60.0, "accuracy"),
            clusters=(Block(60, 60, 100, 100),),
        )
        for k, frame in enumerate(run[1:])
    ]


def embedded(report: str) -> dict[str, Any]:
    match = re.search(r'<script type="application/json" id="figures">(.*?)</script>', report, re.S)
    assert match
    return json.loads(match[1])


@pytest.mark.parametrize("reference", [False, True])
def test_every_plot_is_what_plotly_knows(reference: bool) -> None:
    summary = two_methods(reference=reference)
    made = [figure(summary) for figure in FIGURES]
    made.append(plots.accuracy_latency(summary, [Compared("old", {"latency_ms": {}})]))
    for figure in made:
        plotly.graph_objects.Figure(figure)
        assert figure["data"]
        for axis in (v for k, v in figure["layout"].items() if k.startswith("xaxis")):
            assert axis["title"]["text"]


def test_every_method_is_a_point_of_accuracy_against_latency() -> None:
    summary = two_methods()
    earlier = Compared("old: elf", {"map50": 0.4, "latency_ms": {"p50": 900.0, "p95": 950.0}})
    figure = plots.accuracy_latency(summary, [earlier])
    points = {trace["name"]: (trace["x"][0], trace["y"][0]) for trace in figure["data"]}
    assert points.keys() == {"whole", "clusters", "old: elf"}
    assert points["old: elf"] == (900.0, 0.4)
    assert points["whole"] == (34.5, summary["methods"]["whole"]["map50"])
    assert figure["layout"]["xaxis"]["type"] == "log"


def test_the_timeline_has_every_frame_and_gaps_for_dropped_ones() -> None:
    figure = plots.timeline(two_methods())
    assert len(figure["data"]) == 6
    latency = figure["data"][0]
    assert latency["x"] == list(range(8))
    assert latency["y"][-1] is None


def test_predictions_are_shown_against_what_happened() -> None:
    summary = summary_of({"whole": outcomes(1), "re_pose": planned(2)})
    assert summary["methods"]["whole"]["budget"] is None
    budget = summary["methods"]["re_pose"]["budget"]
    assert budget["budget_ms"] == 60.0 and budget["over_budget_share"] == 0.0
    assert budget["happened_ms"]["p50"] == 54.0
    figure = predicted(summary)
    plotly.graph_objects.Figure(figure)
    times, diagonal, values, _ = figure["data"]
    assert times["name"] == values["name"] == "re_pose"
    assert times["x"] == [50.0 + k for k in range(7)]
    assert times["y"] == [48.0 + 2 * k for k in range(7)]
    assert values["x"] == [9.5] * 7 and values["y"] == [8 + k % 2 for k in range(7)]
    assert times["text"] == [f"frame {k}" for k in range(1, 8)]
    assert diagonal["x"] == diagonal["y"] == figure["layout"]["xaxis"]["range"]
    assert times["marker"]["color"] == plots.tinted(plots.colour(1), 0.6), "as in other plots"


def test_only_plans_for_a_budget_are_plotted_against_it() -> None:
    assert "predicted" not in embedded(render_report(two_methods()))
    report = render_report(summary_of({"whole": outcomes(1), "re_pose": planned(2)}))
    assert list(embedded(report))[-1] == "predicted"
    assert "100 Mbit/s" in report
    live = summary_of({"re_pose": planned(2)}, mode="live")
    assert "Mbit/s" not in render_report(live)


def test_the_report_holds_all_and_loads_nothing() -> None:
    picture = Picture("whole", "a <frame>", "3 found", b"\xff\xd8jpeg", (160, 90))
    report = render_report(two_methods(), [picture], [Compared("old: elf", {"map50": 0.123})])
    own = report.replace(re.findall(r"<script>/\*\*.*?</script>", report, re.S)[0], "")
    assert not re.search(r"(src|href|url)\s*[=(]\s*['\"]?(https?:)?//", own)
    assert "http" not in own
    for text in ("whole", "clusters", "old: elf", "0.123", "a processor", "abc", "frame by frame"):
        assert text.lower() in own.lower()
    assert "a <frame>" not in own
    assert "a &lt;frame&gt;" in own
    assert "a note &lt;of&gt; it" in own
    assert list(embedded(report)) == [
        "accuracy_latency",
        "precision_recall",
        "recall_by_size",
        "per_class",
        "stages",
        "timeline",
    ]


def test_names_cannot_break_out_of_the_page() -> None:
    name = "</script><script>alert(1)</script>"
    report = render_report(summary_of({name: outcomes(1)}, data=[name]))
    assert name not in report
    assert any(name in trace["name"] for trace in embedded(report)["timeline"]["data"])
    assert name in unescape(report)


def test_agreement_is_called_so() -> None:
    report = render_report(two_methods(reference=True))
    assert "Agreement with a slow reference" in report
    title = embedded(report)["accuracy_latency"]["layout"]["yaxis"]["title"]["text"]
    assert title == "agreement mAP50"
    assert "Not complete" not in report


def test_an_incomplete_run_says_so() -> None:
    report = render_report(two_methods(stopped="image 9 is broken"))
    assert "8 of 9" in report
    assert "image 9 is broken" in report


def test_methods_without_objects_or_detections_are_reported() -> None:
    bare = [o for o in outcomes(1) if o.detections is None]
    nothing = FrameOutcome(0, "x", "", SIZE, GroundTruth.empty(), None, None, {}, (), (), None)
    for run in (bare, [nothing]):
        report = render_report(summary_of({"whole": run}))
        for figure in embedded(report).values():
            plotly.graph_objects.Figure(figure)


def test_the_worst_frames_are_drawn_with_what_was_wrong() -> None:
    run = outcomes(1)
    frames = [Frame(np.full((SIZE[1], SIZE[0], 3), 90, np.uint8), k) for k in range(len(run))]
    data = EvaluationData(
        "x", LABELS, False, len(frames), lambda: iter(frames), lambda ks: (frames[k] for k in ks)
    )
    pictures = take_pictures(data, {"whole": run, "clusters": run}, scoring(), 3)
    assert [p.method for p in pictures] == ["whole"] * 3 + ["clusters"] * 3
    rows = method_figures(run, scoring())["frames"]
    errors = {row["name"]: row["fp"] + row["fn"] for row in rows}
    shown = [errors[p.name] for p in pictures[:3]]
    assert shown == sorted(errors.values(), reverse=True)[:3]
    for row in rows:
        for p in (p for p in pictures if p.name == row["name"]):
            assert p.caption.startswith(f"{row['tp']} found, {row['fn']} missed, {row['fp']} false")
    assert "dropped" in " ".join(p.caption for p in pictures)
    assert all(p.jpeg.startswith(b"\xff\xd8") and p.size == SIZE for p in pictures)
    assert [p.jpeg for p in pictures[:3]] == [p.jpeg for p in pictures[3:]]
    assert all((frame.image == 90).all() for frame in frames)


def test_pictures_show_clusters_workers_and_use_of_the_budget() -> None:
    frames = [Frame(np.full((SIZE[1], SIZE[0], 3), 90, np.uint8), k) for k in range(8)]
    data = EvaluationData(
        "x", LABELS, False, len(frames), lambda: iter(frames), lambda ks: (frames[k] for k in ks)
    )
    bare = take_pictures(data, {"re_pose": outcomes(1)}, scoring(), 8)
    shown = take_pictures(data, {"re_pose": planned(1)}, scoring(), 8)
    for before, after in zip(bare, shown, strict=True):
        if after.name == "frame 0":
            assert after == before
            continue
        assert "ms of 60 (" in after.caption and "predicted)" in after.caption
        assert "ms of" not in before.caption
        images = [cv2.imdecode(np.frombuffer(p.jpeg, np.uint8), 1) for p in (before, after)]
        changed = np.abs(images[1].astype(int) - images[0]).max(axis=2) > 40
        ys, xs = np.nonzero(changed)
        assert {xs.min(), xs.max(), ys.min(), ys.max()} <= {60, 159}


def test_earlier_results_are_read_or_refused(tmp_path: Path) -> None:
    file = tmp_path / "before" / "summary.json"
    file.parent.mkdir()
    file.write_text(json.dumps(two_methods()))
    read = read_compared(file)
    assert [c.name for c in read] == ["before: whole", "before: clusters"]
    assert read[0].figures["latency_ms"]["p50"] == 34.5
    for content in ("", "[]", "{}", '{"methods": 3}', '{"methods": {"a": 1}}', "{" * 100_000):
        file.write_text(content)
        with pytest.raises(InputError, match=r"summary\.json"):
            read_compared(file)
    file.write_text(
        '{"methods": {"a": {"map50": "x", "latency_ms": [1], "bytes_per_frame": null}}}'
    )
    (odd,) = read_compared(file)
    render_report(two_methods(), compared=[odd])
    with pytest.raises(InputError, match="absent"):
        read_compared(tmp_path / "absent.json")


def browse(report: Path, profile: Path) -> tuple[str, list[str]]:
    """The page as the browser has it in the end, and what was written to its console."""
    browser = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    if browser is None:
        pytest.skip(f"needs a browser, one of {', '.join(BROWSERS)}")
    quiet = (
        "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-sync "
        "--disable-background-networking --disable-component-update --disable-dev-shm-usage"
    )
    command = [browser, *quiet.split(), f"--user-data-dir={profile}", "--enable-logging=stderr"]
    command += ["--virtual-time-budget=30000", "--window-size=1400,3000", "--dump-dom"]
    done = subprocess.run(
        [*command, report.as_uri()], capture_output=True, text=True, timeout=110, check=True
    )
    console = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    return done.stdout, console


def test_a_browser_draws_every_plot_without_complaint(tmp_path: Path) -> None:
    report = tmp_path / "report.html"
    summary = summary_of({"whole": outcomes(1), "re_pose": planned(2)})
    report.write_text(render_report(summary), encoding="utf-8")
    page, console = browse(report, tmp_path / "profile")
    assert console == []
    assert re.search(r'<body[^>]* data-drawn="7"', page)
    drawn = re.split(r'<div class="plot[^"]*" id="', page.partition("<main")[2])[1:]
    parts = {text.partition('"')[0]: text for text in drawn}
    assert len(parts) == 7
    for key, text in parts.items():
        figure = embedded(report.read_text(encoding="utf-8"))[key]
        kinds = {trace["type"] for trace in figure["data"]}
        marks = {"scatter": r'class="trace scatter', "bar": r'class="trace bars'}
        count = sum(len(re.findall(marks[kind], text)) for kind in kinds)
        assert count >= len(figure["data"]), key
        assert "main-svg" in text, key


def test_a_browser_test_would_see_an_error(tmp_path: Path) -> None:
    broken = render_report(two_methods()).replace("Plotly.newPlot(", "Plotly.oldPlot(")
    report = tmp_path / "report.html"
    report.write_text(broken, encoding="utf-8")
    page, console = browse(report, tmp_path / "profile")
    assert any("oldPlot" in line for line in console)
    assert "data-drawn" not in re.search(r"<body[^>]*>", page)[0]  # type: ignore[index]

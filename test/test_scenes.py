"""Scenes: the same again by index, and a truth that agrees with the pixels."""

from __future__ import annotations

import itertools

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from re_pose_ros.errors import InputError
from re_pose_ros.ground_truth import GroundTruth
from re_pose_ros.scenes import CLASSES, Scene, make_scene, parse_spec
from re_pose_ros.scenes.background import Occluder
from re_pose_ros.scenes.layout import Layout
from re_pose_ros.scenes.shapes import Sprite
from re_pose_ros.scenes.truth import hidden_by, scene_truth, visibilities
from re_pose_ros.scenes.world import (
    DRONE,
    PERSON,
    Actor,
    World,
    pose_of,
    smooth_path,
    traffic_light,
)
from re_pose_ros.sources.registry import open_source

KINDS = ("plaza", "street", "yard")
SMALL = (640, 360)


Rendered = tuple[NDArray[np.uint8], GroundTruth]


def same(a: Rendered, b: Rendered) -> bool:
    names = ("xyxy", "class_id", "ignore", "track_id", "visibility")
    return np.array_equal(a[0], b[0]) and all(
        np.array_equal(getattr(a[1], name), getattr(b[1], name)) for name in names
    )


def with_actors(actors: list[Actor], size: tuple[int, int] = SMALL) -> Scene:
    """A plaza where only these are."""
    scene = make_scene("plaza", 3, size, objects=0, light=0, noise=0)
    scene._world = World(actors, [])
    return scene


@pytest.mark.parametrize("kind", KINDS)
def test_a_frame_does_not_depend_on_those_asked_for_before(kind: str) -> None:
    one, other = (make_scene(kind, 5, SMALL, pan=4 * (kind != "plaza")) for _ in range(2))
    forward = {index: one.render(index) for index in (0, 3, 40, 400)}
    for index in (400, 3, 40, 0, 3):
        assert same(other.render(index), forward[index])
    assert not np.array_equal(forward[0][0], forward[40][0])


def test_seeds_and_kinds_differ() -> None:
    frames = [make_scene(kind, seed, (320, 180)).render(0) for kind in KINDS for seed in (0, 1)]
    for a, b in itertools.combinations(frames, 2):
        assert np.abs(a[0].astype(int) - b[0]).mean() > 3
        assert len(a[1]) != len(b[1]) or not np.array_equal(a[1].xyxy, b[1].xyxy)


@pytest.mark.parametrize("kind", KINDS)
def test_truth_lies_in_the_frame(kind: str) -> None:
    scene = make_scene(kind, 2, (960, 540), pan=3)
    for index in (0, 1000, 100_000):
        image, truth = scene.render(index)
        assert image.shape == (540, 960, 3)
        assert image.dtype == np.uint8
        boxes = truth.xyxy
        assert boxes.dtype == np.float32
        assert len(boxes) > 30
        assert np.all(boxes[:, :2] >= 0)
        assert np.all(boxes[:, 2:] <= (960, 540))
        assert np.all(boxes[:, 2:] > boxes[:, :2])
        assert len(set(truth.track_id.tolist())) == len(truth)
        assert np.all((truth.visibility > 0) & (truth.visibility <= 1))
        assert np.array_equal(truth.ignore, truth.visibility < 0.25)
        assert len(truth.ignored_regions) == 0
        assert truth.annotated is None
        assert set(truth.class_id.tolist()) <= set(range(len(CLASSES)))


@pytest.mark.parametrize("kind", KINDS)
def test_sizes_at_4k_are_a_fair_test(kind: str) -> None:
    image, truth = make_scene(kind, 11, light=0).render(50)
    assert image.shape == (2160, 3840, 3)
    heights = truth.xyxy[:, 3] - truth.xyxy[:, 1]
    assert 50 <= len(truth) <= 220
    assert 0.6 <= np.mean(heights < 60) <= 0.9
    # Clear at native resolution: hardly anything is below 12 pixels unless the frame cuts it.
    assert np.mean(heights < 12) < 0.03
    assert heights.max() > 100
    assert len(set(truth.class_id.tolist())) >= 5
    # Dense far away, sparse near: half of the objects are in the upper third below the horizon.
    assert np.mean(truth.xyxy[:, 3] < 0.12 * 2160 + 0.88 * 2160 / 3) > 0.5
    assert np.mean(truth.visibility > 0.5) > 0.5


def test_8k_shows_the_same_scene_larger() -> None:
    _, small = make_scene("yard", 4, (1920, 1080)).render(10)
    image, large = make_scene("yard", 4, (7680, 4320)).render(10)
    assert image.shape == (4320, 7680, 3)
    both = set(small.track_id.tolist()) & set(large.track_id.tolist())
    assert len(both) > 0.95 * len(large)
    small_of = dict(zip(small.track_id.tolist(), small.xyxy, strict=True))
    # Sizes come in steps of a few per cent, places in whole pixels of the small frame.
    off = [
        np.abs(box / 4 - small_of[track]).max()
        for track, box in zip(large.track_id.tolist(), large.xyxy, strict=True)
        if track in both
    ]
    assert np.median(off) < 2


@pytest.mark.parametrize("class_id", range(len(CLASSES)))
def test_a_lone_object_fills_its_box(class_id: int) -> None:
    up = 3.0 if class_id == DRONE else 0.0
    place = smooth_path([(2.0, 45.0, up)])
    scene = with_actors([Actor(class_id, 7, place, yaw=0.7)], (1920, 1080))
    still = with_actors([], (1920, 1080))
    # Shadows change pixels, too, and do not belong to the box.
    scene._cast = lambda *_: None  # type: ignore[method-assign]
    (image, truth), (empty, _) = scene.render(0), still.render(0)
    changed = cv2.absdiff(image, empty).max(axis=2) > 0
    assert len(truth) == 1
    assert truth.visibility[0] > 0.6
    x, y, width, height = cv2.boundingRect(changed.astype(np.uint8))
    assert np.abs(truth.xyxy[0] - (x, y, x + width, y + height)).max() <= 1


def test_an_object_at_the_edge_is_clipped() -> None:
    half = make_scene("plaza", 3, SMALL, objects=0)._layout.camera.half_width(40.0)
    inside, cut = (Actor(2, 5, smooth_path([(x, 40.0)]), yaw=0.1) for x in (0.0, half))
    truth = with_actors([inside, cut]).render(0)[1]
    by_id = dict(zip(truth.track_id.tolist(), range(2), strict=True))
    assert truth.xyxy[by_id[1], 2] == SMALL[0]
    assert 0.2 < truth.visibility[by_id[1]] < 0.8


def test_what_stands_behind_something_is_seen_less() -> None:
    lorry = Actor(4, 5, smooth_path([(0.0, 40.0)]), yaw=0.0)
    hidden = Actor(PERSON, 6, smooth_path([(-1.0, 44.0)]))
    aside = Actor(PERSON, 7, smooth_path([(9.0, 44.0)]))
    scene = with_actors([lorry, hidden, aside], (1920, 1080))
    scene._background.occluders.clear()
    truth = scene.render(0)[1]
    seen = dict(zip(truth.track_id.tolist(), truth.visibility.tolist(), strict=True))
    assert seen == {0: 1.0, 2: 1.0}


def test_what_is_hardly_seen_need_not_be_found() -> None:
    boxes = np.tile([0, 0, 9, 9], (5, 1))
    shares = np.array([0, 0.01, 0.249, 0.25, 1], np.float32)
    truth = scene_truth(boxes, np.arange(5, dtype=np.int32), np.arange(5) + 2**40, shares)
    assert truth.class_id.tolist() == [1, 2, 3, 4]
    assert truth.ignore.tolist() == [True, True, False, False]
    assert truth.visibility.tolist() == shares[1:].tolist()
    assert truth.track_id.tolist() == [2**40 + k for k in (1, 2, 3, 4)]


def test_visibility_counts_pixels() -> None:
    solid = np.full((10, 10), 255, np.uint8)
    full = np.zeros((10, 10, 3), np.uint8)
    sprite = Sprite(full, full, solid, (0, 0), 100)
    corners = [(0, 0), (5, 0), (20, 0)]
    rects = [(x, y, x + 10, y + 10) for x, y in corners]
    post = Occluder((20, 0, 22, 10), solid[:, :2], (0.0, 1.0, 15.0))
    boxes, places = np.array(rects), np.array([[0.0, 30.0], [0.0, 20.0], [0.0, 20.0]])
    behind = hidden_by(boxes, places, [post])
    shares = visibilities([sprite] * 3, corners, rects, behind, [post])
    assert shares.tolist() == pytest.approx([0.5, 1.0, 0.8])
    nearer = hidden_by(boxes, places - 10, [post])
    assert not nearer[2].any()


def test_the_frame_shows_the_nearest_object() -> None:
    near = Actor(3, 5, smooth_path([(0.0, 40.0)]), yaw=0.0)
    far = Actor(4, 6, smooth_path([(0.0, 46.0)]), yaw=0.0)
    one, both = with_actors([near], (960, 540)), with_actors([far, near], (960, 540))
    x1, y1, x2, y2 = one.render(0)[1].xyxy[0].astype(int)
    middle = np.s_[(y1 + y2) // 2 - 3 : (y1 + y2) // 2 + 3, (x1 + x2) // 2 - 5 : (x1 + x2) // 2 + 5]
    assert np.array_equal(one.render(0)[0][middle], both.render(0)[0][middle])


@pytest.mark.parametrize("kind", KINDS)
def test_tracks_last_and_move_smoothly(kind: str) -> None:
    scene = make_scene(kind, 8, SMALL)
    camera = scene._layout.camera
    before: dict[int, tuple[float, float]] = {}
    kept: list[float] = []
    classes: dict[int, int] = {}
    for index in range(50):
        poses = {p.track_id: p for p in scene._world.poses(scene.time_s(index))}
        for track, pose in poses.items():
            assert classes.setdefault(track, pose.actor.class_id) == pose.actor.class_id
            if track in before:
                step = np.hypot(pose.x - before[track][0], pose.z - before[track][1])
                assert step < 18.0 / 25
        if before:
            kept.append(len(before.keys() & poses.keys()) / len(before))
        before = {track: (pose.x, pose.z) for track, pose in poses.items()}
    assert np.mean(kept) > 0.98
    assert camera.nearest > 10


def test_objects_come_and_go() -> None:
    scene = make_scene("plaza", 8, SMALL)
    first, late = (set(scene.render(index)[1].track_id.tolist()) for index in (0, 3000))
    assert first - late
    assert late - first
    assert first & late


def test_a_traffic_light_stops_and_never_turns_back() -> None:
    clock = traffic_light(40.0, 14.0, 3.0)
    times = np.linspace(-30, 200, 4000)
    clocks = np.array([clock(float(t)) for t in times])
    rates = np.diff(clocks) / np.diff(times)
    assert rates.min() >= 0
    assert 0.15 < np.mean(rates < 0.01) < 0.5
    assert rates.max() < 1.6
    assert clocks[-1] - clocks[0] == pytest.approx(230 * 26 / 40, rel=0.1)


def test_paths_are_followed_at_their_speed() -> None:
    actor = Actor(PERSON, 1, smooth_path([(0, 30), (10, 40), (30, 40)]), speed=2.0, born=1.0)
    assert pose_of(actor, 0, 0.9) is None
    pose, later = pose_of(actor, 0, 4.0), pose_of(actor, 0, 4.1)
    assert pose is not None
    assert later is not None
    assert np.hypot(later.x - pose.x, later.z - pose.z) == pytest.approx(0.2, abs=0.01)
    assert pose_of(actor, 0, 1.0 + actor.path.length / 2.0 + 0.1) is None


def test_light_and_noise_are_options() -> None:
    calm = make_scene("plaza", 1, SMALL, objects=0, light=0, noise=0)
    assert np.array_equal(calm.render(0)[0], calm.render(200)[0])
    changing = make_scene("plaza", 1, SMALL, objects=0, light=1, noise=0)
    assert np.abs(changing.render(0)[0].astype(int) - changing.render(200)[0]).mean() > 1
    noisy = make_scene("plaza", 1, SMALL, objects=0, light=0, noise=1)
    spread = (noisy.render(0)[0].astype(int) - noisy.render(1)[0]).std()
    assert 7 < spread < 14


def test_more_objects_and_none() -> None:
    counts = [len(make_scene("plaza", 1, SMALL, objects=f).render(0)[1]) for f in (0, 1, 2)]
    assert counts[0] == 0
    assert counts == sorted(counts)
    assert counts[2] > 1.5 * counts[1]


def test_panning_moves_the_picture_and_its_objects() -> None:
    scene = make_scene("yard", 1, SMALL, pan=10, fps=25)
    shifts = [scene.shift(index) for index in range(200)]
    assert min(shifts) >= 0
    assert max(shifts) <= scene._layout.camera.span - SMALL[0]
    fastest = np.radians(10) * scene._layout.camera.focal / 25
    assert 1 < np.abs(np.diff(shifts)).max() <= np.ceil(fastest) + 1


def test_specs() -> None:
    spec = parse_spec("scene:street?seed=4&size=1280x720&fps=10&frames=7&pan=1.5&noise=0")
    assert (spec.kind, spec.seed, spec.size, spec.fps, spec.frames) == (
        "street", 4, (1280, 720), 10.0, 7,
    )  # fmt: skip
    assert (spec.pan, spec.noise) == (1.5, 0.0)
    assert parse_spec("scene:plaza").size == (3840, 2160)


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        ("scene:", "known: plaza, street, yard"),
        ("scene:moon", "'moon' is not known; known: plaza"),
        ("plaza", "no scene"),
        ("scene:plaza?zoom=2", "'zoom' is not known; known: seed, size"),
        ("scene:plaza?seed", "seed= must be a whole number"),
        ("scene:plaza?seed=1&seed=2", "given twice"),
        ("scene:plaza?seed=-1", "seed=-1 must be a whole number"),
        ("scene:plaza?seed=9999999999", "must lie in 0 to"),
        ("scene:plaza?size=4k", "<width>x<height>"),
        ("scene:plaza?size=10x10", "64x36 to 7680x4320"),
        ("scene:plaza?size=8000x100", "64x36 to 7680x4320"),
        ("scene:plaza?light=2", "light=2 must lie in 0 to 1"),
        ("scene:plaza?noise=nan", "noise=nan must be a number"),
        ("scene:plaza?fps=0", "fps=0 must lie in 1 to 240"),
        ("scene:plaza?frames=0", "frames=0 must lie in 1"),
    ],
)
def test_bad_specs_are_told(spec: str, told: str) -> None:
    with pytest.raises(InputError, match=told) as caught:
        parse_spec(spec)
    assert "\n" not in str(caught.value)


def test_bad_options_are_told() -> None:
    with pytest.raises(InputError, match="'zoom' is not known"):
        make_scene("plaza", zoom=2)
    with pytest.raises(InputError, match="from 0"):
        make_scene("plaza", 0, (64, 36)).render(-1)


def test_a_scene_is_a_source() -> None:
    spec = "scene:yard?seed=2&size=320x180&frames=6&fps=5"
    with open_source(spec, start=2, count=3) as source:
        assert (source.size, source.rate, source.total) == ((320, 180), 5.0, 3)
        frames = list(source)
    assert [frame.index for frame in frames] == [2, 3, 4]
    assert [frame.stamp_ns for frame in frames] == [400_000_000, 600_000_000, 800_000_000]
    scene = Scene(parse_spec(spec))
    assert source.labels == CLASSES
    for frame in frames:
        assert frame.truth is not None
        assert same((frame.image, frame.truth), scene.render(frame.index))
    with open_source(spec) as source:
        assert source.total == 6
    with pytest.raises(InputError, match="start 6 is behind"):
        open_source(spec, start=6)


@pytest.mark.parametrize("size", [(64, 36), (333, 517), (1000, 120)])
def test_odd_sizes(size: tuple[int, int]) -> None:
    image, truth = make_scene("street", 1, size).render(3)
    assert image.shape == (size[1], size[0], 3)
    assert np.all(truth.xyxy[:, 2:] <= size)


def test_people_keep_away_from_what_stands() -> None:
    scene = make_scene("plaza", 1, SMALL)
    layout: Layout = scene._layout
    walkers = [p for p in scene._world.poses(7.0) if p.actor.class_id == PERSON]
    assert np.mean([layout.free(p.x, p.z, -0.2) for p in walkers]) > 0.9

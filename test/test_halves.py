"""What the robot sends and what a worker makes of it, without ROS."""

from __future__ import annotations

import os

import numpy as np
import pytest
from numpy.typing import NDArray

from re_pose_ros.coinference.halves import Halves
from re_pose_ros.coinference.layers import FULL
from re_pose_ros.coinference.setting import Setting
from re_pose_ros.detection.model import Model, load_model
from re_pose_ros.detection.serving import Sent, Service
from re_pose_ros.detection.worker import Worker
from re_pose_ros.detections import Detections
from re_pose_ros.errors import InputError
from re_pose_ros.geometry import Block, iou
from re_pose_ros.image_codec import encode_jpeg
from re_pose_ros.plan import Variant
from re_pose_ros.scenes import Scene, parse_spec

pytest.importorskip("ultralytics")

BLOCK = Block(600, 300, 400, 300)
MUTATIONS = int(os.environ.get("MUTATIONS", "3000"))


@pytest.fixture(scope="module")
def model() -> Model:
    return load_model("scene-n", threads=1)


@pytest.fixture(scope="module")
def halves(model: Model) -> Halves:
    return Halves.of(model)


@pytest.fixture(scope="module")
def picture() -> NDArray[np.uint8]:
    image = Scene(parse_spec("scene:plaza?seed=501&size=1280x720")).render(3)[0]
    return np.ascontiguousarray(image[300:600, 600:1000])


def matched(found: Detections, wanted: Detections) -> float:
    """Share of ``wanted`` that ``found`` has, in about the same place."""
    if not len(found):
        return 0.0
    overlaps = iou(wanted.xyxy.astype(float), found.xyxy.astype(float))
    return float((overlaps.max(axis=1) > 0.8).mean())


def plain_cuts(halves: Halves) -> list[int]:
    """Cuts of the whole network at which the features themselves are sent."""
    network = halves.staged.network
    return [c for c in halves.cuts[FULL] if network.alive(c, FULL) not in halves.staged.bottlenecks]


def test_features_of_eight_bits_find_what_the_whole_network_finds(
    halves: Halves, model: Model, picture: NDArray[np.uint8]
) -> None:
    (wanted,) = model.detect([picture], 320)
    assert len(wanted) >= 3
    for cut in plain_cuts(halves)[1::4]:
        found, size = halves.tail(halves.head(picture, 320, Setting(FULL, cut, 8, 0)))
        assert size == (BLOCK.width, BLOCK.height)
        assert matched(found, wanted) >= 0.8


def test_fewer_bits_are_fewer_bytes(halves: Halves, picture: NDArray[np.uint8]) -> None:
    cut = plain_cuts(halves)[3]
    sizes = [len(halves.head(picture, 320, Setting(FULL, cut, bits, 0))) for bits in (2, 4, 6, 8)]
    assert sizes == sorted(sizes) and sizes[0] < sizes[-1] / 2


def test_every_exit_and_bottleneck_can_be_reached(
    halves: Halves, picture: NDArray[np.uint8]
) -> None:
    for exit in halves.exits:
        for cut in halves.cuts[exit]:
            if halves.staged.network.alive(cut, exit) in halves.staged.bottlenecks:
                halves.tail(halves.head(picture, 160, Setting(exit, cut, 6, 0)))
        (alone,) = halves.at(exit).detect([picture], 160)
        assert isinstance(alone, Detections)


def test_the_whole_network_is_the_network_itself(halves: Halves, model: Model) -> None:
    assert halves.at(FULL) is model
    assert halves.exits[-1] == FULL


@pytest.mark.parametrize(
    ("setting", "named"),
    [
        (Setting("nowhere", 0, 0, 80), "exit 'nowhere'"),
        (Setting(FULL, 999, 8, 0), "cut at 999"),
    ],
)
def test_settings_of_another_network_are_refused(
    halves: Halves, setting: Setting, named: str
) -> None:
    with pytest.raises(InputError, match=named):
        halves.check(setting)


def test_pictures_and_features_are_served_side_by_side(
    halves: Halves, model: Model, picture: NDArray[np.uint8]
) -> None:
    service = Service(Worker([model], [160, 320]))
    assert service.hashes == {"scene-n": halves.model_hash}
    variant = Variant("scene-n", 320)
    features = halves.head(picture, 320, Setting(FULL, plain_cuts(halves)[3], 8, 0))
    served = service.serve(
        [
            Sent(encode_jpeg(picture, 95), False, BLOCK, variant),
            Sent(features, True, BLOCK, variant),
            Sent(features[:-5], True, BLOCK, variant),
            Sent(b"no picture", False, BLOCK, variant),
        ]
    )
    assert [bool(result.problem) for result in served] == [False, False, True, True]
    assert matched(served[1].detections, served[0].detections) >= 0.8
    left, top, right, bottom = BLOCK.xyxy
    boxes = served[1].detections.xyxy
    assert (boxes >= [left, top, left, top]).all() and (boxes <= [right, bottom] * 2).all()
    assert all(result.detect_ms > 0 for result in served[:2])
    assert "\n" not in served[2].problem + served[3].problem


def test_a_service_ends_at_the_exit_asked_for(model: Model) -> None:
    service = Service(Worker([model], [160]))
    with pytest.raises(InputError, match="nowhere"):
        service.ending_at("nowhere")
    assert service.ending_at(FULL) is service.worker


def test_mutated_features_are_refused_one_by_one_and_nothing_else_suffers(
    halves: Halves, model: Model, picture: NDArray[np.uint8]
) -> None:
    service = Service(Worker([model], [160]))
    variant = Variant("scene-n", 160)
    cut = min(halves.cuts[FULL][4:])
    whole = halves.head(picture, 160, Setting(FULL, cut, 4, 0))
    random = np.random.default_rng(7)
    refused = 0
    for _ in range(MUTATIONS):
        data = bytearray(whole)
        kind = random.integers(3)
        at = int(random.integers(len(data)))
        if kind == 0:
            data[at] ^= int(random.integers(1, 256))
        elif kind == 1:
            del data[at:]
        else:
            data[at:at] = random.bytes(int(random.integers(1, 20)))
        (result,) = service.serve([Sent(bytes(data), True, BLOCK, variant)])
        refused += bool(result.problem)
        assert "\n" not in result.problem and len(result.detections) == 0
    assert refused == MUTATIONS
    (sound,) = service.serve([Sent(whole, True, BLOCK, variant)])
    assert not sound.problem

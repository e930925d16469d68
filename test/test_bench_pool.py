"""The bench's worker processes: cores, order, and what goes wrong in them."""

from __future__ import annotations

import os

import bench_model
import numpy as np
import pytest
from numpy.typing import NDArray

from re_pose_ros.bench.pool import Detector, Pool, Task
from re_pose_ros.errors import InputError
from re_pose_ros.geometry import Block
from re_pose_ros.image_codec import encode_jpeg
from re_pose_ros.plan import Variant

ROI = Block(100, 200, 64, 64)


def task(image: NDArray[np.uint8], model: str = "squares") -> Task:
    return Task(encode_jpeg(image, 95), ROI, Variant(model, 64))


def plain(*colour: int) -> NDArray[np.uint8]:
    return np.full((64, 64, 3), colour, np.uint8)


def square_at(x: int) -> NDArray[np.uint8]:
    image = plain(60, 60, 60)
    image[16:32, x : x + 16] = 255
    return image


def test_answers_come_in_the_order_of_the_tasks_in_frame_pixels() -> None:
    with Pool(Detector("squares", load=bench_model.load), 2) as pool:
        assert pool.offer.model == "squares" and pool.offer.labels == ("square",)
        last = len(pool.cores) - 1
        places = [0, 8, 16, 24, 32, 40]
        numbers = [0, last, last, 0, 0, last]
        answers = pool.run([(n, task(square_at(x))) for n, x in zip(numbers, places, strict=True)])
        for x, answer in zip(places, answers, strict=True):
            (box,) = answer.detections.xyxy
            assert np.abs(box - (100 + x, 216, 116 + x, 232)).max() <= 2
            assert answer.decode_ms > 0 and answer.detect_ms > 0 and answer.held_up > 0


def test_every_worker_has_a_core_of_its_own() -> None:
    allowed = sorted(os.sched_getaffinity(0))
    with Pool(Detector("core", load=bench_model.load), 99) as pool:
        assert list(pool.cores) == allowed
        asked = [(k, task(plain(9, 9, 9), "core")) for k in range(len(allowed))]
        cores = [int(a.detections.xyxy[0, 2] - 101) for a in pool.run(asked)]
        assert cores == [min(core, 63) for core in allowed]


def test_there_are_no_more_workers_than_wanted() -> None:
    with Pool(Detector("squares", load=bench_model.load), 1) as pool:
        assert len(pool.cores) == 1


def test_a_dead_worker_is_one_clear_line() -> None:
    with Pool(Detector("dies", load=bench_model.load), 1) as pool:
        pool.run([(0, task(square_at(8), "dies"))])
        with pytest.raises(InputError, match=r"worker 0 of the bench \(core \d+\) ended: signal 9"):
            pool.run([(0, task(plain(0, 0, 255), "dies")), (0, task(square_at(8), "dies"))])
        with pytest.raises(InputError, match="ended"):
            pool.run([(0, task(square_at(8), "dies"))])


def test_what_a_worker_cannot_do_is_told_here() -> None:
    with pytest.raises(InputError, match="model 'absent' does not exist"):
        Pool(Detector("absent", load=bench_model.load), 2)
    with pytest.raises(InputError, match="worker of the bench failed: RuntimeError: the driver is"):
        Pool(Detector("squares", load=bench_model.broken), 1)
    with (
        Pool(Detector("squares", load=bench_model.load), 1) as pool,
        pytest.raises(InputError, match="cut off"),
    ):
        pool.run([(0, Task(encode_jpeg(plain(9, 9, 9), 90)[:-40], ROI))])
    with pytest.raises(InputError, match="clock 'sun' is none of wall, cpu"):
        Detector("squares", clock="sun")  # type: ignore[arg-type]


def test_closing_ends_the_processes() -> None:
    pool = Pool(Detector("squares", load=bench_model.load), 2)
    processes = [peer.process for peer in pool._peers]
    assert all(process.is_alive() for process in processes)
    pool.close()
    assert not any(process.is_alive() for process in processes)


def test_workers_have_all_networks_that_go_together() -> None:
    detector = Detector("squares", load=bench_model.load, others=("core",))
    with Pool(detector, 1) as pool:
        assert pool.offer.models == ("squares", "core") and pool.offer.model == "squares"
        image = np.zeros((64, 64, 3), np.uint8)
        task = Task(encode_jpeg(image, 90), Block(0, 0, 64, 64), Variant("core", 64))
        (answer,) = pool.run([(0, task)])
        assert len(answer.detections) == 1  # of the other network there are none in a black picture
    with pytest.raises(InputError, match="squares"):
        Pool(Detector("squares", load=bench_model.load, others=("squares",)), 1)

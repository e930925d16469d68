"""The whole graph on two hosts, with the link between them cut and mended."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from re_pose_ros.bench.link import TUNER, LinkOptions, bench_link
from re_pose_ros.bench.namespaces import Link
from re_pose_ros.errors import InputError

pytestmark = pytest.mark.ros

OPTIONS = LinkOptions(
    settings=(TUNER,),
    phases=((50.0, 2.0), (0.0, 3.0), (50.0, 6.0)),
    deadline_ms=1000.0,
    rate=4.0,
    source="scene:street?seed=801&size=640x320",
    input_size=320,
)


@pytest.fixture(autouse=True)
def namespaces() -> None:
    try:
        with Link():
            pass
    except InputError as error:
        pytest.skip(str(error))


def test_the_robot_goes_on_alone_while_the_link_is_cut_and_counts_on_the_worker_after(
    tmp_path: Path,
) -> None:
    pytest.importorskip("ultralytics")
    file, plot = tmp_path / "link.json", tmp_path / "link.png"
    found = bench_link(OPTIONS, file=file, plot=plot)["settings"][TUNER]
    assert json.loads(file.read_text())["kind"] == "bench link" and plot.exists()
    usual, cut, mended = found["phases"]
    assert usual["frames"] and cut["frames"] and mended["frames"]
    assert cut["alone_s"] is not None
    end = found["begun_ns"][2]
    last = [f for f in found["frames"] if end - 1e9 <= f["stamp_ns"] < end]
    assert last and not any(frame["bytes"] or frame["there"] for frame in last)
    assert mended["back_s"] is not None

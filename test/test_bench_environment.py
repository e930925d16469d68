"""``bench environment``: steps per second of the environment, which is run for it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from re_pose_ros import __main__ as commands
from re_pose_ros.bench.environment import REWARDS, EnvironmentOptions
from re_pose_ros.errors import InputError

SMALL = ["--scenes", "1", "--drives", "1", "--steps", "30", "--repeats", "2"]


def test_it_writes_what_it_prints(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "environment.json"
    assert commands.main(["bench", "environment", *SMALL, "--json", str(file)]) == 0
    content, printed = json.loads(file.read_text()), capsys.readouterr().out
    assert content["kind"] == "bench environment" and content["beginnings"] > 0
    assert content["settings"]["steps"] == 30 and content["machine"] and content["commit"]
    assert list(content["steps_per_s"]) == list(REWARDS)
    for name, figures in content["steps_per_s"].items():
        # No replay is faster than the fastest parts of all of them.
        assert len(figures["runs"]) == 2 and figures["least"] >= max(figures["runs"]) > 0
        assert name in printed and str(figures["least"]) in printed


@pytest.mark.parametrize("name", ["scenes", "drives", "steps", "repeats"])
def test_nothing_cannot_be_timed(name: str) -> None:
    with pytest.raises(InputError, match=f"{name} is 0"):
        EnvironmentOptions(**{name: 0})


def test_what_cannot_be_written_is_named_at_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    file = tmp_path / "file" / "f.json"
    assert commands.main(["bench", "environment", *SMALL, "--json", str(file)]) == 2
    assert str(file) in capsys.readouterr().err

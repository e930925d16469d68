"""What the options of several commands share."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from re_pose_ros.errors import InputError

if TYPE_CHECKING:
    from re_pose_ros.tuning.recorded import Recordings

Commands = argparse._SubParsersAction  # argparse has no public name for it

DATASETS = """\
datasets: a folder or file of VisDrone, MOT, COCO or YOLO annotations, a bag with ground_truth, or
a generated scene. A format before it where the content does not tell, options behind it:
  path/to/VisDrone2019-DET-val
  visdrone:photos?annotations=ann&count=100
  mot:gt.txt?images=film.mp4
  coco:instances_val.json?images=val2017
  "yolo:photos?names=car,bus"
  "bag:drive.mcap?images=/left/image_raw&ground_truth=/labels"
  "scene:plaza?seed=1&size=3840x2160&frames=150&step=5"
"""


def add_recordings(parser: argparse.ArgumentParser, what: str) -> None:
    """Options for recorded traces of links and loads, which ``recordings`` reads."""
    kinds = (("link", "time_s,mbit_s,rtt_ms"), ("load", "time_s,utilisation"))
    for kind, columns in kinds:
        parser.add_argument(
            f"--{kind}-trace",
            action="extend",
            nargs="+",
            default=[],
            metavar="FILE",
            help=f"recorded {kind}s {what}: CSV files that begin with the line {columns}",
        )


def recordings(arguments: argparse.Namespace) -> Recordings:
    """The traces of ``add_recordings``; InputError for files that are none."""
    from re_pose_ros.tuning.recorded import Recordings

    return Recordings.read(
        [Path(name) for name in arguments.link_trace], [Path(name) for name in arguments.load_trace]
    )


def pairs(items: Sequence[str]) -> dict[str, str]:
    """``name:=value`` as ros2 launch writes it; InputError for anything else."""
    pairs = {}
    for item in items:
        name, mark, value = item.partition(":=")
        if not mark:
            raise InputError(f"'{item}' is no argument; write name:=value")
        pairs[name] = value
    return pairs


def whole_numbers(option: str, text: str) -> list[int]:
    """Of a list with commas; InputError for anything but numbers from 1 on."""
    numbers = [word.strip() for word in text.split(",") if word.strip()]
    for word in numbers:
        if not (word.isascii() and word.isdecimal() and int(word)):
            raise InputError(f"{option}: '{word}' is no whole number from 1 on")
    return [int(word) for word in numbers]


def numbers(option: str, text: str) -> list[float]:
    """Of a list with commas; InputError for anything but numbers."""
    try:
        return [float(word) for word in text.split(",") if word.strip()]
    except ValueError as error:
        raise InputError(f"{option}: '{text}' is no list of numbers") from error

"""``convert``: annotated frames as a rosbag2."""

from __future__ import annotations

import argparse

from re_pose_ros.commands.options import DATASETS, Commands

_NOTES = """\
start=N, count=N and step=N choose frames of any of them.
the bag has image_raw/compressed, ground_truth and ground_truth/label_info; JPEG and PNG files go
in as they are. What was written before an interruption stays and is readable.
"""


def add(commands: Commands[argparse.ArgumentParser]) -> None:
    """The command and its options."""
    convert = commands.add_parser(
        "convert",
        help="write an annotated dataset or a generated scene as a rosbag2",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=DATASETS + _NOTES,
    )
    convert.add_argument("dataset", metavar="DATASET", help="folder, file or scene; see below")
    convert.add_argument("bag", metavar="OUT_BAG", help="*.mcap for a bare file, else a folder")
    convert.add_argument("--format", default="mcap", choices=("mcap", "sqlite3"))
    convert.add_argument(
        "--fps", type=float, help="instead of the dataset's own stamps, or of 10 where it has none"
    )
    convert.add_argument(
        "--jpeg-quality",
        type=int,
        metavar="Q",
        help="1 to 100, for images that are no JPEG files; without it they become PNG, lossless",
    )
    convert.set_defaults(act=_convert)


def _convert(arguments: argparse.Namespace) -> int:
    from re_pose_ros.datasets import open_dataset, write_bag

    frames = open_dataset(arguments.dataset)
    write_bag(
        frames,
        arguments.bag,
        rate=arguments.fps,
        storage=arguments.format,
        jpeg_quality=arguments.jpeg_quality,
    )
    print(f"{arguments.bag}: {len(frames)} frames of {frames.name}")
    return 0

"""``fine-tune``: a candidate for a tuner's policy, from what its decisions led to."""

from __future__ import annotations

import argparse
import os
import threading
from pathlib import Path

from re_pose_ros.commands.options import Commands


def add(commands: Commands[argparse.ArgumentParser]) -> None:
    """The command and its options."""
    parser = commands.add_parser(
        "fine-tune",
        help="make a candidate for a tuner's policy from transitions that a tuner kept, and judge "
        "whether it is better",
    )
    add = parser.add_argument
    add("--transitions", required=True, metavar="FILE", help="that the node tuner kept")
    add("--table", default="", metavar="FILE", help="of its settings; default: that of scene-n")
    add("--policy", default="", metavar="FILE", help="to begin with; default: the shipped one")
    add("--in-use", default="", metavar="FILE", help="to be better than; default: --policy")
    add("--newest", type=int, default=4000, metavar="N", help="transitions that count")
    add("--seed", type=int, default=0)
    add("--out", default="out/fine_tune", metavar="FOLDER", help="for candidate and verdict")
    add(
        "--background",
        action="store_true",
        help="with the lowest priority, and no longer than standard input is open",
    )
    parser.set_defaults(act=_fine_tune)


def _fine_tune(arguments: argparse.Namespace) -> int:
    if arguments.background:
        os.nice(19)
        os.environ["OMP_NUM_THREADS"] = "1"
        threading.Thread(target=_end_with_input, daemon=True).start()
    from re_pose_ros.training.fine_tuning import FineTuning
    from re_pose_ros.training.fine_tuning_command import FineTuneOptions, run

    options = FineTuneOptions(
        Path(arguments.transitions).expanduser(),
        Path(arguments.table) if arguments.table else None,
        Path(arguments.policy) if arguments.policy else None,
        Path(arguments.in_use) if arguments.in_use else None,
        arguments.newest,
        FineTuning(seed=arguments.seed),
        Path(arguments.out),
    )
    verdict = run(options)
    print(f"{'passed' if verdict.passed else 'not passed'}: {verdict.reason}")
    return 0


def _end_with_input() -> None:
    """End this process when whoever started it is gone."""
    # Not sys.stdin, which Python closes before a thread that reads it has ended.
    while os.read(0, 1024):
        pass
    os._exit(1)

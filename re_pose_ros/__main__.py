"""Commands: ``python -m re_pose_ros <command>``."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Sequence

from re_pose_ros import __version__
from re_pose_ros.commands import (
    bench,
    convert,
    demo,
    evaluate,
    fine_tune,
    parameters,
    profile,
    train,
    up,
)
from re_pose_ros.errors import EXIT_BAD_INPUT, InputError

_COMMANDS = (up, demo, evaluate, bench, profile, convert, train, fine_tune, parameters)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m re_pose_ros", description=__doc__)
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(required=True, metavar="command")
    for command in _COMMANDS:
        command.add(commands)
    return parser


def _parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = _parser()
    chosen, rest = parser.parse_known_args(arguments)
    # argparse leaves over what comes behind an option, as in: up source:=0 --file partition a:=b
    options = [word for word in rest if word.startswith("-")]
    if options or (rest and not hasattr(chosen, "argument")):
        parser.error(f"unrecognized arguments: {' '.join(options or rest)}")
    if rest:
        chosen.argument += rest
    return chosen


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code: 0, 1 where interrupted, 2 where something given cannot be used."""
    # A plain kill, or a terminal that is closed, has to stop the started processes too.
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) != signal.SIG_IGN:  # as nohup sets it
            signal.signal(number, signal.default_int_handler)
    try:
        chosen = _parsed(arguments)
        return int(chosen.act(chosen))
    except InputError as error:
        print(f"re_pose_ros: {error}", file=sys.stderr)
        return EXIT_BAD_INPUT
    except KeyboardInterrupt:
        return 1


if __name__ == "__main__":
    sys.exit(main())

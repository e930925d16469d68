"""Commands: ``python -m re_pose_ros <command>``."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Sequence

from re_pose_ros import __version__
from re_pose_ros.errors import EXIT_BAD_INPUT, InputError
from re_pose_ros.graph.description import ARGUMENTS, describe


def _up(arguments: argparse.Namespace) -> int:
    from re_pose_ros.graph.supervisor import Supervisor

    with Supervisor(describe(_pairs(arguments.argument), arguments.file)) as supervisor:
        supervisor.wait()
    return 0


def _demo(arguments: argparse.Namespace) -> int:
    from re_pose_ros.demo.run import DemoOptions, run_demo

    options = DemoOptions(
        source=arguments.source,
        model=arguments.model,
        workers=arguments.workers,
        partitioner=arguments.partitioner,
        frames=arguments.frames,
        out=arguments.out,
        mode=arguments.mode,
        robot=arguments.robot,
        settings=_pairs(arguments.set),
    )
    run_demo(options)
    return 0


def _parameters(arguments: argparse.Namespace) -> int:
    from re_pose_ros.parameters.tables import TABLES

    for table in TABLES.values():
        print(f"### {table.node}\n\n{table.markdown()}\n")
    return 0


def _pairs(items: Sequence[str]) -> dict[str, str]:
    """``name:=value`` as ros2 launch writes it; InputError for anything else."""
    pairs = {}
    for item in items:
        name, mark, value = item.partition(":=")
        if not mark:
            raise InputError(f"'{item}' is no argument; write name:=value")
        pairs[name] = value
    return pairs


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m re_pose_ros", description=__doc__)
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(required=True, metavar="command")

    known = "\n".join(f"  {a.name + ':=' + a.default:<24} {a.doc}" for a in ARGUMENTS)
    up = commands.add_parser(
        "up",
        help="start the graph, where ros2 launch is not installed",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=f"arguments, as for ros2 launch:\n{known}\n  node.parameter:=value    any parameter",
    )
    up.add_argument("argument", nargs="*", metavar="name:=value")
    up.add_argument(
        "--file",
        choices=("re_pose", "detector", "partition"),
        default="re_pose",
        help="as the launch file of that name",
    )
    up.set_defaults(act=_up)

    demo = commands.add_parser("demo", help="run a source through the graph and show the result")
    demo.add_argument("--source", default="", help="video, folder of images, bag or device")
    demo.add_argument("--model", default="", help="weights that ultralytics loads")
    demo.add_argument("--workers", type=int, default=2)
    demo.add_argument("--partitioner", default="clusters", help="clusters, uniform or whole")
    demo.add_argument("--frames", type=int, default=0, help="at most so many; 0 is all")
    demo.add_argument("--out", default="out/demo", help="folder for the results")
    demo.add_argument(
        "--mode",
        default="lockstep",
        choices=("lockstep", "live"),
        help="lockstep: every frame; live: at the source's rate, the latest frame wins",
    )
    demo.add_argument(
        "--robot", action="store_true", help="camera, partitioner and fusion in one process"
    )
    demo.add_argument(
        "--set", action="append", default=[], metavar="node.parameter:=value", help="repeatable"
    )
    demo.set_defaults(act=_demo)

    parameters = commands.add_parser("parameters", help="print the parameters of every node")
    parameters.set_defaults(act=_parameters)
    return parser


def _parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = _parser()
    chosen, rest = parser.parse_known_args(arguments)
    # argparse leaves over what comes behind an option, as in: up source:=0 --file partition a:=b
    options = [word for word in rest if word.startswith("-")]
    if options or (rest and chosen.act is not _up):
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

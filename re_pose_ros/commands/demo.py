"""``demo``: a source through the graph, and what came of it."""

from __future__ import annotations

import argparse

from re_pose_ros.commands.options import Commands, pairs


def add(commands: Commands[argparse.ArgumentParser]) -> None:
    """The command and its options."""
    demo = commands.add_parser("demo", help="run a source through the graph and show the result")
    demo.add_argument(
        "--source",
        default="",
        help="video, folder of images, bag, device, scene:<kind>?... or dataset:<dataset>; "
        "by default a generated plaza at 4K",
    )
    demo.add_argument(
        "--model",
        default="",
        help="scene-n, scene-s (the default), or weights that ultralytics loads; several: a,b",
    )
    demo.add_argument("--workers", type=int, default=2)
    demo.add_argument("--partitioner", default="clusters", help="clusters, elf, uniform or whole")
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


def _demo(arguments: argparse.Namespace) -> int:
    from re_pose_ros.demo.run import MODEL, SOURCE, DemoOptions, run_demo

    options = DemoOptions(
        source=arguments.source or SOURCE,
        model=arguments.model or MODEL,
        workers=arguments.workers,
        partitioner=arguments.partitioner,
        frames=arguments.frames,
        out=arguments.out,
        mode=arguments.mode,
        robot=arguments.robot,
        settings=pairs(arguments.set),
    )
    run_demo(options)
    return 0

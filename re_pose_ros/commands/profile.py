"""``profile``: time and accuracy of networks."""

from __future__ import annotations

import argparse
from pathlib import Path

from re_pose_ros.commands.options import Commands, whole_numbers


def add(commands: Commands[argparse.ArgumentParser]) -> None:
    """The command and its options."""
    profile = commands.add_parser(
        "profile", help="measure networks: time here, and accuracy by object size"
    )
    profile.add_argument("--model", default="scene-n,scene-s", help="weights; several: a,b")
    profile.add_argument("--input-sizes", default="160,320,640", metavar="PIXELS,...")
    profile.add_argument(
        "--data",
        action="append",
        default=[],
        metavar="DATASET",
        help="annotated frames, for the accuracy; repeatable",
    )
    profile.add_argument("--class-map", default="", help="of the model's classes to the data's")
    profile.add_argument(
        "--out", default="", help="file; by default <weights>.profile.json beside each of them"
    )
    profile.add_argument("--crops", type=int, default=2, help="per frame and scale")
    profile.add_argument("--confidence", type=float, default=0.25, help="that recall is taken at")
    profile.add_argument("--seed", type=int, default=0, help="of where the crops are")
    profile.add_argument("--batches", default="2,4,8", help="blocks to time together")
    profile.add_argument("--repeats", type=int, default=10, help="timed runs per variant")
    profile.add_argument("--device", default="cpu", help="cpu, cuda:0, ...")
    profile.add_argument("--threads", type=int, default=0, help="on a CPU; 0: one per core but one")
    profile.set_defaults(act=_profile)


def _profile(arguments: argparse.Namespace) -> int:
    from re_pose_ros.evaluation.profiling import (
        CropSettings,
        ProfileOptions,
        profile_table,
        run_profile,
    )

    options = ProfileOptions(
        models=tuple(filter(None, arguments.model.split(","))),
        input_sizes=tuple(whole_numbers("--input-sizes", arguments.input_sizes)),
        data=tuple(arguments.data),
        class_map=arguments.class_map,
        out=Path(arguments.out) if arguments.out else None,
        batches=tuple(whole_numbers("--batches", arguments.batches)),
        repeats=arguments.repeats,
        device=arguments.device,
        threads=arguments.threads,
        crops=CropSettings(arguments.crops, arguments.confidence, arguments.seed),
    )
    for path, profile in run_profile(options).items():
        print(f"{profile_table(profile)}\n\n{path}")
    return 0

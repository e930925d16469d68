"""``train``: the weights that the package ships."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

from re_pose_ros.commands.options import Commands, add_recordings, recordings, whole_numbers


def add(commands: Commands[argparse.ArgumentParser]) -> None:
    """The command and its options."""
    train = commands.add_parser("train", help="make the weights that the package ships")
    what: Commands[argparse.ArgumentParser] = train.add_subparsers(required=True, metavar="what")
    detector = what.add_parser(
        "detector",
        help="the embedded detectors, on generated scenes; goes on where it was interrupted",
    )
    detector.add_argument("--networks", default="scene-n,scene-s", metavar="NAME,...")
    detector.add_argument("--seed", type=int, default=0)
    detector.add_argument("--scenes", type=int, default=180, help="to cut training pictures from")
    detector.add_argument("--iterations", type=int, default=8000, help="batches")
    detector.add_argument("--processes", type=int, default=0, help="drawing scenes; 0: all cores")
    detector.add_argument("--device", default="cpu", help="cpu, cuda:0, ...")
    detector.add_argument(
        "--float32", action="store_true", help="for CPUs without fast bfloat16 arithmetic"
    )
    detector.add_argument(
        "--out", default="out/train/detector", help="folder for pictures, checkpoints and weights"
    )
    detector.set_defaults(act=_train_detector)
    _add_partitioner(what)
    _add_exits(what)
    _add_table(what)
    _add_tuner(what)


def _add_partitioner(what: Commands[argparse.ArgumentParser]) -> None:
    partitioner = what.add_parser(
        "partitioner",
        help="the agent that refines the partitioner's groups; goes on where it was interrupted",
    )
    partitioner.add_argument("--seeds", default="0,1,2,3,4", metavar="N,...")
    partitioner.add_argument("--steps", type=int, default=300_000, help="per seed")
    partitioner.add_argument("--scenes", type=int, default=240, help="generated, to train on")
    partitioner.add_argument(
        "--data",
        action="append",
        default=[],
        metavar="SPEC",
        help="annotated data or a bag of yours to train on, too; may be repeated",
    )
    partitioner.add_argument(
        "--terms",
        default="",
        metavar="NAME=WEIGHT,...",
        help="reward the planner's score by found, makespan, compactness, variance, count; usually "
        "what is really found is",
    )
    partitioner.add_argument("--processes", type=int, default=0, help="0: all cores")
    partitioner.add_argument(
        "--out", default="out/train/partitioner", help="folder for layouts, agents and report"
    )
    partitioner.set_defaults(act=_train_partitioner)


def _add_exits(what: Commands[argparse.ArgumentParser]) -> None:
    exits = what.add_parser(
        "exits",
        help="exits and bottlenecks of a detector, or AlexNet; goes on where it was interrupted",
    )
    exits.add_argument("--graph", choices=("detector", "alexnet"), default="detector")
    exits.add_argument(
        "--network", default="scene-n", metavar="MODEL", help="the detector; it stays as it is"
    )
    exits.add_argument(
        "--parts", default="exits,bottlenecks", metavar="NAME,...", help="of the detector"
    )
    exits.add_argument(
        "--data",
        default="auto",
        metavar="auto|cifar10|scenes|FOLDER",
        help="AlexNet's pictures; auto: CIFAR-10 where it is or can be downloaded, else scenes",
    )
    exits.add_argument("--seed", type=int, default=0)
    exits.add_argument("--scenes", type=int, default=180, help="to cut training pictures from")
    exits.add_argument(
        "--iterations", type=int, default=0, help="batches; 0: as many as the part needs"
    )
    exits.add_argument("--processes", type=int, default=0, help="drawing scenes; 0: all cores")
    exits.add_argument("--device", default="cpu", help="cpu, cuda:0, ...")
    exits.add_argument(
        "--float32", action="store_true", help="for CPUs without fast bfloat16 arithmetic"
    )
    exits.add_argument(
        "--crops",
        default="out/train/detector/crops",
        help="folder of training pictures, shared with train detector",
    )
    exits.add_argument(
        "--out", default="out/train/exits", help="folder for checkpoints, weights and report"
    )
    exits.set_defaults(act=_train_exits)


def _add_table(what: Commands[argparse.ArgumentParser]) -> None:
    table = what.add_parser(
        "table", help="measure what every setting of co-inference costs and finds, for the tuner"
    )
    table.add_argument("--graph", choices=("detector", "alexnet"), default="detector")
    table.add_argument(
        "--network",
        default="",
        metavar="MODEL",
        help="the detector, by default scene-n; or weights of AlexNet, by default those shipped",
    )
    table.add_argument(
        "--data",
        default="scenes",
        metavar="scenes|cifar10|FOLDER",
        help="AlexNet's pictures, as of train exits",
    )
    table.add_argument("--exits", default="", metavar="NAME,...", help="by default all")
    table.add_argument(
        "--cuts",
        default="few",
        metavar="few|all|N,...",
        help="few: where little is sent; all: wherever features can be sent",
    )
    table.add_argument("--bits", default="2,4,6,8", metavar="N,...", help="of features")
    table.add_argument(
        "--ranges",
        choices=("auto", "channel", "tensor"),
        default="auto",
        help="of quantisation: one for each channel, or for each tensor; auto: by the bits, as "
        "features are sent",
    )
    table.add_argument(
        "--pictures", type=int, default=0, help="for the accuracy; 0: 72 of a detector, 600 else"
    )
    table.add_argument(
        "--held-out",
        default="out/train/exits/held_out",
        help="folder of pictures that nothing was trained on; drawn where they are not there",
    )
    table.add_argument(
        "--out", default="", help="file; by default <weights>.coinference.json beside the weights"
    )
    table.add_argument("--plot", default="", metavar="FILE", help="accuracy over bytes")
    table.set_defaults(act=_measure_table)


def _add_tuner(what: Commands[argparse.ArgumentParser]) -> None:
    tuner = what.add_parser(
        "tuner",
        help="the policy that chooses exit, cut and bits; goes on where it was interrupted",
    )
    tuner.add_argument("--graph", choices=("detector", "alexnet"), default="detector")
    tuner.add_argument(
        "--table",
        default="",
        metavar="FILE",
        help="measured settings, as of train table; default: those shipped",
    )
    tuner.add_argument("--seeds", default="0,1,2,3,4", metavar="N,...")
    tuner.add_argument(
        "--algorithms", default="sac_d", metavar="NAME,...", help="of sac_d, dqn and ppo"
    )
    tuner.add_argument(
        "--ablations", default="", metavar="NAME,...", help="as bench coinference names them"
    )
    add_recordings(tuner, "to train on and judge with, beside those that are drawn")
    tuner.add_argument("--steps", type=int, default=0, help="blocks per seed; 0: the usual")
    tuner.add_argument("--processes", type=int, default=0, help="0: all cores")
    tuner.add_argument(
        "--out", default="out/train/tuner", help="folder for checkpoints, policies and reports"
    )
    tuner.set_defaults(act=_train_tuner)


def _train_detector(arguments: argparse.Namespace) -> int:
    from re_pose_ros.training import detector, report

    folder = Path(arguments.out)
    paths, training = [], {}
    for name in arguments.networks.split(","):
        settings = detector.TrainSettings(
            network=name,
            seed=arguments.seed,
            scenes=arguments.scenes,
            iterations=arguments.iterations,
            bfloat16=not arguments.float32,
        )
        training[name] = dataclasses.asdict(settings)
        paths.append(
            detector.train_detector(
                settings, folder, processes=arguments.processes, device=arguments.device
            )
        )
    result = report.report(paths, training)
    report.write(result, folder)
    print((folder / "README.md").read_text(encoding="utf-8"))
    return 0


def _train_partitioner(arguments: argparse.Namespace) -> int:
    from re_pose_ros.training import partitioner

    seeds = partitioner.numbers(arguments.seeds)
    terms = partitioner.terms_of(arguments.terms)
    trainings = [
        partitioner.PartitionerTraining(seed=seed, steps=arguments.steps, terms=terms)
        for seed in seeds
    ]
    folder = Path(arguments.out)
    partitioner.train_and_report(
        trainings, arguments.data, folder, scenes=arguments.scenes, processes=arguments.processes
    )
    print((folder / "partitioner.md").read_text(encoding="utf-8"))
    return 0


def _train_exits(arguments: argparse.Namespace) -> int:
    from re_pose_ros.training import exit_command

    options = exit_command.ExitOptions(
        seed=arguments.seed,
        scenes=arguments.scenes,
        iterations=arguments.iterations,
        processes=arguments.processes,
        device=arguments.device,
        bfloat16=not arguments.float32,
        crops=Path(arguments.crops),
        out=Path(arguments.out),
    )
    if arguments.graph == "alexnet":
        report = exit_command.make_alexnet(arguments.data, options)
    else:
        report = exit_command.make_detector(arguments.network, arguments.parts.split(","), options)
    print(report.read_text(encoding="utf-8"))
    return 0


def _measure_table(arguments: argparse.Namespace) -> int:
    from re_pose_ros.coinference.alexnet import SHIPPED
    from re_pose_ros.coinference.profile import ActionTable
    from re_pose_ros.training import settings_report, settings_table
    from re_pose_ros.training.settings_scope import ALL, FEW, Scope

    folder, out = Path(arguments.held_out), Path(arguments.out) if arguments.out else None
    scope = Scope(
        tuple(filter(None, arguments.exits.split(","))),
        arguments.cuts
        if arguments.cuts in (FEW, ALL)
        else tuple(whole_numbers("cuts", arguments.cuts)),
        tuple(whole_numbers("bits", arguments.bits)),
        {"auto": None, "channel": True, "tensor": False}[arguments.ranges],
    )
    if arguments.graph == "alexnet":
        weights = Path(arguments.network) if arguments.network else SHIPPED
        path = settings_table.measure_alexnet(
            weights, arguments.data, folder, arguments.pictures or 600, scope, out
        )
    else:
        path = settings_table.measure_detector(
            arguments.network or "scene-n", folder, arguments.pictures or 72, scope, out
        )
    table = ActionTable.read(path)
    if arguments.plot:
        settings_report.save_plot(table, Path(arguments.plot))
    print(settings_report.rates(table))
    print(path)
    return 0


def _train_tuner(arguments: argparse.Namespace) -> int:
    from re_pose_ros.training import partitioner, tuner_command

    options = tuner_command.TunerOptions(
        graphs=(arguments.graph,),
        algorithms=tuple(filter(None, arguments.algorithms.split(","))),
        seeds=tuple(partitioner.numbers(arguments.seeds)),
        ablations=tuple(filter(None, arguments.ablations.split(","))),
        steps=arguments.steps,
        table=Path(arguments.table) if arguments.table else None,
        recordings=recordings(arguments),
        processes=arguments.processes,
        out=Path(arguments.out),
    )
    tuner_command.train_and_report(options)
    print((options.out / arguments.graph / "tuner.md").read_text(encoding="utf-8"))
    return 0

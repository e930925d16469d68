"""The parameters of the node ``tuner``."""

from __future__ import annotations

from re_pose_ros.parameters.shared import AUTOSTART, CROP_WORKERS, LEASE, WORKERS
from re_pose_ros.parameters.table import Parameter, Table
from re_pose_ros.tuning.guard import Bound

TUNER = Table(
    "tuner",
    (
        Parameter("model", "scene-n", "network that the robot runs, as coinference.model there"),
        Parameter(
            "table",
            "",
            "file with the costs and accuracy of the settings; empty is <weights>.coinference.json "
            "beside the weights",
        ),
        Parameter(
            "policy",
            "sac_d",
            "who chooses: sac_d: the shipped policy; greedy: best by what is predicted; fixed: "
            "fixed_setting; or a policy's file",
            live=True,
        ),
        Parameter(
            "fixed_setting",
            "",
            "fixed: taken wherever it can be, as full/jpeg70, full/cut4/6bit or full/device",
            live=True,
        ),
        Parameter("enabled", True, "choose; false leaves all settings as they are", live=True),
        Parameter(
            "deadline_ms",
            150.0,
            "from having a frame to having its detections",
            1.0,
            60_000.0,
            unit="ms",
            live=True,
        ),
        Parameter("rate", 5.0, "choices per second at most", 0.1, 50.0, unit="Hz", live=True),
        Parameter("exits", [""], "where the network may end; empty is anywhere", live=True),
        Parameter(
            "cuts",
            [-2],
            "first layer on the worker that may be used; 0 is the picture, -1 the robot alone, -2 "
            "all of them",
            -2,
            9999,
            live=True,
        ),
        Parameter("bits", [2, 4, 6, 8], "of features, that may be used", 2, 8, live=True),
        Parameter(
            "qualities", [0], "of pictures, that may be used; 0 is all of them", 0, 100, live=True
        ),
        Parameter(
            "least_accuracy",
            0.0,
            "that a setting has to have over all objects to be used",
            0.0,
            1.0,
            live=True,
        ),
        Parameter(
            "least_time",
            0.5,
            "between switches of a worker whose setting meets the deadline",
            0.0,
            60.0,
            unit="s",
            live=True,
        ),
        Parameter(
            "least_gain",
            0.005,
            "settings with predicted rewards closer than this are not exchanged",
            0.0,
            10.0,
            live=True,
        ),
        Parameter("probe_period", 0.5, "time between probes of a link", 0.1, 60.0, unit="s"),
        Parameter(
            "probe_bytes",
            32768,
            "of the largest probe, sent where blocks do not tell the bandwidth; at most 2 percent "
            "of what the link carries",
            0,
            1_000_000,
        ),
        Parameter(
            "fine_tune",
            False,
            "keep what decisions led to, let another process fine-tune the policy on it, and use "
            "what comes out while it does better; greedy, fixed: keep it only",
        ),
        Parameter(
            "transitions",
            "~/.ros/re_pose_ros.transitions.jsonl",
            "fine_tune: file of what decisions led to",
        ),
        Parameter("transitions_limit", 50_000, "per file; there is one older file", 1, 100_000_000),
        Parameter(
            "fine_tune_folder",
            "~/.ros/re_pose_ros.fine_tuning",
            "fine_tune: folder for policies; those that were taken back are remembered there",
        ),
        Parameter(
            "fine_tune_every",
            1000,
            "fine_tune: transitions from one candidate to the next; up to eight times as many "
            "after some were taken back",
            1,
            1_000_000,
        ),
        Parameter(
            "fine_tune_limit",
            600.0,
            "fine_tune: time that the other process may take",
            1.0,
            86_400.0,
            unit="s",
        ),
        Parameter(
            "fine_tune_window",
            Bound().window,
            "fine_tune: decisions for which a new policy is compared with the one before",
            20,
            100_000,
        ),
        Parameter(
            "fine_tune_loss",
            Bound().loss,
            "fine_tune: reward per decision, beyond chance, that a new policy may bring less"
            " and stay",
            0.0,
            10.0,
        ),
        WORKERS,
        CROP_WORKERS,
        LEASE,
        AUTOSTART,
    ),
)

"""``fine-tune``: from files to a candidate and a verdict."""

from __future__ import annotations

import json
import zipfile
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from re_pose_ros.coinference.profile import ActionTable
from re_pose_ros.errors import InputError
from re_pose_ros.training.fine_tuning import (
    LEAST_RECORDS,
    FineTuning,
    Verdict,
    check,
    fine_tune,
)
from re_pose_ros.training.tuner_task import TABLES, WEIGHTS, task_of
from re_pose_ros.tuning.calibration import Calibration
from re_pose_ros.tuning.choosing import SHIPPED_POLICY
from re_pose_ros.tuning.fine_tuning import CANDIDATE, VERDICT
from re_pose_ros.tuning.policy import Policy, save_policy
from re_pose_ros.tuning.records import Records
from re_pose_ros.tuning.transitions import read_kept


@dataclass(frozen=True, slots=True)
class FineTuneOptions:
    """What is read, done and written.

    Attributes:
        transitions: file of the node ``tuner``; the older one beside it counts, too.
        table: of the settings; None for the shipped detector's.
        policy: that the candidate begins as; None for the shipped one.
        in_use: that it has to be better than; None for ``policy``.
        newest: transitions that count.
        how: see there.
        out: folder for candidate and verdict.

    Raises InputError for a number that cannot be.
    """

    transitions: Path
    table: Path | None = None
    policy: Path | None = None
    in_use: Path | None = None
    newest: int = 4000
    how: FineTuning = field(default_factory=FineTuning)
    out: Path = Path("out/fine_tune")

    def __post_init__(self) -> None:
        if self.newest < LEAST_RECORDS:
            raise InputError(f"--newest {self.newest} is less than {LEAST_RECORDS}")


def run(options: FineTuneOptions) -> Verdict:
    """Make a candidate, judge it, and write both.

    Where there are too few transitions there is a verdict, but no candidate. Raises InputError for
    files that cannot be used.
    """
    table = ActionTable.read(options.table or WEIGHTS / TABLES["detector"])
    base = options.policy or SHIPPED_POLICY
    arrays = _arrays(base)
    in_use = _arrays(options.in_use) if options.in_use else arrays
    known = set(map(str, arrays["settings"].tolist()))
    part = table.only(lambda setting: str(setting) in known)
    for path, content in ((base, arrays), (options.in_use or base, in_use)):
        try:
            Policy(content, part)
        except InputError as error:
            raise InputError(f"{path}: {error}") from error
    task = task_of(table, part)
    found = read_kept(options.transitions, table)
    newest = sorted(found, key=lambda entry: entry.stamp_ns)[-options.newest :]
    records = Records.of(newest, table).only(part)
    held_out = records.held_out()
    learned, judged = records.select(~held_out), records.select(held_out)
    if len(learned) < LEAST_RECORDS or not len(judged):
        reason = f"of {len(found)} transitions {len(learned)} can be learned from, too few"
        verdict = Verdict(False, reason, {})
        _write(options.out, verdict, "")
        return verdict
    calibration = Calibration.of(learned)
    candidate = fine_tune(arrays, task, learned, calibration, options.how)
    verdict = check(candidate, in_use, task, judged, calibration)
    path = options.out / CANDIDATE
    save_policy(path, candidate, part)
    _write(options.out, verdict, sha256(path.read_bytes()).hexdigest(), options)
    return verdict


def _arrays(path: Path) -> dict[str, Any]:
    try:
        with np.load(path.expanduser(), allow_pickle=False) as arrays:
            content = dict(arrays)
        content["settings"].tolist()
    except (OSError, EOFError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise InputError(f"the tuner's policy {path} cannot be read: {error}") from error
    return content


def _write(
    out: Path, verdict: Verdict, candidate: str, options: FineTuneOptions | None = None
) -> None:
    """After the candidate, and at once: whoever finds it finds all of it."""
    content: dict[str, Any] = {"candidate": candidate, **asdict(verdict)}
    if options is not None:
        content["how"] = asdict(options.how)
    path = out / VERDICT
    try:
        out.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".part")
        partial.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
        partial.replace(path)
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror}") from error

"""Whatever becomes of the process that learns, the tuner keeps a last good policy."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
import tuning_cases as cases
from fine_tuning_cases import python, recorded, write_policy

from re_pose_ros.errors import InputError
from re_pose_ros.tuning.background import Background, Ended
from re_pose_ros.tuning.choosing import make_chooser
from re_pose_ros.tuning.fine_tuning import CANDIDATE, VERDICT, Files, FineTuning, Schedule
from re_pose_ros.tuning.guard import Bound
from re_pose_ros.tuning.rules import Fixed
from re_pose_ros.tuning.transitions import Transition

TABLE = cases.small_table()
EARLY, LAST = 0, 1
COUNT = 30


def lived(action: int, start: int) -> list[Transition]:
    """What came of a policy that always takes one action; those stamped from ``start`` on."""
    traces = cases.steady(COUNT + 1)
    found = recorded(Fixed(action, TABLE.fallback), TABLE, traces)
    return [replace(entry, stamp_ns=entry.stamp_ns + start) for entry in found]


class Case:
    """A tuner's fine-tuning with a process that leaves what a test wants."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.now_s, self.stamp_ns = folder, 0.0, 0
        self.base = write_policy(folder / "base.npz", TABLE, LAST)
        self.command: Callable[[Path], list[str]] = lambda path: python("pass")
        table = folder / "table.json"
        TABLE.write(table)
        files = Files(table, self.base, folder / "transitions", folder / "tuning")
        self.tuning = FineTuning(
            TABLE,
            files,
            Schedule(COUNT, 30.0),
            Bound(window=20),
            lambda path: self.command(path),
        )

    def live(self, action: int) -> None:
        """Some frames go by, and it decides."""
        for entry in lived(action, self.stamp_ns):
            self.stamp_ns += 1
            self.tuning.happened([entry])
            self.tend()

    def tend(self) -> bool:
        return self.tuning.tend(self.now_s, self.stamp_ns)

    def settle(self) -> None:
        """Wait for the process."""
        limit = time.monotonic() + 30
        while self.tuning._process.running:
            assert time.monotonic() < limit
            self.tend()
            time.sleep(0.01)

    def leave(self, action: int, passed: bool = True, *, name: str = "") -> None:
        """The process leaves a policy that takes one action, and a verdict."""
        made = write_policy(self.folder / f"made_{action}.npz", TABLE, action)
        verdict = {
            "candidate": name or sha256(made.read_bytes()).hexdigest(),
            "passed": passed,
            "reason": "made up",
        }
        code = (
            "import shutil, pathlib\n"
            f"shutil.copy({str(made)!r}, {str(self.tuning.files.folder / CANDIDATE)!r})\n"
            f"pathlib.Path({str(self.tuning.files.folder / VERDICT)!r})"
            f".write_text({json.dumps(verdict)!r})"
        )
        self.command = lambda path: python(code)

    def chooses(self) -> int:
        """What the policy in use chooses."""
        chooser = make_chooser(str(self.tuning.in_use), TABLE)
        row = lived(LAST, 0)[0].state[None]
        return int(chooser.choose(row, np.array([LAST]), np.ones((1, 4), bool))[0])


@pytest.fixture
def case(tmp_path: Path) -> Case:
    return Case(tmp_path)


def test_nothing_is_learned_before_there_is_enough(case: Case) -> None:
    started = []
    case.command = lambda path: started.append(path) or python("pass")  # type: ignore[func-returns-value]
    for entry in lived(LAST, 0)[:-1]:
        case.tuning.happened([entry])
        assert not case.tend() and not started
    assert case.tuning.doing == "waiting for 1 more transitions"
    case.tuning.happened(lived(LAST, 100)[:1])
    case.tend()
    assert started == [case.base]
    case.tuning.stop()


def test_a_candidate_that_does_as_well_stays_in_use(case: Case) -> None:
    case.leave(LAST)
    case.live(LAST)
    case.settle()
    assert case.tend() and case.tuning.in_use != case.base
    assert case.chooses() == LAST and case.tuning.counts["used"] == 1
    stays = case.tuning.in_use
    # What comes next is compared with it.
    seen = []
    case.command = lambda path: seen.append(path) or python("pass")  # type: ignore[func-returns-value]
    case.live(LAST)
    assert case.tuning.problem == "" and case.tuning.counts["taken_back"] == 0
    assert seen == [stays] and case.tuning.in_use == stays
    case.tuning.stop()


def test_a_bad_candidate_is_taken_back_and_not_tried_again(case: Case) -> None:
    case.leave(EARLY)
    case.live(LAST)
    case.settle()
    assert case.tend() and case.chooses() == EARLY
    case.live(EARLY)
    assert case.tuning.in_use == case.base and case.chooses() == LAST
    assert "was taken back: -0." in case.tuning.problem
    assert "base.npz is in use again" in case.tuning.problem
    assert case.tuning.counts == {"candidates": 1, "used": 1, "taken_back": 1}
    assert not list(case.tuning.files.folder.glob("policy_*.npz"))

    # After twice as many transitions as before the same comes out.
    case.live(LAST)
    assert not case.tuning._process.running
    case.live(LAST)
    case.settle()
    assert not case.tend() and case.tuning.in_use == case.base
    assert "taken back before" in case.tuning.problem

    # Nor after a new start.
    again = Case(case.folder)
    again.leave(EARLY)
    again.live(LAST)
    again.settle()
    assert not again.tend() and "taken back before" in again.tuning.problem


def test_a_candidate_that_was_not_passed_is_not_used(case: Case) -> None:
    case.leave(EARLY, passed=False)
    case.live(LAST)
    case.settle()
    assert not case.tend() and case.tuning.in_use == case.base
    assert (case.tuning.problem, case.tuning.counts["used"]) == ("", 0)


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("import sys; sys.exit('no torch here')", "code 1: no torch here"),
        ("import os; os.kill(os.getpid(), 9)", "code -9"),
        ("pass", "left no verdict"),
        ("open('{verdict}', 'w').write('{{')", "left no verdict"),
        ("open('{verdict}', 'w').write('[1]')", "left no verdict"),
        ("open('{verdict}', 'w').write('{{\"passed\": 1}}')", "left no verdict"),
    ],
)
def test_a_process_that_dies_or_writes_rubbish_is_told(case: Case, code: str, words: str) -> None:
    verdict = case.tuning.files.folder / VERDICT
    case.command = lambda path: python(code.format(verdict=verdict))
    case.live(LAST)
    case.settle()
    assert words in case.tuning.problem and case.tuning.in_use == case.base
    # It goes on, and what is learned the next time is used.
    case.leave(LAST)
    case.live(LAST)
    case.settle()
    assert case.tend() and case.tuning.problem == ""


def test_a_policy_that_is_none_is_told(case: Case) -> None:
    rubbish = b"nothing"
    code = (
        "import pathlib\n"
        f"folder = pathlib.Path({str(case.tuning.files.folder)!r})\n"
        f"(folder / {CANDIDATE!r}).write_bytes({rubbish!r})\n"
        f'(folder / {VERDICT!r}).write_text(\'{{"candidate": "{sha256(rubbish).hexdigest()}",'
        ' "passed": true, "reason": ""}\')'
    )
    case.command = lambda path: python(code)
    case.live(LAST)
    case.settle()
    assert "cannot be read" in case.tuning.problem and case.tuning.in_use == case.base


def test_a_candidate_other_than_the_judged_one_is_not_used(case: Case) -> None:
    case.leave(LAST, name="0" * 64)
    case.live(LAST)
    case.settle()
    assert "not the one that was judged" in case.tuning.problem


def test_a_process_that_hangs_is_ended_in_time(case: Case) -> None:
    case.command = lambda path: python("import time; time.sleep(600)")
    case.live(LAST)
    assert case.tuning._process.running and case.tuning.doing == "learning"
    case.now_s += 29
    assert not case.tend() and case.tuning._process.running
    case.now_s += 2
    case.tend()
    assert not case.tuning._process.running
    assert "did not end in its time" in case.tuning.problem


def test_a_program_that_is_not_there_is_told(case: Case) -> None:
    case.command = lambda path: ["/no/such/program"]
    case.live(LAST)
    assert "cannot be started" in case.tuning.problem


def test_a_folder_that_cannot_be_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    files = Files(tmp_path, tmp_path, tmp_path, tmp_path / "file")
    with pytest.raises(InputError, match="cannot be used"):
        FineTuning(TABLE, files)


def ended(process: Background) -> Ended:
    limit = time.monotonic() + 30
    while time.monotonic() < limit:
        found = process.ended(0.0)
        if found is not None:
            return found
        time.sleep(0.01)
    raise AssertionError("it goes on")


def test_a_process_that_does_not_want_to_end_is_ended(tmp_path: Path) -> None:
    process = Background(tmp_path / "log")
    ready = tmp_path / "ready"
    code = (
        "import pathlib, signal, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        f"pathlib.Path({str(ready)!r}).touch()\n"
        "time.sleep(600)"
    )
    process.start(python(code), 60.0, 0.0)
    limit = time.monotonic() + 30
    while not ready.exists() and time.monotonic() < limit:
        time.sleep(0.01)
    child = process._child
    process.stop()
    assert child is not None and child.poll() is not None and not process.running


def test_the_command_in_the_background_ends_with_whoever_started_it(tmp_path: Path) -> None:
    """Its owner is killed; its standard input is all that tells."""
    pid = tmp_path / "pid"
    owner = (
        "import pathlib, subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time\\n"
        "from re_pose_ros.commands.fine_tune import _end_with_input\\n"
        "import threading; threading.Thread(target=_end_with_input, daemon=True).start()\\n"
        "print(1, flush=True); time.sleep(600)'], stdin=subprocess.PIPE, stdout=subprocess.PIPE)\n"
        "child.stdout.readline()\n"
        f"pathlib.Path({str(pid)!r}).write_text(str(child.pid))\n"
        "import os; os.kill(os.getpid(), 9)"
    )
    process = Background(tmp_path / "log")
    process.start([sys.executable, "-c", owner], 60.0, 0.0)
    assert "code -9" in ended(process).reason
    limit = time.monotonic() + 30
    while Path(f"/proc/{pid.read_text()}/stat").exists() and time.monotonic() < limit:
        if Path(f"/proc/{pid.read_text()}/stat").read_text().split()[2] == "Z":
            break
        time.sleep(0.01)
    else:
        assert not Path(f"/proc/{pid.read_text()}/stat").exists()

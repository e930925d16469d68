"""What the tuner chooses: where the network ends, where it is cut, and what is sent."""

from __future__ import annotations

import re
from dataclasses import dataclass

from re_pose_ros.errors import InputError

DEVICE = -1
"""The cut behind the last stage: all runs on the robot, nothing is sent."""

BITS = (2, 4, 6, 8)
"""What features can be quantised to."""

_NAME = re.compile(r"[A-Za-z0-9_.-]+")
_TEXT = re.compile(r"([^/]+)/(?:(device)|jpeg(\d{1,3})|cut(\d{1,4})/(\d)bit)")


@dataclass(frozen=True, slots=True, order=True)
class Setting:
    """One way to share a network between robot and worker.

    As text: ``p5/device``, ``p5/jpeg70`` or ``p5/cut4/6bit``.

    Attributes:
        exit: where the result comes out; letters, digits, dots, hyphens and underscores.
        cut: index of the first stage on the worker; 0 sends the picture, ``DEVICE`` nothing.
        bits: of the features, one of ``BITS``; 0 where no features are sent.
        quality: of the JPEG picture at cut 0, 1 to 100; 0 elsewhere.

    Raises InputError for anything else.
    """

    exit: str
    cut: int
    bits: int
    quality: int

    def __post_init__(self) -> None:
        if not (isinstance(self.exit, str) and _NAME.fullmatch(self.exit)):
            raise InputError(f"exit {self.exit!r} is no name of letters, digits, '.', '-' and '_'")
        if self.cut < DEVICE:
            raise InputError(f"cut {self.cut} is neither a stage nor {DEVICE} (all on the robot)")
        if self.cut > 0 and self.bits not in BITS:
            raise InputError(f"features cannot have {self.bits} bits; use one of {_listed(BITS)}")
        if self.cut <= 0 and self.bits != 0:
            raise InputError(f"cut {self.cut} sends no features; set bits to 0, not {self.bits}")
        if self.cut == 0 and not 1 <= self.quality <= 100:
            raise InputError(f"JPEG quality {self.quality} is not in [1, 100]")
        if self.cut != 0 and self.quality != 0:
            raise InputError(f"cut {self.cut} sends no JPEG; set quality to 0, not {self.quality}")

    @property
    def sends(self) -> bool:
        """Whether a worker takes part."""
        return self.cut != DEVICE

    @property
    def sends_features(self) -> bool:
        """Whether the worker has to be able to go on from features."""
        return self.cut > 0

    @classmethod
    def parse(cls, text: str) -> Setting:
        """The setting that ``str`` wrote; InputError for other text."""
        match = _TEXT.fullmatch(text)
        if match is None:
            raise InputError(
                f"{text!r} is no setting; write it as p5/device, p5/jpeg70 or p5/cut4/6bit"
            )
        name, device, quality, cut, bits = match.groups()
        if device:
            return cls(name, DEVICE, 0, 0)
        if quality:
            return cls(name, 0, 0, int(quality))
        if int(cut) == 0:
            raise InputError(f"{text!r}: cut 0 sends the picture; write it as {name}/jpeg70")
        return cls(name, int(cut), int(bits), 0)

    def __str__(self) -> str:
        if self.cut == DEVICE:
            return f"{self.exit}/device"
        if self.cut == 0:
            return f"{self.exit}/jpeg{self.quality}"
        return f"{self.exit}/cut{self.cut}/{self.bits}bit"


def _listed(values: tuple[int, ...]) -> str:
    return ", ".join(map(str, values))

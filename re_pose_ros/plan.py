"""What is to be looked at in one frame, by whom and with which network."""

from __future__ import annotations

import re
from dataclasses import dataclass

from re_pose_ros.geometry import Block

_VARIANT = re.compile(r"(?P<model>[^@\s]+)@(?P<size>[1-9][0-9]{0,4})")
_SLOT = re.compile(r"(?P<worker>[A-Za-z][A-Za-z0-9_]*)/slot_(?P<index>0|[1-9][0-9]{0,3})")


DEVICE_NAME = "device"
"""What plans, topics and telemetry call the robot where it works on blocks itself."""


@dataclass(frozen=True, slots=True, order=True)
class Variant:
    """A network at an input size: ``yolo11n@320`` is yolo11n on an input of 320 pixels."""

    model: str
    input_size: int

    def __str__(self) -> str:
        return f"{self.model}@{self.input_size}"

    @classmethod
    def parse(cls, text: str) -> Variant:
        """Raises ValueError where ``text`` is not ``model@size``."""
        match = _VARIANT.fullmatch(text)
        if match is None:
            raise ValueError(f"'{text}' is no variant; expected model@input_size, as yolo11n@320")
        return cls(match["model"], int(match["size"]))


@dataclass(frozen=True, slots=True, order=True)
class Slot:
    """One place on a worker that takes one block per frame; on topics ``edge_0/slot_2``."""

    worker: str
    index: int

    def __str__(self) -> str:
        return f"{self.worker}/slot_{self.index}"

    @classmethod
    def parse(cls, text: str) -> Slot:
        """Raises ValueError where ``text`` is not ``worker/slot_k``."""
        match = _SLOT.fullmatch(text)
        if match is None:
            raise ValueError(f"'{text}' is no slot; expected worker/slot_k, as edge_0/slot_2")
        return cls(match["worker"], int(match["index"]))


@dataclass(frozen=True, slots=True)
class BlockRequest:
    """A block, the network asked for it, and who is to look at it.

    Attributes:
        block: what is shown.
        variant: None leaves it to the worker.
        expected_accuracy: share of its objects that a planner expects to be found, in [0, 1]; 0
            where it makes no estimate.
        worker: None leaves it to ``partition.assign``.
    """

    block: Block
    variant: Variant | None = None
    expected_accuracy: float = 0.0
    worker: str | None = None

    @property
    def image_size(self) -> tuple[int, int]:
        """(width, height) of the image sent: the block, shrunk to an input that is smaller."""
        width, height = self.block.width, self.block.height
        scale = 1.0 if self.variant is None else self.variant.input_size / max(width, height)
        if scale >= 1.0:
            return width, height
        return max(1, round(width * scale)), max(1, round(height * scale))

    @property
    def input_scale(self) -> float:
        """Network-input pixels per image pixel; 1 where the variant is unknown."""
        if self.variant is None:
            return 1.0
        return self.variant.input_size / max(self.block.width, self.block.height)


@dataclass(frozen=True, slots=True)
class PlannedBlock:
    """A request placed on a worker's slot."""

    slot: Slot
    request: BlockRequest

    @property
    def block(self) -> Block:
        return self.request.block


@dataclass(frozen=True, slots=True)
class Expectation:
    """What a planner expects of the blocks it asks for.

    Attributes:
        value: number of objects that will be found.
        makespan_ms: from having the frame to having its detections.
        budget_ms: what that may take.
        objective: what was planned for; see ``planning.Objective``.
        done_ms: per block, from having the frame to having its answer.
        clusters: what the blocks were made from.
    """

    value: float
    makespan_ms: float
    budget_ms: float
    objective: str
    done_ms: tuple[float, ...] = ()
    clusters: tuple[Block, ...] = ()


@dataclass(frozen=True, slots=True)
class Plan:
    """All blocks of one frame; their order gives ``Detections.block`` its meaning.

    Attributes:
        stamp_ns: the camera image's time.
        frame_id: the camera image's coordinate frame.
        blocks: at most one per slot.
    """

    stamp_ns: int
    frame_id: str
    blocks: tuple[PlannedBlock, ...]

    def __post_init__(self) -> None:
        slots = [planned.slot for planned in self.blocks]
        if len(set(slots)) != len(slots):
            raise ValueError("a plan may use each slot once")

    @property
    def slots(self) -> tuple[Slot, ...]:
        return tuple(planned.slot for planned in self.blocks)

"""When each part of the frame was last looked at, so that nothing goes unseen for too long."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from re_pose_ros.geometry import Block
from re_pose_ros.plan import PlannedBlock

PROBES = 4
"""Places along each side of a cell at which it is noted whether a block showed it."""
NEVER = -(2**31)
"""Frame in which what was never seen is taken to have been seen."""


class Coverage:
    """A grid of square cells over the frame, each probed at 16 places evenly spread in it.

    A probe counts as seen in a frame where a block of it contains the probe, and a cell where all
    its probes do, so that blocks side by side see what lies between them. Nothing that is wider and
    higher than a quarter of a cell escapes. Cells at the right and lower border are cut off by it.
    """

    def __init__(self, frame_size: tuple[int, int], *, columns: int = 16, least_scale: float = 0.0):
        """A grid where nothing has been seen yet.

        Args:
            frame_size: (width, height) in pixels.
            columns: cells along the width, at least 1; fewer where these would be no pixel wide.
            least_scale: network-input pixels per image pixel; a look at less is none.
        """
        if columns < 1 or min(frame_size) < 1:
            raise ValueError(f"{columns} columns over a frame of {frame_size} pixels")
        width, height = frame_size
        self.frame_size = frame_size
        self.least_scale = least_scale
        self.cell = math.ceil(width / columns)
        across, down = (math.ceil(length / self.cell) for length in frame_size)
        self._x = _probes(across, self.cell, width).tolist()
        self._y = _probes(down, self.cell, height).tolist()
        self._shape = (down, PROBES, across, PROBES)
        self.reset()

    def reset(self) -> None:
        """Nothing was seen, as before another sequence."""
        self._frame = 0
        self._seen = np.full((len(self._y), len(self._x)), NEVER, np.int64)
        self._scale = np.zeros(self._seen.shape)
        self._oldest: NDArray[np.int64] | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the grid."""
        return self._shape[0], self._shape[2]

    def look(self, blocks: Sequence[PlannedBlock], answered: Sequence[bool] | None = None) -> None:
        """A frame in which these blocks were looked at.

        Args:
            blocks: those of the frame's plan; none where the frame was left out.
            answered: per block, whether its detections arrived; None: all.
        """
        if answered is not None and len(answered) != len(blocks):
            raise ValueError(f"{len(answered)} values in answered for {len(blocks)} blocks")
        looks = [
            (planned.request.input_scale, planned.block.xyxy)
            for k, planned in enumerate(blocks)
            if answered is None or answered[k]
        ]
        for scale, (left, top, right, bottom) in sorted(looks):
            if scale < self.least_scale:
                continue
            rows = slice(bisect_left(self._y, top), bisect_left(self._y, bottom))
            columns = slice(bisect_left(self._x, left), bisect_left(self._x, right))
            self._seen[rows, columns] = self._frame
            self._scale[rows, columns] = scale
        self._frame += 1
        self._oldest = None

    def age(self) -> NDArray[np.int64]:
        """Frames since each cell was last seen: 0 in the last frame; shape (rows, columns).

        At least 2**31 - 1 for what was never seen.
        """
        if self._oldest is None:
            # One axis after the other takes half as long as both at once.
            self._oldest = self._seen.reshape(self._shape).min(axis=1).min(axis=2)
        return np.asarray(self._frame - 1 - self._oldest)

    def scale(self) -> NDArray[np.float64]:
        """Network-input pixels per image pixel of the last looks; 0 for never; as ``age``.

        Of one frame the best look counts, within a cell the worst of its places.
        """
        return np.asarray(self._scale.reshape(self._shape).min(axis=(1, 3)))

    def stale(self, limit_frames: int) -> list[Block]:
        """Rectangles without overlap of all cells that must be looked at in the next frame.

        These are the cells that otherwise would have gone unseen for more than ``limit_frames``
        frames: with 0 everything is due in every frame, with 9 in every tenth.
        """
        due = self.age() >= limit_frames
        return self._rectangles(due) if due.any() else []

    def _rectangles(self, due: NDArray[np.bool_]) -> list[Block]:
        """Runs along the rows, joined downwards while they are equal."""
        rects: list[tuple[int, int, int, int]] = []
        running: dict[tuple[int, int], int] = {}
        for y, runs in enumerate([*_runs(due), []]):
            rects += [
                (left, top, right, y)
                for (left, right), top in running.items()
                if (left, right) not in runs
            ]
            running = {run: running.get(run, y) for run in runs}
        width, height = self.frame_size
        blocks = []
        for left, top, right, bottom in rects:
            x, y = left * self.cell, top * self.cell
            x_end, y_end = min(right * self.cell, width), min(bottom * self.cell, height)
            blocks.append(Block(x, y, x_end - x, y_end - y))
        return sorted(blocks, key=lambda block: (block.y, block.x))


def _probes(cells: int, cell: int, length: int) -> NDArray[np.float64]:
    """Middles of the quarters of each cell, those of the last one within ``length``."""
    starts = np.arange(cells) * cell
    sides = np.minimum(starts + cell, length) - starts
    return (starts[:, None] + sides[:, None] * (np.arange(PROBES) + 0.5) / PROBES).ravel()


def _runs(due: NDArray[np.bool_]) -> list[list[tuple[int, int]]]:
    """Per row, (first, behind the last) of each run of True."""
    padded = np.zeros((due.shape[0], due.shape[1] + 2), np.int8)
    padded[:, 1:-1] = due
    edges = padded[:, 1:] - padded[:, :-1]
    runs: list[list[tuple[int, int]]] = [[] for _ in due]
    rows, starts = np.nonzero(edges == 1)
    ends = np.nonzero(edges == -1)[1]
    for row, start, end in zip(rows.tolist(), starts.tolist(), ends.tolist(), strict=True):
        runs[row].append((start, end))
    return runs

"""A network as a graph of stages that may be cut between robot and edge and left at exits.

Nothing here knows what a stage computes: the same class serves the detector and AlexNet. What has
to be sent when the graph is cut are the values that are *alive* across the cut, as in the analysis
of live variables in compilers: made before the cut and needed behind it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from re_pose_ros.errors import InputError

PICTURE = -1
"""The index that stands for the input of the network among the inputs of stages."""


@dataclass(frozen=True, slots=True, eq=False)
class Stage:
    """A node of the graph.

    Attributes:
        name: for tables and messages.
        module: takes the values of ``inputs``, in their order, as positional arguments. It must
            not change them, since others may need them.
        inputs: indices of earlier stages, or ``PICTURE``.
    """

    name: str
    module: Callable[..., Any]
    inputs: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Exit:
    """Where a result comes out.

    Attributes:
        name: as settings and parameters call it.
        output: index of the stage whose value is the result.
    """

    name: str
    output: int


@dataclass(frozen=True, eq=False)
class StagedNetwork:
    """Stages in an order in which they can run, and exits.

    A *cut* is the index of the first stage that runs on the edge; at cut 0 the picture is sent.
    Nothing is sent when the robot goes all the way to an exit (``run``).

    Attributes:
        stages: inputs have lower indices than the stage that takes them.
        exits: ordered by depth; the last is the original network's.

    Raises:
        ValueError: an input is not before its stage, two exits share a name, or there is none.
    """

    stages: tuple[Stage, ...]
    exits: tuple[Exit, ...]

    def __post_init__(self) -> None:
        for index, stage in enumerate(self.stages):
            if not stage.inputs or not all(PICTURE <= i < index for i in stage.inputs):
                raise ValueError(f"stage {index} ({stage.name}) takes {stage.inputs}")
        if not self.exits or len({e.name for e in self.exits}) < len(self.exits):
            raise ValueError("exits need names of their own")
        if not all(0 <= e.output < len(self.stages) for e in self.exits):
            raise ValueError("an exit's output is no stage")

    def exit(self, name: str) -> Exit:
        """The exit of that name; raises InputError where there is none."""
        for candidate in self.exits:
            if candidate.name == name:
                return candidate
        names = ", ".join(e.name for e in self.exits)
        raise InputError(f"exit '{name}' is none of this network's: {names}")

    def used(self, exit: str) -> tuple[int, ...]:
        """Indices of the stages that an exit's result depends on, in the order they run."""
        self.exit(exit)
        return self._used[exit]

    def cuts(self, exit: str) -> tuple[int, ...]:
        """Where the graph can be cut on the way to an exit: 0, or before any stage that is used.

        Between two used stages only the later one's index counts as a cut, so that every cut
        shares the work in another way.
        """
        return (0, *self.used(exit)[1:])

    def sendable_cuts(self, values: Collection[int]) -> dict[str, tuple[int, ...]]:
        """Of each exit, the cuts behind 0 at which only these values are alive, rising.

        Args:
            values: indices of the stages whose values can be sent.
        """
        return {
            exit.name: tuple(
                cut
                for cut in self.cuts(exit.name)
                if cut > 0 and all(index in values for index in self.alive(cut, exit.name))
            )
            for exit in self.exits
        }

    def alive(self, cut: int, exit: str) -> tuple[int, ...]:
        """What has to cross a cut: indices of stages before it (or ``PICTURE``), sorted.

        Raises:
            InputError: no such exit, or no such cut on the way to it.
        """
        used = self.used(exit)
        if cut not in self.cuts(exit):
            known = ", ".join(map(str, self.cuts(exit)))
            raise InputError(f"the way to exit '{exit}' has no cut {cut}, but {known}")
        needed = {i for index in used if index >= cut for i in self.stages[index].inputs}
        return tuple(sorted(i for i in needed if i < cut))

    def head(self, picture: Any, cut: int, exit: str) -> dict[int, Any]:
        """What the robot does: the values that are alive across a cut, by index.

        Args:
            picture: the network's input; at cut 0 it comes back unchanged.
            cut: one of ``cuts(exit)``.
            exit: name of the exit.

        Raises:
            InputError: no such exit, or no such cut on the way to it.
        """
        alive = self.alive(cut, exit)
        values = {PICTURE: picture}
        self._compute(values, (i for i in self.used(exit) if i < cut))
        return {i: values[i] for i in alive}

    def tail(self, values: Mapping[int, Any], cut: int, exit: str) -> Any:
        """What the edge does: the exit's result, from the values that ``head`` gave.

        Raises:
            InputError: no such exit, no such cut on the way to it, or not its values.
        """
        alive = self.alive(cut, exit)
        if set(values) != set(alive):
            raise InputError(
                f"cut {cut} of exit '{exit}' sends {_listed(alive)}, not {_listed(sorted(values))}"
            )
        known = dict(values)
        self._compute(known, (i for i in self.used(exit) if i >= cut))
        return known[self.exit(exit).output]

    def run(self, picture: Any, exit: str) -> Any:
        """All the way from the picture to an exit; raises InputError where there is no such."""
        return self.tail({PICTURE: picture}, 0, exit)

    @cached_property
    def _used(self) -> dict[str, tuple[int, ...]]:
        return {e.name: self._ancestors(e.output) for e in self.exits}

    def _ancestors(self, output: int) -> tuple[int, ...]:
        found, waiting = set(), [output]
        while waiting:
            index = waiting.pop()
            if index != PICTURE and index not in found:
                found.add(index)
                waiting.extend(self.stages[index].inputs)
        return tuple(sorted(found))

    def _compute(self, values: dict[int, Any], indices: Iterable[int]) -> None:
        for index in indices:
            stage = self.stages[index]
            values[index] = stage.module(*(values[i] for i in stage.inputs))


def value_shapes(network: StagedNetwork, picture: Any) -> dict[int, tuple[int, ...]]:
    """The shape of the picture and of each stage's value that is a tensor, by index."""
    import torch

    values = {PICTURE: picture}
    with torch.inference_mode():
        for index, stage in enumerate(network.stages):
            values[index] = stage.module(*(values[i] for i in stage.inputs))
    return {i: tuple(v.shape) for i, v in values.items() if isinstance(v, torch.Tensor)}


def _listed(indices: Iterable[int]) -> str:
    return ", ".join("the picture" if i == PICTURE else f"stage {i}" for i in indices) or "nothing"

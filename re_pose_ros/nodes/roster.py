"""The workers that a partitioner may give blocks to."""

from __future__ import annotations

import time
from collections.abc import Iterable

from re_pose_ros.detection.profile import Profile
from re_pose_ros.nodes.base import PipelineNode
from re_pose_ros.nodes.presence import Presence
from re_pose_ros.nodes.slots import SlotPublishers
from re_pose_ros.plan import Slot, Variant


class Roster:
    """The workers named by the node's parameters, as far as they are there.

    Attributes:
        slots: what blocks are sent by.
    """

    def __init__(self, node: PipelineNode) -> None:
        self._node = node
        self._presence = Presence(node, lambda state: None)
        self._wanted = node.values.whole("slots")
        self.slots = SlotPublishers(node, node.values.texts("workers"), self._wanted)
        self._started = time.monotonic()

    @property
    def names(self) -> list[str]:
        return list(self._presence.states)

    def missing(self) -> list[str]:
        return self._presence.missing()

    def ready(self, *, begun: bool) -> dict[str, list[Slot]]:
        """The usable slots of every worker that is there; empty while some are still expected.

        Lockstep begins with all slots, since what a frame is cut into may depend on their number;
        ``begun`` says that it has, and after ``startup_timeout`` it goes on with those there.
        """
        matched = {
            name: self.slots.matched(name)
            for name, state in self._presence.states.items()
            if state.ready
        }
        starting = not begun and not self.given_up()
        if starting and self._node.lockstep and self.lacking_slots():
            return {}
        return {name: slots for name, slots in matched.items() if slots}

    def given_up(self) -> bool:
        """Whether workers had their time to come up."""
        waited = time.monotonic() - self._started
        return waited >= self._node.values.real("startup_timeout")

    def lacking_slots(self) -> list[str]:
        """Workers of which not all slots are there; of one that is not ours one slot is enough."""
        return [
            name
            for name, state in self._presence.states.items()
            if not state.ready
            or len(self.slots.matched(name)) < (1 if state.foreign else self._wanted)
        ]

    def ours(self) -> frozenset[str]:
        """The workers that tell what they do; those of others only answer."""
        return frozenset(n for n, state in self._presence.states.items() if not state.foreign)

    def profiles(self, names: Iterable[str]) -> dict[str, Profile]:
        """What those of these workers that are ours can do."""
        known = {name: self._presence.states[name].profile for name in names}
        return {name: profile for name, profile in known.items() if profile is not None}


def common_variants(profiles: Iterable[Profile]) -> tuple[Variant, ...]:
    """What all of them offer."""
    offered = [{entry.variant for entry in profile.variants} for profile in profiles]
    return tuple(sorted(set.intersection(*offered))) if offered else ()

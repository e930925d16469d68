"""Whether a topic's publishers live, by what DDS tells of a subscription."""

from __future__ import annotations


class Publishers:
    """Those of one topic; ROS-free.

    DDS counts from when a subscription has matched, and Fast DDS tells only changes: where two
    subscriptions of one process take the same publisher, the later one is not told that it is
    alive, so that ``alive`` falls to -1 when it is lost and is 0 when it is back (``add_writer`` of
    its ``LivelinessManager``). What counts are both numbers, each since its lowest, and how many
    publishers are matched.
    """

    def __init__(self) -> None:
        self._matched = 0
        self._alive = self._lowest_alive = 0
        self._lost = self._lowest_lost = 0

    def matched(self, count: int) -> None:
        """So many publishers are matched."""
        self._matched = count

    def told(self, alive: int, not_alive: int) -> None:
        """The counts of a change of liveliness."""
        self._alive, self._lowest_alive = alive, min(alive, self._lowest_alive)
        self._lost, self._lowest_lost = not_alive, min(not_alive, self._lowest_lost)

    @property
    def any_alive(self) -> bool:
        """Whether any is matched and alive.

        Either way of counting is enough, as the two events of one change come in any order.
        """
        alive, lost = self._alive - self._lowest_alive, self._lost - self._lowest_lost
        return alive > 0 or self._matched > lost

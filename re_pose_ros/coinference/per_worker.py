"""The setting of each worker, from parameters that hold for all of them or one by one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from re_pose_ros.coinference.setting import BITS, DEVICE, Setting
from re_pose_ros.errors import InputError

T = TypeVar("T")


def settings_by_worker(
    workers: Sequence[str],
    exits: Sequence[str],
    cuts: Sequence[int],
    bits: Sequence[int],
    qualities: Sequence[int],
    usual_quality: int,
) -> dict[str, Setting]:
    """What each worker is given.

    Each of the sequences has one entry for all workers, or one per worker in their order. The bits
    count where features are sent and the quality where a picture is, so that parameters that are
    set one after the other never contradict each other.

    Args:
        workers: their names.
        exits: where the network ends.
        cuts: as of ``Setting``.
        bits: as of ``Setting``.
        qualities: as of ``Setting``; 0 takes ``usual_quality``.
        usual_quality: of JPEG, 1 to 100.

    Raises InputError for a wrong number of entries, or a value that cannot be.
    """
    exits = _each("exit", exits, workers)
    cuts = _each("cut", cuts, workers)
    bits = _each("bits", bits, workers)
    qualities = _each("quality", qualities, workers)
    for count in bits:
        if count not in BITS:
            known = ", ".join(map(str, BITS))
            raise InputError(f"coinference.bits={count}: allowed is {known}")
    return {
        worker: Setting(
            exit,
            max(cut, DEVICE),
            count if cut > 0 else 0,
            (quality or usual_quality) if cut == 0 else 0,
        )
        for worker, exit, cut, count, quality in zip(
            workers, exits, cuts, bits, qualities, strict=True
        )
    }


def _each(name: str, values: Sequence[T], workers: Sequence[str]) -> list[T]:
    if len(values) == 1:
        return list(values) * len(workers)
    if len(values) != len(workers):
        raise InputError(
            f"coinference.{name} has {len(values)} values for {len(workers)} workers "
            f"({', '.join(workers)}); give one for all or one per worker"
        )
    return list(values)

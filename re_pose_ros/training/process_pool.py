"""Processes that training is shared among."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import active_children, get_context


@contextmanager
def process_pool(count: int) -> Iterator[ProcessPoolExecutor]:
    """A pool of so many processes; where its body is broken off they end at once.

    What they work on may take an hour, and nobody waits for it who has stopped the command. Each
    has to leave on disc whatever is to be gone on from.
    """
    # A fork of a process with threads, as torch has them, may hang.
    pool = ProcessPoolExecutor(count, get_context("spawn"))
    before = set(active_children())
    try:
        yield pool
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        for child in set(active_children()) - before:
            child.terminate()
        raise
    finally:
        pool.shutdown()

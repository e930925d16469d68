"""Memory of the process between one picture and the next."""

from __future__ import annotations

import ctypes
import os

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # of mallopt(3)
_KEPT = 256 << 20
_LARGEST = 32 << 20  # that glibc allows


def keep_freed_memory() -> None:
    """Have the C library keep up to 256 MiB of what is freed, for the whole process.

    A network frees its feature maps, some megabytes each, after every picture. Where the allocator
    gives them back to the system, the next picture pays for each page anew: on some pictures a
    third of the time of a network's first layers. Nothing is done where there is no glibc, or where
    the environment says how to (``MALLOC_TRIM_THRESHOLD_``, ``GLIBC_TUNABLES``, ...).
    """
    if any(name.startswith(("MALLOC_", "GLIBC_TUNABLES")) for name in os.environ):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_TRIM_THRESHOLD, _KEPT)
        mallopt(_MMAP_THRESHOLD, _LARGEST)

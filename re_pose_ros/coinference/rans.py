"""Range asymmetric numeral systems, in lanes that numpy works on at once.

rANS (Duda, arXiv 1311.2540) with states of 32 bits that are renewed by words of 16 bits,
interleaved as by Giesen (arXiv 1402.3392). Symbols come in groups, each of which depends on those
before it; a step codes up to one symbol per lane and never crosses from one group to the next
(ours). A lane costs three bytes.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from re_pose_ros.errors import InputError

PRECISION = 15
"""Probabilities are multiples of 2 ** -PRECISION."""

_LOW = 1 << 16  # states are in [_LOW, 2 ** 32) and begin as _LOW
_SYMBOLS_PER_LANE = 1000
_LEAST_LANES, _MOST_LANES = 8, 256


def lane_count(symbols: int) -> int:
    """Lanes for so many symbols: more are faster, fewer are smaller."""
    return min(max(symbols // _SYMBOLS_PER_LANE, _LEAST_LANES), _MOST_LANES)


def encode(
    frequencies: NDArray[np.uint32], below: NDArray[np.uint32], groups: Sequence[int]
) -> bytes:
    """Symbols as bytes.

    Args:
        frequencies: (N,) of the symbols in multiples of 2 ** -PRECISION; at least 1, below
            2 ** PRECISION.
        below: (N,) sums of the frequencies of the symbols before each in its alphabet.
        groups: how many symbols each group has; N in all.
    """
    lanes = lane_count(len(frequencies))
    steps = []
    begin = 0
    for size in groups:
        steps += [(at, min(at + lanes, begin + size)) for at in range(begin, begin + size, lanes)]
        begin += size
    highest = (frequencies << np.uint32(32 - PRECISION)) - np.uint32(1)
    others = np.uint32(1 << PRECISION) - frequencies
    words = np.empty(len(frequencies), np.uint16)
    used = np.empty(len(frequencies), np.bool_)
    states = np.full(lanes, _LOW, np.uint32)
    sixteen = np.uint32(16)
    # What is decoded first is encoded last.
    for start, end in reversed(steps):
        state = states[: end - start]
        full = np.greater(state, highest[start:end], out=used[start:end])
        words[start:end] = state & np.uint32(_LOW - 1)
        np.right_shift(state, full * sixteen, out=state)
        quotient = state // frequencies[start:end]
        quotient *= others[start:end]
        state += quotient
        state += below[start:end]
    return states.astype("<u4").tobytes() + words[used].astype("<u2").tobytes()


class Decoder:
    """Takes symbols, group by group, from bytes that ``encode`` made."""

    def __init__(self, data: memoryview, symbols: int) -> None:
        """Raises InputError where the data is too short or too long for so many symbols."""
        self._lanes = lane_count(symbols)
        size = 4 * self._lanes
        if not size <= len(data) <= size + 2 * symbols or len(data) % 2:
            raise InputError(f"coded features cannot have {len(data)} bytes")
        self._states = np.frombuffer(data[:size], "<u4").astype(np.int64)
        self._words = np.frombuffer(data[size:], "<u2").astype(np.int64)
        self._taken = 0

    def group(
        self,
        bases: NDArray[np.int64],
        frequencies: NDArray[np.int64],
        below: NDArray[np.int64],
    ) -> NDArray[np.int64]:
        """The symbols of the next group, as indices into the tables.

        Args:
            bases: (symbols of the group,) the first entry of ``below`` of each one's alphabet.
            frequencies: (entries,) of all alphabets, one after the other.
            below: (entries,) sums of the frequencies of all entries before each.

        Raises:
            InputError: the data is cut off.
        """
        symbols = np.empty(len(bases), np.int64)
        for start in range(0, len(bases), self._lanes):
            base = bases[start : start + self._lanes]
            state = self._states[: len(base)]
            key = state & ((1 << PRECISION) - 1)
            key += base
            entries = below.searchsorted(key, "right")
            entries -= 1
            symbols[start : start + self._lanes] = entries
            state >>= PRECISION
            state *= frequencies[entries]
            state += key
            state -= below[entries]
            empty = state < _LOW
            count = int(np.count_nonzero(empty))
            if count:
                words = self._words[self._taken : self._taken + count]
                if len(words) < count:
                    raise InputError("coded features are cut off")
                state[empty] = state[empty] << 16 | words
                self._taken += count
        return symbols

    def finish(self) -> None:
        """Raises InputError where the data does not end as ``encode`` began."""
        if self._taken != len(self._words) or (self._states != _LOW).any():
            raise InputError("coded features are damaged")

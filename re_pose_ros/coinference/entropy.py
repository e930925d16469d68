"""Quantised features as few bytes, without loss.

Two coders. The *fast* one packs codes into bytes (two of 4 bits, four of 2), as they are or less
the one on their left, whichever is smaller, and deflates them with Huffman codes and runs (zlib's
``Z_RLE``). The *small* one predicts each code from its neighbours and gives rANS how likely each
residual is (``contexts``, ``rans``).

Measured on layers 2, 3, 4, 6 and 10 of the embedded detector scene-n (32x80x80 to 128x10x10
features) on 6 blocks of generated scenes, quantised per channel; bytes are relative to the fast
coder's, milliseconds to encode and decode on one core of a server, means:

| coder | 2 bits | 4 bits | 6 bits | 8 bits | ms at 4 bits |
|---|---|---|---|---|---|
| small | 0.87 | 0.88 | 0.91 | 0.96 | 10.7 + 19.9 |
| fast | 1 | 1 | 1 | 1 | 1.3 + 0.9 |
| zstd -1, the better layout of those below | 1.05 | 1.04 | 1.02 | 1.01 | 0.2 + 0.1 |
| zstd -19, the same | 0.96 | 1.01 | 1.01 | 1.02 | 21.6 + 0.1 |
| zstd -1, a byte each | 1.50 | 1.20 | 1.10 | 1.10 | 0.4 + 0.1 |
| WebP without loss, channels as tiles | 1.00 | 1.04 | 0.99 | 0.99 | 23.1 |
| bz2 | 1.11 | 1.07 | 1.02 | 1.02 | 5.8 |
| PNG, channels as tiles | 1.47 | 1.16 | 1.05 | 1.02 | 1.0 |
| LZMA, the code before as context | 1.32 | 1.25 | 1.14 | 1.02 | 6.0 |

The layouts of zstd were codes in bytes of their own or packed, as they are or less the one on their
left; levels 3 and 9 lie between, except that 3 is no smaller than 1. The small coder's time is
won back below 0.8 Mbit/s (32x40x40 features of 4 bits, 9.9 instead of 11.9 KB) to 1.7 Mbit/s
(64x80x80, 100 instead of 113 KB); on faster links the fast one is sooner there. JPEG files of the
same blocks at qualities 50, 80 and 90 have 7, 12 and 20 KB (320 pixels) and 34, 57 and 87 KB (640).
"""

from __future__ import annotations

import math
import zlib
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from re_pose_ros.coinference.contexts import Contexts, Diagonals
from re_pose_ros.coinference.rans import PRECISION, Decoder
from re_pose_ros.coinference.rans import encode as encode_symbols
from re_pose_ros.coinference.setting import BITS
from re_pose_ros.errors import InputError

Shape = tuple[int, int, int]

_PLAIN, _DIFFERENCES, _RANS = range(3)  # the first byte says how the others are coded


def encode(codes: NDArray[np.uint8], bits: int, *, small: bool = False) -> bytes:
    """Codes (C, H, W) as bytes, without loss.

    Args:
        codes: below 2 ** bits, with at least one element.
        bits: one of ``BITS``.
        small: take the small coder's time too, and the shorter result.

    Raises:
        ValueError: an argument is not one of the above.
    """
    if bits not in BITS or codes.dtype != np.uint8 or codes.ndim != 3 or not codes.size:
        raise ValueError(f"no codes of {bits} bits: {codes.shape} {codes.dtype}")
    if int(codes.max()) >> bits:
        raise ValueError(f"a code of {codes.max()} does not have {bits} bits")
    differences = _differences(codes) & np.uint8((1 << bits) - 1)
    found = [
        bytes([_PLAIN]) + _deflate(_pack(codes.ravel(), bits)),
        bytes([_DIFFERENCES]) + _deflate(_pack(differences.ravel(), bits)),
    ]
    if small:
        found.append(bytes([_RANS]) + _encode_rans(codes, bits))
    return min(found, key=len)


def decode(data: memoryview, shape: Shape, bits: int) -> NDArray[np.uint8]:
    """The codes (C, H, W) of ``encode``.

    Time and memory are bounded by ``shape``, whatever the data is.

    Raises:
        InputError: the data is damaged, or stands for another shape; not every damage shows.
    """
    how = data[0] if len(data) else None
    if how == _RANS:
        return _decode_rans(data[1:], shape, bits)
    if how not in (_PLAIN, _DIFFERENCES):
        raise InputError(f"coded features cannot begin with {how}")
    count = math.prod(shape)
    packed = _inflate(data[1:], -(-count // (8 // bits)))
    codes = _unpack(packed, bits)[:count].reshape(shape)
    if how == _DIFFERENCES:
        codes = _sums(codes)
    return codes & np.uint8((1 << bits) - 1)


def _encode_rans(codes: NDArray[np.uint8], bits: int) -> bytes:
    contexts = Contexts(bits)
    classes = contexts.classify(codes)
    diagonals = Diagonals(codes.shape)
    diagonals.fill(codes)
    current, left, above, corner = diagonals.in_order()
    prediction, context = contexts.of(left, above, corner, classes.astype(np.int16))
    entries = context.astype(np.int64) * contexts.codes
    entries += (current - prediction) & (contexts.codes - 1)
    entries = entries.ravel()
    frequencies = np.empty(len(entries), np.uint32)
    below = np.empty(len(entries), np.uint32)
    ends = np.cumsum(diagonals.sizes)
    lessons = [0, *(int(ends[diagonal - 1]) for diagonal in diagonals.lessons()), len(entries)]
    for start, end in pairwise(lessons):
        some = entries[start:end]
        frequency_of, below_of = contexts.tables()
        frequencies[start:end] = frequency_of[some]
        below[start:end] = below_of[some] & ((1 << PRECISION) - 1)
        contexts.learn(some)
    head = _pack(classes, 2) if contexts.channel_classes > 1 else b""
    return head + encode_symbols(frequencies, below, diagonals.sizes)


def _decode_rans(data: memoryview, shape: Shape, bits: int) -> NDArray[np.uint8]:
    contexts = Contexts(bits)
    diagonals = Diagonals(shape)
    classes = np.zeros(shape[0], np.int16)
    if contexts.channel_classes > 1:
        size = -(-shape[0] // 4)
        if len(data) < size:
            raise InputError(f"coded features cannot have {len(data)} bytes")
        classes[:] = _unpack(data[:size], 2)[: shape[0]]
        data = data[size:]
    decoder = Decoder(data, math.prod(shape))
    lessons = set(diagonals.lessons())
    tables = contexts.tables()
    new: list[NDArray[np.int64]] = []
    for diagonal in range(len(diagonals.sizes)):
        if diagonal in lessons:
            contexts.learn(np.concatenate(new))
            new.clear()
            tables = contexts.tables()
        prediction, context = contexts.of(*diagonals.neighbours(diagonal), classes)
        bases = context.ravel().astype(np.int64)
        entries = decoder.group(bases << PRECISION, *tables)
        new.append(entries)
        prediction += (entries & (contexts.codes - 1)).reshape(prediction.shape).astype(np.int16)
        prediction &= contexts.codes - 1
        diagonals.set(diagonal, prediction)
    decoder.finish()
    return diagonals.codes()


def _deflate(packed: bytes) -> bytes:
    squeezer = zlib.compressobj(1, zlib.DEFLATED, -zlib.MAX_WBITS, 9, zlib.Z_RLE)
    return squeezer.compress(packed) + squeezer.flush()


def _inflate(data: memoryview, size: int) -> bytes:
    if len(data) > size + size // 64 + 64:  # what cannot be squeezed is stored in blocks
        raise InputError(f"coded features of {size} bytes cannot have {len(data)}")
    expander = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        packed = expander.decompress(data, size + 1)
    except zlib.error as error:
        raise InputError("coded features are damaged") from error
    if len(packed) != size or not expander.eof or expander.unused_data:
        raise InputError(f"coded features do not end after {size} bytes")
    return packed


def _differences(codes: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Each code less the one on its left, in the first column less the one above; modulo 256."""
    found = codes.copy()
    found[:, :, 1:] -= codes[:, :, :-1]
    found[:, 1:, 0] -= codes[:, :-1, 0]
    return found


def _sums(differences: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """What ``_differences`` are of, modulo 256."""
    found = differences.copy()
    np.cumsum(found[:, :, 0], axis=1, dtype=np.uint8, out=found[:, :, 0])
    return np.cumsum(found, axis=2, dtype=np.uint8)


def _pack(codes: NDArray[np.uint8], bits: int) -> bytes:
    """Codes (N,) side by side in bytes, the first in the low bits; 6 bits take a byte each."""
    each = 8 // bits
    padded = np.zeros(-(-len(codes) // each) * each, np.uint8)
    padded[: len(codes)] = codes
    packed = padded[::each].copy()
    for k in range(1, each):
        packed |= padded[k::each] << np.uint8(k * bits)
    return packed.tobytes()


def _unpack(packed: bytes | memoryview, bits: int) -> NDArray[np.uint8]:
    """What ``_pack`` packed, and zeros to fill the last byte."""
    each = 8 // bits
    shifts = np.arange(each, dtype=np.uint8) * np.uint8(bits)
    found = np.frombuffer(packed, np.uint8)[:, None] >> shifts
    if each > 1:
        found &= np.uint8((1 << bits) - 1)
    return found.ravel()

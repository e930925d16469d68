"""Messages of features, damaged in all kinds of ways."""

from __future__ import annotations

import json
import random
import zlib
from typing import Any

ODD = [None, True, -1, 0, 1, 1.5, 1 << 70, "", "x", "-1", "1" * 5000, [], [[]], {}, [1, 2, 3], "é"]


def header_of(blob: bytes) -> tuple[dict[str, Any], bytes]:
    size = int.from_bytes(blob[:8], "little")
    return json.loads(blob[8 : 8 + size]), blob[8 + size :]


def signed(blob: bytes) -> bytes:
    """The blob with the checksum that it should have, if it has a place for one."""
    begin = blob.find(b'"crc32":"') + 9
    if begin < 9:
        return blob
    blank = blob[:begin] + b"0" * 8 + blob[begin + 8 :]
    return blob[:begin] + b"%08x" % zlib.crc32(blank) + blob[begin + 8 :]


def blob_of(header: Any, body: bytes) -> bytes:
    text = (
        header if isinstance(header, bytes) else json.dumps(header, separators=(",", ":")).encode()
    )
    return len(text).to_bytes(8, "little") + text + body


def mutated(blob: bytes, other: bytes, dice: random.Random) -> bytes:
    """A message with bytes changed, cut off, put in, moved, or an odd header."""
    kind = dice.randrange(7)
    at, end = sorted(dice.randrange(len(blob) + 1) for _ in range(2))
    if kind == 0:
        damaged = bytearray(blob)
        first = dice.choice([0, len(blob) // 2, len(blob) - 100])
        for _ in range(dice.choice([1, 1, 2, 8, 64])):
            damaged[dice.randrange(first, len(damaged))] ^= 1 << dice.randrange(8)
        return bytes(damaged)
    if kind == 1:
        return blob[:at]
    if kind == 2:
        return blob[:at] + blob[end:]
    if kind == 3:
        return blob[:at] + dice.randbytes(dice.choice([1, 2, 50])) + blob[at:]
    if kind == 4:
        return blob[:at] + other[at:]
    if kind == 5:
        return dice.randrange(1 << dice.choice([8, 12, 63])).to_bytes(8, "little") + blob[8:]
    return odd_header(blob, dice)


def odd_header(blob: bytes, dice: random.Random) -> bytes:
    header, body = header_of(blob)
    part = header[dice.choice(list(header))]
    key = dice.choice(list(part))
    if dice.random() < 0.2:
        del part[key]
    elif isinstance(part[key], str) and dice.random() < 0.5:
        text = list(part[key] or " ")
        text[dice.randrange(len(text))] = dice.choice("0123456789x: -.")
        part[key] = "".join(text)
    elif isinstance(part[key], list) and dice.random() < 0.5:
        part[key][dice.randrange(len(part[key]))] += dice.choice([-1, 1, 8, 1 << 40])
    else:
        part[key] = dice.choice(ODD)
    return blob_of(header, body)

"""What can still be read of storage files that were cut off (crash, full disk, broken copy)."""

from __future__ import annotations

import io
import sqlite3
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import quote

# Record types of the MCAP specification, https://mcap.dev/spec#op-codes
_FOOTER, _CHUNK, _DATA_END = 0x02, 0x06, 0x0F
_MAGIC = b"\x89MCAP0\r\n"
_RECORD = struct.Struct("<BQ")
_CHUNK_TIMES_SIZE_CRC = 28
_NO_SUMMARY_FOOTER = _RECORD.pack(_FOOTER, 20) + bytes(20) + _MAGIC


class McapRemains:
    """A cut MCAP file as a path whose ``open`` gives a whole file without summary.

    It has the part of ``pathlib.Path`` that rosbags asks of a path. All complete records are
    kept, and those of an uncompressed last chunk even where that chunk is incomplete.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.stem = path.stem
        self.suffix = path.suffix

    def __str__(self) -> str:
        return str(self._path)

    def exists(self) -> bool:
        return self._path.exists()

    def is_dir(self) -> bool:
        return False

    def open(self, *_args: Any, **_kwargs: Any) -> BinaryIO:
        """Raises OSError where the file cannot be read."""
        raw = self._path.open("rb")
        return io.BufferedReader(_Spliced(raw, _complete_spans(raw), _NO_SUMMARY_FOOTER))


def _complete_spans(file: BinaryIO) -> list[tuple[int, int]]:
    """The (begin, end) byte ranges of complete records outside of the last, cut chunk and in it."""
    size = file.seek(0, io.SEEK_END)
    end, partial = _walk(file, len(_MAGIC), size)
    spans = [(0, end)]
    if partial == _CHUNK:
        begin = end + _RECORD.size + _CHUNK_TIMES_SIZE_CRC
        file.seek(begin)
        field = file.read(4)
        # Chunks begin with the name of their compression; empty means none.
        if field == bytes(4):
            records = begin + 4 + 8
            spans.append((records, _walk(file, records, size)[0]))
    return spans


def _walk(file: BinaryIO, position: int, size: int) -> tuple[int, int]:
    """Where the complete records from ``position`` on end, and the type of a cut one there."""
    while position + _RECORD.size <= size:
        file.seek(position)
        kind, length = _RECORD.unpack(file.read(_RECORD.size))
        if kind in (0, _DATA_END, _FOOTER):
            return position, 0
        if position + _RECORD.size + length > size:
            return position, kind
        position += _RECORD.size + length
    return position, 0


class _Spliced(io.RawIOBase):
    """Byte ranges of a file and a tail, one after the other, read-only."""

    def __init__(self, file: BinaryIO, spans: list[tuple[int, int]], tail: bytes) -> None:
        self._file = file
        self._spans = spans
        self._tail = tail
        self._tail_at = sum(end - begin for begin, end in spans)
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = (0, self._position, self._tail_at + len(self._tail))[whence]
        self._position = max(0, base + offset)
        return self._position

    def tell(self) -> int:
        return self._position

    def readinto(self, buffer: Any) -> int:
        data = self._read(len(buffer))
        buffer[: len(data)] = data
        self._position += len(data)
        return len(data)

    def _read(self, amount: int) -> bytes:
        offset = self._position
        for begin, end in self._spans:
            if offset < end - begin:
                self._file.seek(begin + offset)
                return self._file.read(min(amount, end - begin - offset))
            offset -= end - begin
        return self._tail[offset : offset + amount]

    def close(self) -> None:
        self._file.close()
        super().close()


class SqliteRemains:
    """The topics and the leading messages of a cut SQLite bag file."""

    def __init__(self, path: Path) -> None:
        """Raises sqlite3.Error where not even the topics can be read."""
        self._database = sqlite3.connect(f"file:{quote(str(path))}?mode=ro&immutable=1", uri=True)
        try:
            # Without it SQLite refuses a file that is shorter than its header says.
            self._database.execute("PRAGMA writable_schema=ON")
            rows = self._database.execute("SELECT id, name, type FROM topics").fetchall()
        except BaseException:
            self._database.close()
            raise
        self.types: dict[str, str] = {name: kind for _, name, kind in rows}
        self.counts: dict[str, int] | None = None
        self._ids = {name: key for key, name, _ in rows}
        (page_bytes,) = self._database.execute("PRAGMA page_size").fetchone()
        self._page_is_cut = path.stat().st_size % page_bytes != 0

    def messages(self, topic: str) -> Iterator[tuple[int, bytes]]:
        """(time of recording in ns, CDR bytes); raises sqlite3.Error where the damage begins."""
        query = "SELECT timestamp, data FROM messages NOT INDEXED WHERE topic_id = ? ORDER BY id"
        held: tuple[int, bytes] | None = None
        for row in self._database.execute(query, (self._ids[topic],)):
            # SQLite fills a cut page with zeros, and with it the message that ends there.
            if not self._page_is_cut:
                yield row
            elif held is not None:
                yield held
            held = row

    def close(self) -> None:
        self._database.close()

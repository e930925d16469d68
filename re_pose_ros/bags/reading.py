"""Reading camera images out of rosbag2 recordings, whole or damaged."""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

from rosbags.rosbag2 import Reader

from re_pose_ros.bags.recovery import McapRemains, SqliteRemains
from re_pose_ros.bags.types import typestore
from re_pose_ros.errors import InputError
from re_pose_ros.frame import Frame
from re_pose_ros.image_codec import decode_compressed, decode_raw

if TYPE_CHECKING:
    from rosbags.interfaces.typing import RPath

IMAGE = "sensor_msgs/msg/Image"
COMPRESSED_IMAGE = "sensor_msgs/msg/CompressedImage"
STORAGE_SUFFIXES = (".mcap", ".db3")

_logger = logging.getLogger(__name__)


class _Part(Protocol):
    """One readable storage; ``counts`` None where only reading to the end would tell."""

    types: dict[str, str]
    counts: dict[str, int] | None

    def messages(self, topic: str) -> Iterator[tuple[int, bytes]]: ...

    def close(self) -> None: ...


class _Indexed:
    """A storage that rosbags can open."""

    def __init__(self, path: Path | McapRemains) -> None:
        self._reader = Reader(cast("RPath", path))
        self._reader.open()
        connections = self._reader.connections
        self.types: dict[str, str] = {c.topic: c.msgtype for c in connections}
        counts: Counter[str] = Counter()
        for connection in connections:
            counts[connection.topic] += connection.msgcount
        self.counts: dict[str, int] | None = dict(counts)

    def messages(self, topic: str) -> Iterator[tuple[int, bytes]]:
        connections = [c for c in self._reader.connections if c.topic == topic]
        for _, stamp_ns, data in self._reader.messages(connections):
            yield stamp_ns, data

    def close(self) -> None:
        self._reader.close()


@dataclass(frozen=True)
class Bag:
    """An open recording.

    Attributes:
        path: as it was asked for.
        types: message type by topic.
        damage: why it cannot be read as a whole; empty where nothing is known to be wrong.
    """

    path: Path
    types: dict[str, str]
    damage: str
    parts: tuple[_Part, ...]

    def count(self, topic: str) -> int | None:
        """Messages on ``topic``; None where only reading to the end would tell."""
        counts = [part.counts for part in self.parts]
        return None if None in counts else sum(c.get(topic, 0) for c in counts if c)

    def messages(self, topic: str) -> Iterator[tuple[int, bytes]]:
        """(time of recording in ns, CDR bytes) in recorded order.

        Damage ends it with one warning.
        """
        seen, damage = 0, self.damage
        try:
            for part in self.parts:
                if topic in part.types:
                    for message in part.messages(topic):
                        seen += 1
                        yield message
        except Exception as error:  # rosbags lets the errors of all its parsers through
            damage = damage or _one_line(error)
        if damage:
            _logger.warning(
                "%s is damaged (%s): %s ended after %d messages", self.path, damage, topic, seen
            )


def is_bag(path: Path) -> bool:
    """True for a bag folder (also one that lost its metadata.yaml) and a bare storage file."""
    if path.is_dir():
        return (path / "metadata.yaml").exists() or bool(_storage_files(path))
    return path.suffix in STORAGE_SUFFIXES


@contextmanager
def open_bag(path: str | Path) -> Iterator[Bag]:
    """Open a bag folder or a bare ``.mcap`` or ``.db3`` file.

    Raises:
        InputError: missing, no bag, or nothing in it is readable.
    """
    bag = Path(path)
    if not bag.exists():
        raise InputError(f"bag {bag} does not exist")
    if not is_bag(bag):
        raise InputError(f"{bag} is no rosbag2: neither metadata.yaml nor a .mcap or .db3 file")
    with ExitStack() as stack:
        parts, damage = _open_parts(bag)
        for part in parts:
            stack.enter_context(closing(part))
        types = {topic: kind for part in parts for topic, kind in part.types.items()}
        yield Bag(bag, types, damage, tuple(parts))


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


def _storage_files(folder: Path) -> list[Path]:
    """The storage files of a folder in the order of their numbers, as bags are split."""
    files = [file for file in folder.glob("*") if file.suffix in STORAGE_SUFFIXES]
    numbers = {file: [int(n) for n in re.findall(r"\d+", file.stem)] for file in files}
    return sorted(files, key=lambda file: (numbers[file], file.name))


def _open_parts(bag: Path) -> tuple[list[_Part], str]:
    if bag.is_file() or (bag / "metadata.yaml").exists():
        try:
            return [_Indexed(bag)], ""
        except Exception as error:  # as in Bag.messages
            damage = _one_line(error)
    else:
        damage = "metadata.yaml is missing"

    parts: list[_Part] = []
    for file in [bag] if bag.is_file() else _storage_files(bag):
        try:
            parts.append(_open_file(file))
        except Exception as error:  # as in Bag.messages
            damage = _one_line(error)
    if not any(part.types for part in parts):
        raise InputError(f"{bag} cannot be read as a rosbag2: {damage}")
    return parts, damage


def _open_file(file: Path) -> _Part:
    try:
        return _Indexed(file)
    except Exception:  # as in Bag.messages
        return _Indexed(McapRemains(file)) if file.suffix == ".mcap" else SqliteRemains(file)


def topics(path: str | Path) -> dict[str, str]:
    """Message type by topic.

    Raises:
        InputError: as ``open_bag``.
    """
    with open_bag(path) as bag:
        return dict(bag.types)


def image_topics(path: str | Path) -> dict[str, str]:
    """The topics that carry images, raw or compressed, with their message type.

    Raises:
        InputError: as ``open_bag``.
    """
    return {t: kind for t, kind in topics(path).items() if kind in (IMAGE, COMPRESSED_IMAGE)}


def image_messages(path: str | Path, topic: str, *, start: int = 0) -> Iterator[Frame]:
    """The images on ``topic`` from message ``start`` on.

    ``Frame.index`` counts messages from 0, ``stamp_ns`` and ``frame_id`` are those of the
    message header; where the header has no time, the time of recording. Messages that cannot
    be decoded are skipped: the first is told by a warning, their number at the end.

    Raises:
        InputError: as ``open_bag``, or a topic that is missing or carries no images.
    """
    with open_bag(path) as bag:
        kind = bag.types.get(topic)
        if kind not in (IMAGE, COMPRESSED_IMAGE):
            there = ", ".join(f"{t} ({k})" for t, k in sorted(bag.types.items())) or "nothing"
            raise InputError(f"{path} has no images on {topic}; it has {there}")
        skipped = 0
        for index, (recorded_ns, data) in enumerate(bag.messages(topic)):
            if index < start:
                continue
            try:
                yield decode_frame(data, kind, index, recorded_ns)
            except InputError as error:
                skipped += 1
                if skipped == 1:
                    _logger.warning("%s: message %d on %s skipped: %s", path, index, topic, error)
        if skipped > 1:
            _logger.warning("%s: %d messages on %s skipped in all", path, skipped, topic)


def header_stamps(path: str | Path, topic: str, count: int) -> list[int]:
    """The times of the first ``count`` readable images in nanoseconds, without decoding them."""
    stamps = []
    with open_bag(path) as bag:
        kind = bag.types[topic]
        for recorded_ns, data in bag.messages(topic):
            try:
                stamps.append(_stamp_ns(_deserialize(data, kind), recorded_ns))
            except InputError:
                continue
            if len(stamps) == count:
                break
    return stamps


def _deserialize(data: bytes, kind: str) -> Any:
    try:
        return typestore().deserialize_cdr(memoryview(data), kind)
    except Exception as error:  # a corrupt message fails in as many ways as a corrupt file
        raise InputError(f"corrupt {kind} of {len(data)} bytes ({error})") from error


def _stamp_ns(message: Any, recorded_ns: int) -> int:
    stamp = message.header.stamp
    return stamp.sec * 1_000_000_000 + stamp.nanosec or recorded_ns


def decode_frame(data: bytes, kind: str, index: int, recorded_ns: int = 0) -> Frame:
    """The frame in a serialised message; raises InputError where it is malformed.

    Args:
        data: CDR with its 4-byte header, as raw subscriptions give it.
        kind: ``sensor_msgs/msg/Image`` or ``sensor_msgs/msg/CompressedImage``.
        index: the frame's position in its stream.
        recorded_ns: stands in for a header stamp of zero.
    """
    message = _deserialize(data, kind)
    if kind == COMPRESSED_IMAGE:
        image = decode_compressed(message.data)
    else:
        image = decode_raw(
            message.encoding,
            message.height,
            message.width,
            message.step,
            bool(message.is_bigendian),
            message.data,
        )
    return Frame(image, index, _stamp_ns(message, recorded_ns), message.header.frame_id)

"""Writing rosbag2: a bag folder, or a bare MCAP file."""

from __future__ import annotations

import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

from rosbags.interfaces import (
    Connection,
    Qos,
    QosDurability,
    QosHistory,
    QosLiveliness,
    QosReliability,
    QosTime,
)
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.rosbag2.storage_mcap import McapWriter
from rosbags.rosbag2.storage_sqlite3 import Sqlite3Writer

from re_pose_ros.bags.types import typestore
from re_pose_ros.errors import InputError

_STORAGES = {"mcap": StoragePlugin.MCAP, "sqlite3": StoragePlugin.SQLITE3}
_FLUSH_PERIOD_S = 1.0


def qos_profile(*, depth: int = 10, reliable: bool = True, latched: bool = False) -> Qos:
    """What a publisher offers, for ``ros2 bag play`` to offer the same.

    ``latched`` is transient-local durability.
    """
    # RMW_DURATION_INFINITE of rmw/time.h, which is what publishers report by default.
    infinite = QosTime(9223372036, 854775807)
    return Qos(
        QosHistory.KEEP_LAST,
        depth,
        QosReliability.RELIABLE if reliable else QosReliability.BEST_EFFORT,
        QosDurability.TRANSIENT_LOCAL if latched else QosDurability.VOLATILE,
        infinite,
        infinite,
        QosLiveliness.AUTOMATIC,
        infinite,
        False,
    )


class BagWriter:
    """Writes messages of any known type to a new rosbag2; use it as a context manager.

    A ``path`` that ends in ``.mcap`` becomes one MCAP file with the bag's metadata inside, which
    ``ros2 bag info``, ``ros2 bag play``, rosbags and Foxglove open as it is. Any other path
    becomes a folder with ``metadata.yaml`` and one storage file.

    What was written reaches the file within a second or so, and leaving the context by an
    exception still closes the bag, so a crash costs little. To be used by one thread.
    """

    def __init__(self, path: str | Path, *, storage: str = "mcap") -> None:
        """Create the bag; missing parent folders are made.

        Args:
            path: ``*.mcap`` for a bare file, else the bag's folder.
            storage: ``mcap`` or ``sqlite3``.

        Raises:
            InputError: ``path`` exists or cannot be made, or the storage is not known.
        """
        self.path = Path(path)
        if storage not in _STORAGES:
            raise InputError(f"bag storage '{storage}' is not known; use mcap or sqlite3")
        self._bare = self.path.suffix == ".mcap"
        if self._bare and storage != "mcap":
            raise InputError(f"{self.path} names an MCAP file; {storage} needs a folder")
        if self.path.exists():
            raise InputError(f"{self.path} exists already; remove it or choose another path")
        self._connections: dict[str, Connection] = {}
        self._flushed_s = time.monotonic()
        try:
            self._writer = self._create(_STORAGES[storage])
        except OSError as error:
            raise InputError(f"cannot create the bag {self.path}: {error.strerror}") from error
        self._open = True

    def _create(self, plugin: StoragePlugin) -> Writer:
        if not self._bare:
            writer = Writer(self.path, version=9, storage_plugin=plugin)
            writer.open()
            return writer
        # rosbags writes folders only; its file is moved to its place while it is still empty,
        # so that a crash leaves it there.
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._scratch = Path(tempfile.mkdtemp(prefix=f".{self.path.stem}-", dir=self.path.parent))
        try:
            writer = Writer(self._scratch / self.path.stem, version=9, storage_plugin=plugin)
            writer.open()
            (writer.path / self.path.name).rename(self.path)
        finally:
            shutil.rmtree(self._scratch)
        return writer

    def write(
        self, topic: str, msgtype: str, message: Any, stamp_ns: int, *, qos: Qos | None = None
    ) -> None:
        """Append one message.

        Args:
            topic: full topic name.
            msgtype: as ``vision_msgs/msg/Detection2DArray``.
            message: a message of ``typestore()``, or its CDR bytes with their 4-byte header as
                raw subscriptions and ``rclpy.serialization.serialize_message`` give them.
            stamp_ns: time of recording in nanoseconds, not negative.
            qos: what the topic's publisher offers; counts with the topic's first message only.
                None is reliable, volatile, depth 10.

        Raises:
            InputError: unknown type, or a topic written with two types.
        """
        if not self._open:
            raise ValueError(f"{self.path} is closed")
        connection = self._connection(topic, msgtype, qos)
        raw = isinstance(message, (bytes, bytearray, memoryview))
        data = message if raw else typestore().serialize_cdr(message, msgtype)
        self._writer.write(connection, stamp_ns, data)
        if time.monotonic() - self._flushed_s >= _FLUSH_PERIOD_S:
            self.flush()

    def _connection(self, topic: str, msgtype: str, qos: Qos | None) -> Connection:
        known = self._connections.get(topic)
        if known is None:
            if msgtype not in typestore().fielddefs:
                raise InputError(f"message type '{msgtype}' of topic {topic} is not known")
            known = self._connections[topic] = self._writer.add_connection(
                topic,
                msgtype,
                typestore=typestore(),
                offered_qos_profiles=[qos or qos_profile()],
            )
        elif known.msgtype != msgtype:
            raise InputError(f"topic {topic} carries {known.msgtype}; {msgtype} does not fit in")
        return known

    def flush(self) -> None:
        """Hand everything written so far to the operating system."""
        storage = self._writer.storage
        if isinstance(storage, McapWriter):
            if storage.chunk.msgs:
                storage.close_chunk()
            storage.bio.flush()
        elif isinstance(storage, Sqlite3Writer):
            storage.conn.commit()
        self._flushed_s = time.monotonic()

    def close(self) -> None:
        """Write index and metadata; closing twice is fine."""
        if not self._open:
            return
        self._open = False
        if not self._bare:
            self._writer.close()
            return
        self._writer.path.mkdir(parents=True)
        try:
            self._writer.close()
        finally:
            shutil.rmtree(self._scratch)

    def __enter__(self) -> BagWriter:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

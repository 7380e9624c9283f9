"""Bags: rosbag2 in MCAP or sqlite3, split and compressed or not, read without ROS.

A bag that was cut short, as by a robot that was switched off, is read as far as it is whole: its
folder may lack the metadata, and its newest file its end.
"""

from __future__ import annotations

import contextlib
import heapq
import struct
import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

from rosbags.highlevel import AnyReader
from rosbags.typesys import Stores, get_typestore

from planet_ros.datasets import BAG_SUFFIXES
from planet_ros.datasets.types import BagTypes, default_types
from planet_ros.errors import UserError
from planet_ros.messages.fields import shortened


@dataclass(frozen=True)
class BagTopic:
    """A topic of a bag.

    Attributes:
        name: In full: ``/joint_states``.
        type: Of its messages.
        count: How many there are.
    """

    name: str
    type: str
    count: int


class Bag:
    """Some bags, read together in the order of the times at which messages were received.

    Attributes:
        topics: What is in them, by name; of a topic with several types, the one with most messages.
        make: Gives empty messages of their types.
        notes: What a person should know of how they were found: that one was cut short.
        seconds: From the first message to the last.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        """Open them; a path is the folder of a bag, or one of its files.

        Raises:
            UserError: There is none, or it is no bag.
        """
        self._closing = contextlib.ExitStack()
        self.notes: list[str] = []
        self._readers: list[tuple[AnyReader, Path]] = []
        own = get_typestore(Stores.EMPTY)
        try:
            for path in paths:
                self._open(path)
            if not self._readers:
                raise UserError("; ".join(self.notes))
            for reader, _ in self._readers:
                own.register(_new(reader.typestore.fielddefs, own.fielddefs))
        except BaseException:
            self.close()
            raise
        self.make = BagTypes(own, default_types())
        readers = [reader for reader, _ in self._readers]
        spans = [(one.start_time, one.end_time) for one in readers if one.message_count]
        began_ns, ended_ns = min(spans)[0] if spans else 0, max(end for _, end in spans or [(0, 0)])
        self.seconds = max(0, ended_ns - began_ns) / 1e9
        self.topics = {one.name: one for one in sorted(self._found(), key=lambda one: one.count)}
        self.topics = dict(sorted(self.topics.items()))

    def __enter__(self) -> Bag:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the files."""
        self._closing.close()

    def messages(self, topics: Collection[str]) -> Iterator[tuple[str, int, Any]]:
        """Messages of some topics.

        Yields:
            Name of the topic, nanoseconds at which it was received, and the message; or a
            `UserError` in its place, where it cannot be decoded.
        """
        wanted = {name: topic.type for name, topic in self.topics.items() if name in topics}
        streams = [self._stream(reader, file, wanted) for reader, file in self._readers]
        yield from heapq.merge(*streams, key=lambda one: one[1])

    # ── opening ──────────────────────────────────────────────────────────────────────────────

    def _open(self, path: Path) -> None:
        if not path.exists():
            raise UserError(f"{path}: found nothing, expected the folder of a bag, or its file")
        try:
            self._read(path, path)
        except Exception as error:  # several libraries, with errors of their own
            files = _files(path)
            if not files:
                raise UserError(
                    f"{path}: found no bag, expected a folder with metadata.yaml, or a file "
                    f"{' or '.join(BAG_SUFFIXES)}"
                ) from None
            self.notes.append(f"{path}: {_first_line(error)}; its files are read one by one")
            for file in files:
                self._open_file(file)

    def _open_file(self, file: Path) -> None:
        try:
            self._read(file, file)
        except Exception as error:  # several libraries, with errors of their own
            if file.suffix != ".mcap":
                self.notes.append(f"{file}: nothing of it can be read: {_first_line(error)}")
                return
            self._read_whole_part(file)

    def _read_whole_part(self, file: Path) -> None:
        """Read the records of an MCAP file that are whole, from a copy with an end."""
        folder = Path(self._closing.enter_context(tempfile.TemporaryDirectory()))
        copy = folder / file.name
        with file.open("rb") as source, copy.open("wb") as target:
            size = _copy_whole(source, target, file.stat().st_size)
        try:
            self._read(copy, file)
        except Exception as error:  # several libraries, with errors of their own
            self.notes.append(f"{file}: nothing of it can be read: {_first_line(error)}")
            return
        self.notes.append(
            f"{file}: was cut short: {size} of its {file.stat().st_size} bytes are whole"
        )

    def _read(self, path: Path, named: Path) -> None:
        reader = AnyReader([path], default_typestore=default_types())
        reader.open()
        self._closing.callback(reader.close)
        self._readers.append((reader, named))

    def _found(self) -> Iterator[BagTopic]:
        counts: dict[tuple[str, str], int] = {}
        for reader, _ in self._readers:
            for one in reader.connections:
                key = one.topic, one.msgtype
                counts[key] = counts.get(key, 0) + one.msgcount
        for (topic, type_name), count in counts.items():
            yield BagTopic(topic, type_name, count)

    # ── reading ──────────────────────────────────────────────────────────────────────────────

    def _stream(
        self, reader: AnyReader, file: Path, wanted: Mapping[str, str]
    ) -> Iterator[tuple[str, int, Any]]:
        connections = [one for one in reader.connections if wanted.get(one.topic) == one.msgtype]
        if not connections:
            return
        messages = reader.messages(connections)
        while True:
            try:
                connection, time_ns, data = next(messages)
            except StopIteration:
                return
            except Exception as error:  # several libraries, with errors of their own
                self.notes.append(f"{file}: ends early: {_first_line(error)}")
                return
            message: Any
            try:
                message = reader.deserialize(data, connection.msgtype)
            except Exception as error:
                message = UserError(f"cannot be decoded: {_first_line(error)}")
            yield connection.topic, time_ns, message


_MAGIC = b"\x89MCAP0\r\n"
_RECORD = struct.Struct("<BQ")
_END = (
    _RECORD.pack(0x0F, 4)
    + bytes(4)  # end of the data, without a checksum
    + _RECORD.pack(0x02, 20)
    + bytes(20)  # a footer that says nothing of a summary
    + _MAGIC
)
_LAST = (0x0F, 0x02)  # an end that is there already
_BLOCK = 2**20


def _copy_whole(source: BinaryIO, target: BinaryIO, size: int) -> int:
    """Copy an MCAP file's records up to the first that is not whole; give how many bytes."""
    if source.read(len(_MAGIC)) != _MAGIC:
        return 0
    target.write(_MAGIC)
    done = len(_MAGIC)
    while True:
        head = source.read(_RECORD.size)
        if len(head) < _RECORD.size:
            break
        kind, length = _RECORD.unpack(head)
        if kind in _LAST or kind == 0 or done + len(head) + length > size:
            break
        target.write(head)
        for at in range(0, length, _BLOCK):
            target.write(source.read(min(_BLOCK, length - at)))
        done += len(head) + length
    target.write(_END)
    return done


def _files(path: Path) -> list[Path]:
    """The files of a bag's folder in their order; a file is itself."""
    if path.is_file():
        return [path] if path.suffix in BAG_SUFFIXES else []
    return sorted(file for file in path.iterdir() if file.suffix in BAG_SUFFIXES)


def _new(found: dict[str, Any], known: dict[str, Any]) -> dict[str, Any]:
    return {name: fields for name, fields in found.items() if name not in known}


def _first_line(error: BaseException) -> str:
    text = str(error).splitlines()
    return shortened(text[0] if text and text[0] else type(error).__name__)

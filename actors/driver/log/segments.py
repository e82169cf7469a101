"""Segments: what one driver appends to a log, as a file or, where nothing can be appended, objects.

The start of segment 3 is `000003.log`. A local file grows; on other file systems every payload is
an object of its own, `000003-000001.log`, `000003-000002.log` and so on.
"""

import os
import re
from io import FileIO
from pathlib import Path
from typing import NamedTuple, Protocol, Self

from fsspec import AbstractFileSystem
from fsspec.implementations.local import LocalFileSystem

from hogwild_dist.actors.driver.log.format import frame, header

_NAME = re.compile(r"(\d{6,})(?:-(\d{6,}))?\.log")


class Part(NamedTuple):
    """A file of a log.

    Attributes:
        segment: number of the segment, from 1 on.
        number: number of the object within the segment; 0 is the segment's start.
    """

    segment: int
    number: int = 0

    @classmethod
    def parse(cls, name: str) -> Self | None:
        """Return the part of this name; None for other files."""
        if not (match := _NAME.fullmatch(name)):
            return None
        return cls(int(match[1]), int(match[2] or 0))

    @property
    def name(self) -> str:
        """Name of the file."""
        number = f"-{self.number:06d}" if self.number else ""
        return f"{self.segment:06d}{number}.log"


class Segment(Protocol):
    """The segment that a driver appends to.

    Attributes:
        number: number of the segment.
    """

    number: int

    def append(self, payload: bytes) -> None:
        """Append a payload, all of it or nothing, and return when it is on disk."""

    def start(self, state: bytes) -> None:
        """Begin the segment, which is empty, with a whole state."""

    def cut(self) -> None:
        """Remove what a failed append may have left, which could be read otherwise."""

    def close(self) -> None:
        """Close the segment."""


class LocalSegment:
    """A segment as a local file.

    Args:
        number: number of the segment.
        file: the file, which is empty.
    """

    def __init__(self, number: int, file: FileIO) -> None:
        self.number = number
        self._file = file
        self._num_bytes = 0
        """Bytes that are on disk; what follows them was not written to its end."""

    def append(self, payload: bytes) -> None:
        """Append a payload, all of it or nothing, and return when it is on disk."""
        if not self._num_bytes:
            self._write(header())
        self._write(frame(payload))

    def start(self, state: bytes) -> None:
        """Begin the segment, which is empty, with a whole state."""
        framed = frame(state)
        try:
            self._write(header(whole=True))
            self._write(framed)
        except OSError:
            self._num_bytes = 0  # the header would promise a state
            raise

    def cut(self) -> None:
        """Remove what a failed append may have left, which could be read otherwise."""
        self._file.truncate(self._num_bytes)
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _write(self, data: bytes) -> None:
        self._file.truncate(self._num_bytes)
        self._file.seek(self._num_bytes)
        rest = memoryview(data)
        while rest:
            rest = rest[self._file.write(rest) :]
        os.fsync(self._file.fileno())
        self._num_bytes += len(data)


class ObjectSegment:
    """A segment as objects that are written once.

    Args:
        number: number of the segment.
        filesystem: file system of the log.
        folder: folder of the log.
    """

    def __init__(self, number: int, filesystem: AbstractFileSystem, folder: str) -> None:
        self.number = number
        self._filesystem = filesystem
        self._folder = folder
        self._num_parts = 0

    def append(self, payload: bytes) -> None:
        """Write a payload as the next object; after a failure, the next payload replaces it."""
        self._filesystem.pipe_file(self._next_path(), header() + frame(payload))
        self._num_parts += 1

    def start(self, state: bytes) -> None:
        """Begin the segment, which is empty, with a whole state."""
        start = f"{self._folder}/{Part(self.number).name}"
        self._filesystem.pipe_file(start, header(whole=True) + frame(state))

    def cut(self) -> None:
        """Remove what a failed append may have left, which could be read otherwise."""
        self._filesystem.invalidate_cache()
        if self._filesystem.exists(self._next_path()):
            self._filesystem.rm_file(self._next_path())

    def close(self) -> None:
        """Do nothing; every object was closed when it was written."""

    def _next_path(self) -> str:
        return f"{self._folder}/{Part(self.number, self._num_parts + 1).name}"


def create_segment(filesystem: AbstractFileSystem, folder: str, number: int) -> Segment:
    """Create a segment, which no other driver then can.

    Args:
        filesystem: file system of the log.
        folder: folder of the log, which exists.
        number: number of the segment.

    Raises:
        FileExistsError: the segment exists.
    """
    path = f"{folder}/{Part(number).name}"
    if isinstance(filesystem, LocalFileSystem):
        return LocalSegment(number, _create_file(Path(path)))
    if filesystem.exists(path):
        raise FileExistsError(path)
    filesystem.pipe_file(path, b"", mode="create")
    return ObjectSegment(number, filesystem, folder)


def _create_file(path: Path) -> FileIO:
    file = FileIO(path, "x")
    try:
        sync_folder(path.parent)
    except OSError:
        file.close()
        path.unlink()  # its number would stand for another driver
        raise
    return file


def sync_folder(path: Path) -> None:
    """Return when the names of a folder's files are on disk."""
    folder = os.open(path, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)

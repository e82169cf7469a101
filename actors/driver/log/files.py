"""`LogFiles`: the files of a log in a folder, of which one driver at a time writes the newest.

A driver begins a segment with a number of its own. Whoever sees a higher number than its own has
been replaced by another driver and writes no more.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from errno import EACCES, EDQUOT, ENOSPC, EPERM, EROFS
from itertools import groupby
from pathlib import Path, PurePosixPath

from fsspec.core import url_to_fs
from fsspec.implementations.local import LocalFileSystem

from hogwild_dist.actors.driver.log.format import Contents, read
from hogwild_dist.actors.driver.log.segments import Part, create_segment, sync_folder
from hogwild_dist.actors.errors import LogError
from hogwild_dist.errors import first_line


class LogFolder:
    """The files of a log, to be read.

    Args:
        url: a folder, or a URL that fsspec knows.

    Raises:
        LogError: there is no such file system.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        with self._telling("opened"):
            self._filesystem, self._folder = url_to_fs(url)

    def read_all(self) -> list[tuple[str, bytes]]:
        """Return the payloads from the last whole state on, each with the name of its file.

        Raises:
            LogError: a file cannot be read, is damaged, or is missing.
        """
        with self._telling("read"):
            parts = sorted(self._parts())
        segments = [list(group) for _, group in groupby(parts, lambda part: part.segment)]
        found: list[tuple[str, bytes]] = []
        due = parts[-1].segment if parts else 0
        while due:
            parts = segments.pop() if segments else []
            self._check_present(due, parts)
            files = self._read(parts)
            found[:0] = [(name, one) for name, file in files for one in file.payloads]
            _, start = files[0]
            if start.whole and start.payloads:
                break
            due -= 1
        return found

    def folders(self) -> list[str]:
        """Return the names of the folders in this one, in order.

        Raises:
            LogError: the folder cannot be read.
        """
        with self._telling("read"):
            self._filesystem.invalidate_cache()
            if not self._filesystem.exists(self._folder):
                return []
            entries = self._filesystem.ls(self._folder, detail=True)
        paths = (one["name"] for one in entries if one["type"] == "directory")
        return sorted(PurePosixPath(path).name for path in paths)

    def _last_segment(self) -> int:
        return max((part.segment for part in self._parts()), default=0)

    def _parts(self) -> list[Part]:
        """Return the files of the log, in any order."""
        self._filesystem.invalidate_cache()
        try:
            paths = self._filesystem.ls(self._folder, detail=False)
        except FileNotFoundError:  # an object store has no empty folders
            return []
        parts = (Part.parse(PurePosixPath(path).name) for path in paths)
        return [part for part in parts if part is not None]

    def _read(self, parts: Iterable[Part]) -> list[tuple[str, Contents]]:
        paths = [self._path(part) for part in parts]
        with self._telling("read"):
            files = self._filesystem.cat_ranges(paths, None, None, on_error="raise")
        return [(path, read(data, path)) for path, data in zip(paths, files, strict=True)]

    def _check_present(self, segment: int, parts: list[Part]) -> None:
        """Check that no file of a segment is missing."""
        due = [Part(segment, number) for number in range(max(len(parts), 1))]
        if missing := sorted(set(due) - set(parts)):
            raise LogError(
                f"The log in {self._url} lacks {missing[0].name}; restore the log from a copy, or "
                "begin a new one in another folder."
            )

    def _path(self, part: Part) -> str:
        return f"{self._folder}/{part.name}"

    @contextmanager
    def _telling(self, done: str) -> Iterator[None]:
        """Raise what a file system raises, of whatever class, as an error for the user."""
        try:
            yield
        except LogError:
            raise
        except FileExistsError as error:
            raise LogError(
                f"Another driver has just taken over the log in {self._url}, or a file is in its "
                "place; stop the other group, or give another folder."
            ) from error
        except Exception as error:
            reason = getattr(error, "strerror", None) or first_line(error)
            raise LogError(
                f"The log in {self._url} cannot be {done}: {reason.rstrip('.')}; {_way_out(error)}."
            ) from error


class LogFiles(LogFolder):
    """The files of a log; opening them begins a segment and fences the driver before.

    Args:
        url: a folder, or a URL that fsspec knows; it is made if it does not exist.

    Raises:
        LogError: the folder cannot be written.
    """

    def __init__(self, url: str) -> None:
        super().__init__(url)
        with self._telling("opened"):
            self._filesystem.makedirs(self._folder, exist_ok=True)
            if isinstance(self._filesystem, LocalFileSystem):
                sync_folder(Path(self._folder).parent)
            self._segment = create_segment(self._filesystem, self._folder, self._last_segment() + 1)

    def is_fenced(self) -> bool:
        """Return whether another driver has taken over, or the driver's segment was deleted.

        Raises:
            LogError: the folder cannot be read.
        """
        with self._telling("read"):
            self._filesystem.invalidate_cache()
            own, after = Part(self._segment.number), Part(self._segment.number + 1)
            # A driver that deletes segments begins with the oldest.
            return self._filesystem.exists(self._path(after)) or not self._filesystem.exists(
                self._path(own)
            )

    def append(self, payload: bytes) -> None:
        """Append a payload, all of it or nothing, and return when it is on disk.

        Raises:
            LogError: the payload cannot be written; the next one takes its place.
        """
        with self._telling("written"):
            self._segment.append(payload)

    def compact(self, state: bytes) -> None:
        """Begin another segment with a whole state, and delete the segments before it.

        The segments before it are read until the state is on disk to its end, and ignored then.

        Args:
            state: payload that replaces all payloads so far.

        Raises:
            LogError: another driver has taken over, or the state cannot be written, or the old
                files cannot be deleted; nothing is lost.
        """
        with self._telling("written"):
            self._segment.cut()
            segment = create_segment(self._filesystem, self._folder, self._segment.number + 1)
            self._segment.close()
            self._segment = segment
            segment.start(state)
            old = [part for part in sorted(self._parts()) if part.segment < segment.number]
            if old:
                self._filesystem.rm([self._path(part) for part in old])

    def close(self) -> None:
        """Close the file that is being written."""
        self._segment.close()


def _way_out(error: Exception) -> str:
    if isinstance(error, ImportError):
        return "install that package on every node, or give another folder"
    number = getattr(error, "errno", None)
    if number in {ENOSPC, EDQUOT}:
        return "free space there, or give another folder"
    if number in {EACCES, EPERM, EROFS}:
        return "let the driver's user write there, or give another folder"
    return "see that the driver's node can reach it, or give another folder"

"""`LogWriter`: writes records in batches, so that a driver's event loop waits for no disk."""

import asyncio
import contextlib
from collections.abc import Callable
from typing import Protocol

from hogwild_dist.actors.driver.log.records import LogRecord, encode
from hogwild_dist.actors.errors import LogError

FLUSH_SECONDS = 0.1
"""Time from one write to the next; what was put meanwhile is written together."""

RETRY_SECONDS = 1.0
"""Time after which a write that failed is tried again."""

MOST_BYTES = 64 * 2**20
"""Most bytes that wait to be written; beyond them no more records are taken, but for an erasure."""


LEAST_BYTES = 64 * 2**20
"""Bytes in the files up to which nothing is erased by itself."""


CLOSED = "The group's log is closed; start the group again."


class Writable(Protocol):
    """The files of a log, as far as a writer needs them."""

    def is_fenced(self) -> bool:
        """Return whether another driver has taken over."""

    def append(self, payload: bytes) -> None:
        """Append a payload, all of it or nothing, and return when it is on disk."""


class LogWriter:
    """Writes records to a log, in order, from a thread; created in a running event loop.

    Args:
        files: files of the log; whoever opened them closes them.
        size: bytes in the files.
        erase: removes from the files what can no longer be read, and returns the bytes that are
            left; called in the thread.
        on_failure: called when writing begins to fail, and when no more records are taken.
        on_recovery: called when writing works again.
        on_fenced: called once when another driver has taken over; nothing is written any more.
    """

    def __init__(
        self,
        files: Writable,
        *,
        size: int,
        erase: Callable[[], int],
        on_failure: Callable[[LogError], None],
        on_recovery: Callable[[], None],
        on_fenced: Callable[[], None],
    ) -> None:
        self._files = files
        self._erase = erase
        self._size = size
        self._most_size = _most_size(size)
        """Bytes in the files beyond which they are erased."""
        self._on_failure = on_failure
        self._on_recovery = on_recovery
        self._on_fenced = on_fenced
        self._waiting: list[bytes] = []
        """Records that are not on disk, in order."""
        self._num_bytes = 0
        """Bytes of the waiting records."""
        self._num_put = 0
        self._num_appended = 0
        self._num_written = 0
        """Records that were appended before another driver took over, if one has."""
        self._num_erased = 0
        """Records that had been put when the last erasure began."""
        self._failure: LogError | None = None
        """Why writing fails now."""
        self._refusal: LogError | None = None
        """Why no more records are taken."""
        self._fenced = False
        self._closing = False
        self._erasing: asyncio.Future[None] | None = None
        """Done when the next erasure is, for those who wait for it."""
        self._erasure_owed = False
        """Whether the last erasure has failed."""
        self._is_erasing = False
        self._work = asyncio.Event()
        """Set while there is something to write, and at the end."""
        self._hurry = asyncio.Event()
        """Set to write at once."""
        self._progress = asyncio.Event()
        """Set, and replaced, after every attempt to write."""
        self._task = asyncio.create_task(self._run())

    def put(self, record: LogRecord) -> None:
        """Take a record to be written soon; do nothing if no more are taken."""
        if self._refusal is not None or self._closing:
            return
        encoded = encode(record)
        if self._num_bytes + len(encoded) > MOST_BYTES and not self._is_erasing:
            self._refusal = LogError(
                f"More than {MOST_BYTES} bytes wait for the log, which therefore takes no more; "
                "see that it can be written, and start the group again."
            )
            self._on_failure(self._refusal)
            return
        self._waiting.append(encoded)
        self._num_bytes += len(encoded)
        self._num_put += 1
        self._work.set()

    def hurry(self) -> None:
        """Write what was put at once."""
        self._hurry.set()

    async def flush(self) -> None:
        """Return when everything that was put is on disk; while writing fails, wait.

        Raises:
            LogError: another driver has taken over, or records were not taken, or the writer was
                closed before they were written.
        """
        due = self._num_put
        if self._num_written < due:
            self.hurry()
        while self._refusal is None and self._num_written < due and not self._task.done():
            await self._progress.wait()
        self._check(due)

    async def erase(self) -> None:
        """Write what waits, with one attempt, and remove what can no longer be read.

        An erasure that begins after this call serves it as well.

        Raises:
            LogError: that has failed; it is tried again with the next write.
        """
        if self._num_erased >= self._num_put:
            return
        if self._task.done():
            raise LogError(CLOSED)
        if self._erasing is None:
            self._erasing = asyncio.get_running_loop().create_future()
        self._work.set()
        self.hurry()
        await asyncio.shield(self._erasing)  # whoever asked may leave

    async def close(self) -> None:
        """Write what waits, with one attempt, and stop.

        Raises:
            LogError: something that was put is not on disk.
        """
        self._closing = True
        self._work.set()
        self._hurry.set()
        await self._task
        self._check(self._num_put)

    def _check(self, due: int) -> None:
        """Raise why fewer records than `due` are on disk, or some were not taken."""
        error = self._refusal or (self._failure if self._num_written < due else None)
        if error is not None:
            raise error

    async def _run(self) -> None:
        try:
            while not self._closing:
                await self._work.wait()
                await self._write_and_erase()
                await self._pause(FLUSH_SECONDS if self._failure is None else RETRY_SECONDS)
            await self._write_and_erase()
        finally:
            self._notify()
            if self._erasing is not None and not self._erasing.done():
                self._erasing.set_exception(LogError(CLOSED))

    async def _pause(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._hurry.wait(), seconds)
        self._hurry.clear()

    async def _write_and_erase(self) -> None:
        """Write what waits; then erase, if somebody asked for it or the files have doubled."""
        asked, self._erasing = self._erasing, None
        due = self._num_put
        await self._try_to_write()
        if asked is not None or self._erasure_owed or self._size > self._most_size:
            await self._try_to_erase(due, asked)
        if self._erasing is not None:
            self._work.set()

    async def _try_to_erase(self, due: int, asked: asyncio.Future[None] | None) -> None:
        """Erase, if the first `due` records are written, and tell those who asked for it."""
        try:
            self._check(due)
            await self._erase_now()
        except LogError as error:
            self._most_size = _most_size(self._size)  # unasked, it is not tried again soon
            if asked is not None:
                self._erasure_owed = True
                asked.set_exception(error)
                asked.exception()  # whoever asked may have left
        else:
            if asked is not None:
                asked.set_result(None)

    async def _erase_now(self) -> None:
        erased, self._is_erasing = self._num_written, True
        try:
            self._size = await asyncio.to_thread(self._erase)
        finally:
            self._is_erasing = False
        self._most_size = _most_size(self._size)
        self._num_erased = erased
        self._erasure_owed = False

    async def _try_to_write(self) -> None:
        """Write what waits, and tell whether that begins or ceases to fail."""
        try:
            await self._write()
        except LogError as error:
            if self._failure is None:
                self._on_failure(error)
            self._failure = error
        else:
            if self._failure is not None:
                self._failure = None
                self._on_recovery()
        self._notify()

    async def _write(self) -> None:
        if not await self._owns_log():
            return
        if num := len(self._waiting):
            payload = b"".join(self._waiting)
            await asyncio.to_thread(self._files.append, payload)
            del self._waiting[:num]
            self._num_bytes -= len(payload)
            self._num_appended += num
            self._size += len(payload)
            if not await self._owns_log():  # the other driver may not have read the last records
                return
        self._num_written = self._num_appended
        if not self._waiting and not self._closing:
            self._work.clear()

    async def _owns_log(self) -> bool:
        """Return whether no other driver has taken over; if one has, write no more."""
        if not self._fenced and await asyncio.to_thread(self._files.is_fenced):
            self._fenced = True
            self._refusal = LogError(
                "Another driver has taken over the log, so that this one writes no more; use the "
                "group that runs now."
            )
            self._waiting.clear()
            self._num_bytes = 0
            self._work.clear()
            self._on_fenced()
        return not self._fenced

    def _notify(self) -> None:
        """Wake all who wait for an attempt to write."""
        self._progress.set()
        self._progress = asyncio.Event()


def _most_size(size: int) -> int:
    """Return the size up to which files may grow that have a size after an erasure."""
    return 2 * max(size, LEAST_BYTES)

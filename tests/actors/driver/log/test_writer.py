"""Records reach the disk in order, whatever happens to it, and a driver learns of failures."""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from functools import wraps
from pathlib import Path
from typing import Any

import pytest

from hogwild_dist.actors.driver.log import writer as log_writer
from hogwild_dist.actors.driver.log.files import LogFiles
from hogwild_dist.actors.driver.log.records import Cancelled, decode, encode
from hogwild_dist.actors.driver.log.writer import LogWriter
from hogwild_dist.actors.errors import LogError

FULL = LogError("The disk is full; free space.")
LATER = 3600.0


class Files:
    """The files of a log, in memory: they fail, wait and are fenced on demand."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.errors: list[LogError | None] = []
        """Errors of the next attempts to append; None is an attempt that works."""
        self.checks: list[bool | LogError] = []
        """Outcomes of the next checks for another driver."""
        self.fenced = False
        self.num_attempts = 0
        self.erased: list[list[int]] = []
        """What was there at each erasure."""
        self.left = 0
        """Bytes that an erasure leaves."""
        self.entered, self.leave = threading.Event(), threading.Event()
        self.leave.set()

    @property
    def written(self) -> list[int]:
        return [number for batch in self.batches for number in batch]

    def is_fenced(self) -> bool:
        check = self.checks.pop(0) if self.checks else self.fenced
        if isinstance(check, LogError):
            raise check
        return check

    def erase(self) -> int:
        self.entered.set()
        assert self.leave.wait(60)
        self.erased.append(self.written)
        return self.left

    def append(self, payload: bytes) -> None:
        self.num_attempts += 1
        self.entered.set()
        assert self.leave.wait(60)
        if self.errors and (error := self.errors.pop(0)):
            raise error
        self.batches.append([one.session for one in decode(payload, "memory")])


class Told:
    """What a writer tells."""

    def __init__(self) -> None:
        self.news: list[str] = []
        self.changed = asyncio.Event()

    def tell(self, news: str) -> None:
        self.news.append(news)
        self.changed.set()


def new_writer(files: Any) -> tuple[LogWriter, Told]:
    told = Told()
    writer = LogWriter(
        files,
        size=0,
        erase=getattr(files, "erase", lambda: 0),
        on_failure=lambda error: told.tell(str(error)),
        on_recovery=lambda: told.tell("works"),
        on_fenced=lambda: told.tell("fenced"),
    )
    return writer, told


def record(number: int) -> Cancelled:
    return Cancelled(session=number, reason="timeout")


def put(writer: LogWriter, *numbers: int) -> None:
    for number in numbers:
        writer.put(record(number))


@pytest.fixture(autouse=True)
def patch(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Nothing happens by the passing of time, unless a test says so."""
    monkeypatch.setattr(log_writer, "FLUSH_SECONDS", LATER)
    monkeypatch.setattr(log_writer, "RETRY_SECONDS", LATER)
    return monkeypatch


def in_loop(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Run a test in an event loop; a minute is more than any of them takes."""

    @wraps(test)
    def run(**fixtures: Any) -> None:
        asyncio.run(asyncio.wait_for(test(**fixtures), 60))

    return run


@in_loop
async def test_what_waits_is_written_together() -> None:
    files = Files()
    writer, told = new_writer(files)
    files.leave.clear()
    put(writer, 1, 2)
    await asyncio.to_thread(files.entered.wait)
    put(writer, 3)  # does not wait for the disk
    put(writer, 4, 5)
    files.leave.set()
    await writer.flush()
    assert files.batches == [[1, 2], [3, 4, 5]]
    await writer.flush()
    put(writer, 6)
    await writer.close()
    assert files.batches[2:] == [[6]]
    assert told.news == []


@in_loop
async def test_the_next_batch_waits_for_a_moment(patch: pytest.MonkeyPatch) -> None:
    files = Files()
    writer, _told = new_writer(files)
    put(writer, 1)
    await writer.flush()
    put(writer, 2)
    assert files.batches == [[1]]
    await writer.close()
    patch.setattr(log_writer, "FLUSH_SECONDS", 0.0)
    files = Files()
    writer, _told = new_writer(files)
    for number in (1, 2):
        files.entered.clear()
        put(writer, number)
        await asyncio.to_thread(files.entered.wait)  # nobody flushes
    await writer.close()
    assert files.batches == [[1], [2]]


@in_loop
async def test_flushing_waits_for_the_disk() -> None:
    files = Files()
    writer, _told = new_writer(files)
    files.leave.clear()
    put(writer, 1)
    flushing = asyncio.create_task(writer.flush())
    await asyncio.to_thread(files.entered.wait)
    assert not flushing.done()
    files.leave.set()
    await flushing
    assert files.batches == [[1]]
    await writer.close()


@in_loop
async def test_a_failure_is_told_once_and_loses_nothing(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(log_writer, "RETRY_SECONDS", 0.0)
    files = Files()
    writer, told = new_writer(files)
    files.errors = [FULL, FULL, FULL, None, FULL]
    put(writer, 1, 2)
    await told.changed.wait()
    put(writer, 3)
    await writer.flush()
    assert files.written == [1, 2, 3]
    put(writer, 4)
    await writer.flush()
    await writer.close()
    assert files.written == [1, 2, 3, 4]
    assert told.news == [str(FULL), "works"] * 2


@in_loop
async def test_after_a_failure_flushing_tries_at_once() -> None:
    files = Files()
    writer, told = new_writer(files)
    files.errors = [FULL]
    put(writer, 1)
    await told.changed.wait()
    await writer.flush()
    assert files.batches == [[1]]
    await writer.close()


@in_loop
async def test_a_check_that_fails_writes_nothing_twice(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(log_writer, "RETRY_SECONDS", 0.0)
    files = Files()
    writer, told = new_writer(files)
    files.checks = [FULL, False, FULL, FULL]
    put(writer, 1)
    await writer.flush()
    assert files.checks == []
    put(writer, 2)
    await writer.close()
    assert files.batches == [[1], [2]]
    assert told.news == [str(FULL), "works"]


@in_loop
async def test_a_driver_that_was_replaced_writes_no_more() -> None:
    files = Files()
    writer, told = new_writer(files)
    put(writer, 1)
    await writer.flush()
    files.fenced = True
    put(writer, 2)
    with pytest.raises(LogError, match=r"Another driver has taken over the log.*use the group"):
        await writer.flush()
    put(writer, 3)
    with pytest.raises(LogError, match="Another driver has taken over"):
        await writer.flush()
    with pytest.raises(LogError, match="Another driver has taken over"):
        await writer.close()
    assert files.batches == [[1]]
    assert told.news == ["fenced"]


@in_loop
async def test_a_record_is_not_confirmed_if_another_driver_came_meanwhile() -> None:
    files = Files()
    writer, told = new_writer(files)
    files.checks, files.fenced = [False], True
    put(writer, 1)
    with pytest.raises(LogError, match="Another driver has taken over"):
        await writer.flush()
    assert files.batches == [[1]]
    assert told.news == ["fenced"]


@in_loop
async def test_records_wait_up_to_a_limit(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(log_writer, "MOST_BYTES", 3 * len(encode(record(1))))
    files = Files()
    writer, told = new_writer(files)
    files.errors = [FULL]
    put(writer, 1, 2)
    await told.changed.wait()
    put(writer, 3, 4, 5)
    assert len(told.news) == 2
    assert "bytes wait for the log, which therefore takes no more; see that it" in told.news[1]
    with pytest.raises(LogError, match="which therefore takes no more"):
        await writer.flush()
    with pytest.raises(LogError, match="which therefore takes no more"):
        await writer.close()
    assert files.written == [1, 2, 3]  # nothing is missing in between


@in_loop
async def test_bytes_that_were_written_wait_no_more(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(log_writer, "MOST_BYTES", 3 * len(encode(record(1))))
    files = Files()
    writer, told = new_writer(files)
    for number in range(0, 12, 3):
        put(writer, number, number + 1, number + 2)
        await writer.flush()
    await writer.close()
    assert files.written == list(range(12))
    assert told.news == []


@in_loop
async def test_closing_tries_once_and_tells_what_was_not_written() -> None:
    files = Files()
    writer, told = new_writer(files)
    files.errors = [FULL] * 5
    put(writer, 1)
    await told.changed.wait()
    flushing = asyncio.create_task(writer.flush())
    with pytest.raises(LogError, match="The disk is full"):
        await writer.close()
    with pytest.raises(LogError, match="The disk is full"):
        await flushing
    put(writer, 2)
    assert files.num_attempts == 2
    assert told.news == [str(FULL)]


@in_loop
async def test_an_erasure_comes_after_what_was_put_and_before_what_is_put_meanwhile() -> None:
    files = Files()
    writer, told = new_writer(files)
    put(writer, 1)
    await writer.flush()
    put(writer, 2)
    files.leave.clear()
    files.entered.clear()
    erasing = asyncio.create_task(writer.erase())
    await asyncio.to_thread(files.entered.wait)
    put(writer, 3)
    closing = asyncio.create_task(writer.close())
    files.leave.set()
    await erasing
    await closing
    assert files.erased == [[1, 2]]
    assert files.written == [1, 2, 3]
    assert told.news == []


@in_loop
async def test_erasures_that_are_asked_for_together_are_one() -> None:
    files = Files()
    writer, _told = new_writer(files)
    await writer.erase()  # there is nothing
    for number in range(5):
        put(writer, number)
    await asyncio.gather(*(writer.erase() for _ in range(5)))
    put(writer, 5)
    await writer.erase()
    await writer.close()
    assert files.erased == [[0, 1, 2, 3, 4], [0, 1, 2, 3, 4, 5]]


@in_loop
async def test_whoever_asked_for_an_erasure_may_leave_while_records_are_written() -> None:
    files = Files()
    writer, _told = new_writer(files)
    put(writer, 1)
    files.leave.clear()
    leaving = asyncio.create_task(writer.erase())
    await asyncio.to_thread(files.entered.wait)
    leaving.cancel()
    put(writer, 2)
    files.leave.set()
    await writer.close()
    assert files.written == [1, 2]  # and none of them twice


@in_loop
async def test_whoever_asked_for_an_erasure_may_leave_while_files_are_erased() -> None:
    files = Files()
    writer, _told = new_writer(files)
    put(writer, 1)
    await writer.flush()
    files.leave.clear()
    files.entered.clear()
    leaving = asyncio.create_task(writer.erase())
    await asyncio.to_thread(files.entered.wait)
    leaving.cancel()
    put(writer, 2)
    flushing = asyncio.create_task(writer.flush())
    await asyncio.wait([flushing], timeout=0.1)
    assert files.num_attempts == 1  # nothing is appended to files that are erased
    files.leave.set()
    await flushing
    await writer.close()
    assert (files.written, files.erased) == ([1, 2], [[1]])


@in_loop
async def test_files_are_erased_when_they_have_doubled(patch: pytest.MonkeyPatch) -> None:
    one = len(encode(record(1)))
    patch.setattr(log_writer, "LEAST_BYTES", one)
    files = Files()
    writer, _told = new_writer(files)
    for number in (1, 2):
        put(writer, number)
        await writer.flush()
    assert files.erased == []
    files.left = 2 * one
    for number in range(3, 7):
        put(writer, number)
        await writer.flush()
    await writer.close()
    assert files.erased == [[1, 2, 3], [1, 2, 3, 4, 5, 6]]


@in_loop
async def test_an_erasure_that_fails_is_told_and_the_next_one_does_it() -> None:
    files = Files()
    writer, told = new_writer(files)
    files.errors = [FULL]
    put(writer, 1)
    with pytest.raises(LogError, match="The disk is full"):
        await writer.erase()
    assert (files.erased, told.news) == ([], [str(FULL)])
    await writer.erase()
    assert files.erased == [[1]]
    files.fenced = True
    put(writer, 2)
    with pytest.raises(LogError, match="Another driver has taken over"):
        await writer.erase()
    with pytest.raises(LogError, match="Another driver has taken over"):
        await writer.close()
    assert files.erased == [[1]]


@in_loop
async def test_a_writer_that_nobody_used_closes() -> None:
    files = Files()
    writer, _told = new_writer(files)
    await writer.flush()
    await writer.close()
    assert files.num_attempts == 0


@in_loop
async def test_records_come_back_from_a_folder(tmp_path: Path) -> None:
    files = LogFiles(str(tmp_path))
    writer, told = new_writer(files)
    put(writer, *range(100))
    await writer.flush()
    again = LogFiles(str(tmp_path))
    found = [one for name, payload in again.read_all() for one in decode(payload, name)]
    assert found == list(map(record, range(100)))
    put(writer, 100)
    with pytest.raises(LogError, match="Another driver has taken over"):
        await writer.close()
    assert told.news == ["fenced"]

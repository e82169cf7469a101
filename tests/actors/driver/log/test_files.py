"""A log's folder keeps what was appended, whatever stops a driver and wherever it stops."""

import errno
import io
import os
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fsspec.implementations.memory import MemoryFileSystem
from hypothesis import given
from hypothesis import strategies as st

from hogwild_dist.actors.driver.log import format as log_format
from hogwild_dist.actors.driver.log import segments
from hogwild_dist.actors.driver.log.files import LogFiles
from hogwild_dist.actors.driver.log.segments import Part
from hogwild_dist.actors.errors import LogError


class Stopped(BaseException):
    """The driver's process has ended, so that nothing is cleaned up."""


class Disk:
    """The calls that change a log on either file system; one of them may fail, half done."""

    def __init__(self) -> None:
        self.calls_left = 10**9
        self.error: BaseException = Stopped()

    def fail(self, after: int, error: BaseException) -> None:
        self.calls_left, self.error = after, error

    def mend(self) -> None:
        self.calls_left = 10**9

    def fails(self) -> bool:
        self.calls_left -= 1
        return self.calls_left < 0


DISK = Disk()


class File(io.FileIO):
    def write(self, data: Any) -> int:
        if DISK.fails():
            super().write(data[: len(data) // 2])
            raise DISK.error
        return super().write(data)


@pytest.fixture(autouse=True)
def disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[Disk]:
    fsync, remove = os.fsync, os.remove
    pipe_file, rm_file = MemoryFileSystem.pipe_file, MemoryFileSystem.rm_file

    def failing(call: Any) -> Any:
        def called(*arguments: Any) -> Any:
            if DISK.fails():
                raise DISK.error
            return call(*arguments)

        return called

    def pipe(self: MemoryFileSystem, path: str, value: bytes, mode: str = "overwrite") -> None:
        if DISK.fails():
            pipe_file(self, path, value[: len(value) // 2], mode)
            raise DISK.error
        pipe_file(self, path, value, mode)

    monkeypatch.setattr(segments, "FileIO", File)
    monkeypatch.setattr(os, "fsync", failing(fsync))
    monkeypatch.setattr(os, "remove", failing(remove))
    monkeypatch.setattr(MemoryFileSystem, "pipe_file", pipe)
    monkeypatch.setattr(MemoryFileSystem, "rm_file", failing(rm_file))
    DISK.mend()
    yield DISK
    MemoryFileSystem.store.clear()
    MemoryFileSystem.pseudo_dirs[:] = [""]


@pytest.fixture(params=["local", "objects"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return str(tmp_path / "deep" / "log[1]") if request.param == "local" else "memory://deep/log"


def payloads(files: LogFiles) -> list[bytes]:
    return [payload for _, payload in files.read_all()]


def names(url: str) -> list[str]:
    if url.startswith("memory"):
        return sorted(path.rpartition("/")[2] for path in MemoryFileSystem.store)
    return sorted(path.name for path in Path(url).iterdir())


def test_the_next_driver_reads_what_was_appended(url: str) -> None:
    first = LogFiles(url)
    assert payloads(first) == []
    for payload in (b"one", b"", b"three"):
        first.append(payload)
    second = LogFiles(url)
    second.append(b"four")
    third = LogFiles(url)
    assert payloads(third) == [b"one", b"", b"three", b"four"]
    assert [Path(name).name for name, _ in third.read_all()][-1].startswith("000002")
    third.close()


def test_whoever_comes_later_fences_the_driver_before(url: str) -> None:
    first = LogFiles(url)
    first.append(b"one")
    assert not first.is_fenced()
    second = LogFiles(url)
    assert (first.is_fenced(), second.is_fenced()) == (True, False)
    second.compact(b"state")  # the segments of both are gone now
    assert (first.is_fenced(), second.is_fenced()) == (True, False)
    first.append(b"late")
    assert payloads(second) == [b"state"]
    assert payloads(LogFiles(url)) == [b"state"]


def test_a_driver_that_was_replaced_cannot_compact(url: str) -> None:
    first = LogFiles(url)
    first.append(b"one")
    second = LogFiles(url)
    with pytest.raises(LogError, match=r"Another driver has just taken over the log in .*log"):
        first.compact(b"state")
    assert payloads(second) == [b"one"]


def test_an_object_store_has_no_empty_folders(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MemoryFileSystem, "makedirs", lambda *_, **__: None)
    files = LogFiles("memory://new/log")
    files.append(b"one")
    assert payloads(LogFiles("memory://new/log")) == [b"one"]


def test_a_payload_that_is_too_long_leaves_the_log_as_it_was(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = LogFiles(url)
    files.append(b"one")
    with monkeypatch.context() as patched:
        patched.setattr(log_format, "MOST_BYTES", 3)
        for write in (files.append, files.compact):
            with pytest.raises(LogError, match="has 4 bytes and can have 3; keep fewer sessions"):
                write(b"four")
    files.append(b"two")
    assert payloads(LogFiles(url)) == [b"one", b"two"]


def test_a_driver_whose_segment_was_deleted_is_fenced(tmp_path: Path) -> None:
    files = LogFiles(str(tmp_path))
    (tmp_path / "000001.log").unlink()
    assert files.is_fenced()


def test_a_state_replaces_what_was_before(url: str) -> None:
    files = LogFiles(url)
    files.append(b"one")
    files.append(b"two")
    files.compact(b"state")
    files.append(b"three")
    assert {Part.parse(name).segment for name in names(url)} == {2}
    assert payloads(LogFiles(url)) == [b"state", b"three"]
    files = LogFiles(url)
    files.compact(b"")
    files.append(b"four")
    assert payloads(LogFiles(url)) == [b"", b"four"]


@pytest.mark.parametrize("error", [Stopped(), OSError(errno.EIO, "Input/output error")])
def test_a_compaction_may_stop_at_any_point(disk: Disk, url: str, error: BaseException) -> None:
    """Afterwards another driver reads everything, from the segments or from the state."""
    before = [b"one", b"two" * 50, b"three"]
    state = b"the state" * 20
    for after in range(100):
        folder = f"{url}{after}"
        LogFiles(folder).append(before[0])
        files = LogFiles(folder)
        for payload in before[1:]:
            files.append(payload)
        disk.fail(after, error)
        try:
            files.compact(state)
        except (Stopped, LogError):
            disk.mend()
        else:
            disk.mend()
            break
        later = []
        if isinstance(error, OSError) and not files.is_fenced():  # the driver goes on
            files.append(b"four")
            later = [b"four"]
        last = LogFiles(folder)
        assert payloads(last) in ([*before, *later], [state, *later])
        last.compact(b"all")
        assert payloads(LogFiles(folder)) == [b"all"]
    assert after >= 4
    assert payloads(LogFiles(folder)) == [state]


@pytest.mark.parametrize("after", range(4))
def test_a_full_disk_loses_nothing_and_can_be_freed(disk: Disk, url: str, after: int) -> None:
    files = LogFiles(url)
    written: list[bytes] = []
    disk.fail(after, OSError(errno.ENOSPC, "No space left on device"))
    with pytest.raises(  # noqa: PT012
        LogError,
        match=r"The log in .* cannot be written: No space left on device; free space there, or",
    ):
        for number in range(9):
            files.append(b"%d" % number * 100)
            written.append(b"%d" % number * 100)
    assert payloads(files)[: len(written)] == written
    with pytest.raises(LogError, match="No space left"):
        files.append(b"longer" * 100)
    disk.mend()
    files.append(b"short")
    files.append(b"again")
    assert payloads(LogFiles(url)) == [*written, b"short", b"again"]


@pytest.mark.parametrize("seed", range(20))
def test_a_log_is_a_text_that_outlives_its_drivers(disk: Disk, url: str, seed: int) -> None:
    """A state is the text so far. What failed may be read until something else takes its place."""
    rng, files, text, failed = random.Random(seed), LogFiles(url), b"", b""
    for number in range(60):
        payload = b"%d," % number * rng.randrange(1, 50)
        if rng.random() < 0.4:
            disk.fail(rng.randrange(6), rng.choice([Stopped(), OSError(errno.ENOSPC, "Full")]))
        compacts, tried = rng.random() < 0.2, failed
        try:
            if compacts:
                files.compact(text)
            else:
                tried = payload
                files.append(payload)
                text += payload
        except (LogError, Stopped) as error:
            failed, stopped = tried, isinstance(error, Stopped)
        else:
            failed, stopped = b"", rng.random() < 0.1
        disk.mend()
        if stopped or files.is_fenced():
            files = LogFiles(url)
            assert b"".join(payloads(files)) in (text, text + failed)
            text, failed = b"".join(payloads(files)), b""
        assert b"".join(payloads(files)) in (text, text + failed)


@given(st.data())
def test_the_last_file_may_be_cut_anywhere(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("log")
    written = [b"one", b"two", b"three"]
    for payload in written:
        LogFiles(str(folder)).append(payload)
    state_is_last = data.draw(st.booleans())
    if state_is_last:
        files = LogFiles(str(folder))
        saved = {path: path.read_bytes() for path in folder.iterdir()}
        files.compact(b"state")
        for path, content in saved.items():  # none was deleted yet
            path.write_bytes(content)
    last = max(folder.iterdir())
    content = last.read_bytes()
    cut = data.draw(st.integers(0, len(content)))
    last.write_bytes(content[:cut])
    kept = written if state_is_last else written[:-1]
    whole = [b"state"] if state_is_last else written
    assert payloads(LogFiles(str(folder))) == (whole if cut == len(content) else kept)


def test_other_files_are_left_alone(tmp_path: Path) -> None:
    for name in ("notes.txt", "000001.log.bak", "1.log"):
        (tmp_path / name).write_text("mine")
    files = LogFiles(str(tmp_path))
    files.append(b"one")
    files.compact(b"state")
    assert payloads(files) == [b"state"]
    assert names(str(tmp_path)) == ["000001.log.bak", "000002.log", "1.log", "notes.txt"]


def test_segments_are_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    (tmp_path / "999999.log").write_bytes(b"")
    files = LogFiles(str(tmp_path))
    files.compact(b"state")
    files.append(b"one")
    assert names(str(tmp_path)) == ["1000001.log"]
    assert payloads(LogFiles(str(tmp_path))) == [b"state", b"one"]


def test_missing_and_damaged_files_are_told(url: str) -> None:
    for number in range(3):
        files = LogFiles(url)
        for _ in range(3):
            files.append(b"%d" % number)
    if url.startswith("memory"):
        MemoryFileSystem.store.pop("/deep/log/000002-000002.log")
        missing = "000002-000002.log"
    else:
        content = (Path(url) / "000002.log").read_bytes()
        (Path(url) / "000002.log").write_bytes(content[:30] + b"!" + content[31:])
        with pytest.raises(LogError, match=r"000002.log is damaged at byte 20; restore the log"):
            files.read_all()
        (Path(url) / "000002.log").unlink()
        missing = "000002.log"
    with pytest.raises(LogError, match=rf"The log in .* lacks {missing}; restore the log from a"):
        LogFiles(url).read_all()


def test_a_folder_that_cannot_be_used_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(LogError, match="or a file is in its place; stop the other group, or give"):
        LogFiles(str(tmp_path / "file"))
    with pytest.raises(LogError, match="cannot be opened: Not a directory; see that the driver's"):
        LogFiles(str(tmp_path / "file" / "below"))
    with pytest.raises(LogError, match="cannot be opened: Protocol not known: nothing; see that"):
        LogFiles("nothing://log")


def test_the_way_out_fits_the_error(disk: Disk, tmp_path: Path) -> None:
    files = LogFiles(str(tmp_path))
    for number, way_out in (
        (errno.EACCES, "let the driver's user write there, or give another folder"),
        (errno.EROFS, "let the driver's user write there, or give another folder"),
        (errno.EDQUOT, "free space there, or give another folder"),
        (errno.EIO, "see that the driver's node can reach it, or give another folder"),
    ):
        disk.fail(0, OSError(number, os.strerror(number)))
        with pytest.raises(LogError, match=f"written: {os.strerror(number)}; {way_out}"):
            files.append(b"one")
    disk.fail(0, ImportError("Install s3fs to access S3"))
    with pytest.raises(LogError, match="Install s3fs to access S3; install that package on every"):
        files.append(b"one")

"""A journal that is filled from a log is the one that was logged."""

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from shutil import copytree

import pytest
from fsspec.implementations.memory import MemoryFileSystem

from hogwild_dist.actors.driver import durable_log
from hogwild_dist.actors.driver.durable_log import (
    DurableLog,
    absolute,
    log_url,
    stored_settings,
)
from hogwild_dist.actors.driver.journal import Journal
from hogwild_dist.actors.driver.log.files import LogFiles
from hogwild_dist.actors.driver.session_record import HEALTH, Owner, Record
from hogwild_dist.actors.errors import LogError
from hogwild_dist.actors.settings import GroupSettings, ShardSettings
from hogwild_dist.session.changes import AddWorker
from hogwild_dist.session.events import Joined, SessionEnd, Text
from tests.actors.driver.test_journal import ORIGIN
from tests.actors.driver.test_restoration import LATER, LEAVE, Update, wrote

SETTINGS = GroupSettings(num_shards=3, shard=ShardSettings(model="tiny"), kept_sessions=1)
CONFIGURATION = {"dtype": "torch.float64"}
JOIN = AddWorker(worker=ORIGIN.spec.workers[0])


def end(session: int) -> Update:
    return Update(session=session, step=0, events=(SessionEnd(step=1, reason="cancelled"),))


def told(
    folder: Path | str,
    story: Callable[[Journal], None],
    configuration: dict[str, str] = CONFIGURATION,
) -> tuple[Journal, int, list[Exception]]:
    """Let things happen to a journal that is filled from a log and logged there.

    Returns:
        The journal, the highest number of a session before, and what the log told its driver.
    """
    journal, lost = Journal(kept=SETTINGS.kept_sessions), []

    async def run() -> int:
        durable = DurableLog(log_url(str(folder), "lab"), lost.append)
        try:
            await durable.open()
            last = await durable.begin(journal, SETTINGS, configuration)
            story(journal)
        finally:
            await durable.close()
        return last

    return journal, asyncio.run(run()), lost


def nothing(_: Journal) -> None:
    pass


def facts(record: Record) -> tuple[object, ...]:
    kept = (record.id, record.request, record.owner, record.recorded, record.started)
    return (*kept, record.updates, record.changes, record.cancelled, record.num_joining)


def live(journal: Journal) -> None:
    """A session that ends, one that is changed, one that is cancelled, and a probe."""
    for session in (1, 2, 3):
        journal.begin(session, ORIGIN, Owner(tenant="one", secret="s"), recorded=session == 2)
    journal.begin(4, ORIGIN, Owner(tenant=HEALTH, kept=False), recorded=False)
    journal.add([wrote(1, 0, 5), end(1), wrote(2, 0, 7), wrote(4, 0, 1), end(4)])
    for change in (LEAVE, LATER):
        journal.ask(2, change)
    journal.expect_join(2, exclusive=True)
    journal.ask(2, JOIN)
    journal.add([Update(session=2, step=0, events=(), change=LEAVE), wrote(2, 1, 8)])
    journal.cancel(3, "timeout")


def test_a_journal_comes_back_as_it_was(tmp_path: Path) -> None:
    before, last, _ = told(tmp_path, live)
    assert last == 0
    for _ in range(2):  # the second log is a compacted one
        after, last, _ = told(tmp_path, nothing)
        assert last == 3  # a probe has no number that anybody keeps
        assert [facts(one) for one in after.records.values()] == [
            facts(one) for one in before.records.values()
        ]
        assert after.record(2).num_joining == 1
        assert [one.id for one in after.open_records] == [2, 3]
        assert after.record(2).transcript == before.record(2).transcript


def test_what_happens_after_a_restart_is_added(tmp_path: Path) -> None:
    told(tmp_path, live)
    joined = Joined(step=2, worker=1, name="Ann", role="")

    def more(journal: Journal) -> None:
        journal.add([Update(session=2, step=1, events=(joined,), change=JOIN), end(2), end(3)])
        journal.begin(5, ORIGIN, Owner(), recorded=False)  # one ended session is kept

    before, _, _ = told(tmp_path, more)
    after, last, _ = told(tmp_path, nothing)
    assert (list(after.records), last) == ([3, 5], 5)
    assert [facts(one) for one in after.records.values()] == [
        facts(one) for one in before.records.values()
    ]


def test_open_sessions_are_not_replayed_with_anything_else(tmp_path: Path) -> None:
    told(tmp_path, live)
    with pytest.raises(LogError, match=r"written with dtype torch.float64, and the group has half"):
        told(tmp_path, nothing, {"dtype": "half"})

    def finish(journal: Journal) -> None:
        journal.add([end(2), end(3)])

    told(tmp_path, finish)
    told(tmp_path, nothing, {"dtype": "half"})  # ended sessions can be read with any


def test_a_driver_that_was_replaced_says_so(tmp_path: Path) -> None:
    def replaced(journal: Journal) -> None:
        newer.append(LogFiles(log_url(str(tmp_path), "lab")))
        live(journal)

    newer: list[LogFiles] = []
    _, _, lost = told(tmp_path, replaced)
    (error,) = lost
    assert "Another driver has taken over" in str(error)
    newer[0].close()


def test_settings_can_be_read_without_taking_over(tmp_path: Path) -> None:
    def read(_: Journal) -> None:
        assert stored_settings(str(tmp_path), "lab") == SETTINGS

    _, _, lost = told(tmp_path, read)
    assert not lost
    (tmp_path / "a file").touch()
    with pytest.raises(
        LogError, match=r"There is no group 'nobody' in the journal '.*'; it has 'lab'\."
    ):
        stored_settings(str(tmp_path), "nobody")
    with pytest.raises(LogError, match="it has none, start one"):
        stored_settings(str(tmp_path / "elsewhere"), "lab")


def test_the_groups_of_an_object_store_are_known(tmp_path: Path) -> None:
    journal = f"memory:/{tmp_path}"
    LogFiles(log_url(journal, "lab")).close()
    with pytest.raises(LogError, match=r"it has 'lab'\."):
        stored_settings(journal, "nobody")


def test_folders_are_made_absolute_and_urls_are_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert absolute("journal") == str(tmp_path / "journal")
    assert absolute("memory://journal") == "memory://journal"


def test_what_was_flushed_outlives_a_driver_that_dies(tmp_path: Path) -> None:
    """Nothing is closed, as after SIGKILL."""
    journal = Journal(kept=1)

    async def die() -> None:
        durable = DurableLog(log_url(str(tmp_path), "lab"), lambda _: None)
        await durable.open()
        await durable.begin(journal, SETTINGS, CONFIGURATION)
        journal.begin(1, ORIGIN, Owner(), recorded=False)
        await durable.flush()
        copytree(tmp_path / "lab", tmp_path / "found" / "lab")

    asyncio.run(die())
    after, _, _ = told(tmp_path / "found", nothing)
    assert list(after.records) == [1]


def test_a_disk_that_is_full_keeps_nobody_waiting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(durable_log, "FLUSH_SECONDS", 0.1)

    def fail(*_: object) -> None:
        raise LogError("The log cannot be written.")

    async def go_on() -> None:
        durable = DurableLog(log_url(str(tmp_path), "lab"), lambda _: None)
        await durable.open()
        journal = Journal(kept=1)
        await durable.begin(journal, SETTINGS, CONFIGURATION)
        monkeypatch.setattr(LogFiles, "append", fail)
        journal.begin(1, ORIGIN, Owner(), recorded=False)
        await asyncio.wait_for(durable.flush(), 10)

    asyncio.run(go_on())


PHRASE = b"a phrase that nobody else says"


@pytest.fixture(params=["local", "objects"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    yield str(tmp_path / "journal") if request.param == "local" else "memory://journal"
    MemoryFileSystem.store.clear()


def files_of(place: str) -> list[bytes]:
    """The contents of all files of a log."""
    if place.startswith("memory"):
        return [file.getvalue() for file in MemoryFileSystem.store.values()]
    return [path.read_bytes() for path in Path(place).rglob("*") if path.is_file()]


def test_a_deleted_text_is_in_no_file_of_a_log_that_is_being_written(place: str) -> None:
    said = Text(step=0, worker=0, name="Ann", token_ids=(1,), text=PHRASE.decode(), chosen=True)

    async def run() -> None:
        journal = Journal(kept=9)
        durable = DurableLog(log_url(place, "lab"), lambda error: None)
        await durable.open()
        await durable.begin(journal, SETTINGS, CONFIGURATION)
        for session in (1, 2, 3):
            journal.begin(session, ORIGIN, Owner(), recorded=False)
        journal.add([wrote(1, 0, 5), Update(session=2, step=0, events=(said,)), wrote(3, 0, 7)])
        await durable.erase()
        assert any(PHRASE in file for file in files_of(place))
        for session in (2, 3):
            journal.forget(session)
        journal.add([wrote(1, 1, 6)])
        await durable.erase()
        assert not any(PHRASE in file for file in files_of(place))
        journal.add([wrote(1, 2, 8)])
        before.extend(facts(record) for record in journal.records.values())
        await durable.close()

    before: list[tuple[object, ...]] = []
    asyncio.run(run())
    after, last, _ = told(place, nothing)
    assert [facts(record) for record in after.records.values()] == before
    assert len(after.record(1).updates) == 3
    assert last == 3


def test_sessions_that_are_dropped_at_a_restart_are_in_no_file(place: str) -> None:
    """A driver that keeps fewer than the one before."""

    async def run(journal: Journal, story: Callable[[Journal], None]) -> None:
        durable = DurableLog(log_url(place, "lab"), lambda _: None)
        await durable.open()
        await durable.begin(journal, SETTINGS, CONFIGURATION)
        story(journal)
        await durable.close()

    def three(journal: Journal) -> None:
        for session in (1, 2, 3):
            journal.begin(session, ORIGIN, Owner(), recorded=False)
            journal.add([wrote(session, 0, 5), end(session)])

    asyncio.run(run(Journal(kept=3), three))
    fewer, more = Journal(kept=0), Journal(kept=3)
    asyncio.run(run(fewer, nothing))
    assert list(fewer.records) == [3]  # the others were dropped with the next one's beginning
    asyncio.run(run(more, nothing))
    assert list(more.records) == [3]

"""Records come back from a log as they were, and what is no record is refused."""

import json
import math
from dataclasses import replace
from functools import cache
from typing import Any

import msgpack
import pytest

from hogwild_dist import LAYOUTS
from hogwild_dist.actors.driver.log.records import (
    Cancelled,
    ChangeAsked,
    Forgotten,
    GroupStarted,
    LogRecord,
    SessionOpened,
    Shown,
    decode,
    encode,
    settings_from_json,
    settings_to_json,
)
from hogwild_dist.actors.driver.session_record import Owner
from hogwild_dist.actors.errors import ClusterError, LogError
from hogwild_dist.actors.settings import GroupSettings, ShardSettings, Spread
from hogwild_dist.config import EngineConfig, ExchangeBackend, SamplingConfig, Visibility
from hogwild_dist.engine.commands import ApplyChange, Inbox
from hogwild_dist.engine.shard_loop import ShardLoop
from hogwild_dist.engine.updates import Update
from hogwild_dist.errors import ContextLimitError, HogwildError, SessionError
from hogwild_dist.session.changes import AddWorker, Change, RemoveWorker
from hogwild_dist.session.events import Event, Refused
from hogwild_dist.team.session_request import SessionRequest
from tests.actors.client.test_shard_group import team
from tests.exchange import grid
from tests.faults.test_lost_shards import COMMANDS, MESSAGE, NEWCOMER
from tests.tiny_tokenizer import byte_tokenizer

NAME = "000001.log"
SAMPLING = SamplingConfig(temperature=0.7, forbidden_ids=(3, 4), logit_bias={5: -1.5, 70_000: 2.0})
TEAM = replace(team(3, LAYOUTS["combined"]), sampling=SAMPLING)
REQUEST = SessionRequest(
    problem="Zähle! 数", team=TEAM, spec=TEAM.spec("Zähle! 数", byte_tokenizer()), team_name="three"
)
CHANGES: list[Change] = [
    MESSAGE,
    AddWorker(worker=NEWCOMER, announcement=MESSAGE, role="critic"),
    RemoveWorker(name="Ann"),
]
SETTINGS = GroupSettings(
    num_shards=3,
    shard=ShardSettings(
        dtype="float32",
        threads=2,
        engine=EngineConfig(
            visibility=Visibility.OVERLAPPED, exchange_backend=ExchangeBackend.NCCL
        ),
    ),
    spread=Spread.SPREAD,
    gpus_per_shard=1,
    orphan_seconds=3.5,
)


@cache
def shown() -> tuple[Update, ...]:
    """What sessions with changes show, some of which are refused."""
    seen: list[Update] = []
    inbox = Inbox()
    late = [ApplyChange(session=4, change=one) for one in (CHANGES[1], *CHANGES)]
    for number, command in enumerate([*COMMANDS, *late], start=1):
        inbox.put(number, command)
    ShardLoop(grid.new_engine(Visibility.SAME_STEP), inbox, seen.extend).run()
    return tuple(seen)


def logged(*records: LogRecord) -> list[LogRecord]:
    return decode(b"".join(map(encode, records)), NAME)


def test_updates_come_back() -> None:
    updates = shown()
    kinds = {event.kind for update in updates for event in update.events}
    assert kinds == {one.kind for one in Event.__subclasses__()}
    assert any(update.record for update in updates)
    assert any(update.final for update in updates)
    assert {type(one.change) for one in updates} >= {type(one) for one in CHANGES}
    (back,) = logged(Shown(updates=updates))
    assert isinstance(back, Shown)
    assert back.updates == tuple(map(plain, updates))


def plain(update: Update) -> Update:
    """An update whose trace entries are as a trace file has them, without tuples."""
    record, final = json.loads(json.dumps([update.record, update.final]))
    return replace(update, record=record, final=final)


@pytest.mark.parametrize(
    "record",
    [
        GroupStarted(settings=settings_to_json(SETTINGS), configuration={"weights": "0a1b"}),
        SessionOpened(
            session=7, request=REQUEST, owner=Owner(), recorded=True, started=1_700_000_000.25
        ),
        SessionOpened(
            session=8,
            request=REQUEST,
            owner=Owner(tenant="a", secret="s", leased=False, seconds=math.inf, kept=False),
            recorded=False,
            started=0.0,
        ),
        *(ChangeAsked(session=7, change=change) for change in CHANGES),
        Cancelled(session=7, reason="timeout"),
        Shown(updates=()),
        Forgotten(sessions=(7, 2**40)),
    ],
)
def test_records_come_back(record: LogRecord) -> None:
    assert logged(record, record) == [record, record]


def test_settings_come_back() -> None:
    (record,) = logged(GroupStarted(settings=settings_to_json(SETTINGS), configuration={}))
    assert isinstance(record, GroupStarted)
    assert settings_from_json(record.settings, NAME) == SETTINGS
    with pytest.raises(LogError, match=r"000001.log .*shards is 65; it must be from 1 to 64"):
        settings_from_json({**record.settings, "num_shards": 65}, NAME)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (ContextLimitError("The text is too long."), ContextLimitError),
        (SessionError("It failed."), SessionError),
        (ClusterError("The shards are lost."), SessionError),
        (HogwildError("Something."), HogwildError),
    ],
)
def test_an_error_keeps_its_class_if_sessions_can_end_with_it(
    error: HogwildError, kind: type[HogwildError]
) -> None:
    (back,) = logged(Shown(updates=(Update(session=1, step=2, events=(), error=error),)))
    assert isinstance(back, Shown)
    (update,) = back.updates
    assert (type(update.error), str(update.error)) == (kind, str(error))


@pytest.mark.parametrize("name", ["check_positive", "dataclass", "__name__", "NoSuchError"])
def test_an_unknown_error_class_is_one_of_a_session(name: str) -> None:
    update = Update(session=1, step=2, events=(), error=HogwildError("It failed."))
    kind, fields = msgpack.unpackb(encode(Shown(updates=(update,))))
    fields[0]["error"][0] = name
    (back,) = decode(msgpack.packb([kind, fields]), NAME)
    assert isinstance(back, Shown)
    assert type(back.updates[0].error) is SessionError


def test_a_trace_keeps_numbers_that_json_has_not() -> None:
    record = {"logsumexp": [math.inf, -math.inf, math.nan], "block_len": {"own": 3}}
    (back,) = logged(Shown(updates=(Update(session=1, step=2, events=(), record=record),)))
    assert isinstance(back, Shown)
    assert repr(back.updates[0].record) == repr(record)


EVENT = Refused(step=1, reason="No room.")
UPDATE: Any = msgpack.unpackb(encode(Shown(updates=(Update(session=1, step=2, events=(EVENT,)),))))[
    1
][0]


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        (["renamed", {}], "there is no record 'renamed'"),
        (["cancelled", {"session": 3}], "reason: Field required"),
        (["cancelled", {"session": "x", "reason": "y"}], "session: Input should be a valid int"),
        (["shown", [{**UPDATE, "events": [["new", {}]]}]], "there is no event 'new'"),
        (["shown", [{**UPDATE, "events": [["text", {"step": 1}]]}]], "worker: Field required"),
        (["shown", [{**UPDATE, "step": None}]], "0.step: Input should be a valid int"),
        (["shown", [{**UPDATE, "change": {"kind": "new"}}]], "0.change: Input tag 'new' found"),
        (["cancelled"], "missing 1 required positional argument"),
        (["cancelled", {}, {}], "takes 2 positional arguments"),
        ({"cancelled": 1}, "missing 1 required positional argument"),
        ([[], {}], "unhashable type"),
        (7, "must be an iterable"),
    ],
)
def test_what_is_no_record_is_refused(value: Any, sentence: str) -> None:
    with pytest.raises(LogError, match=r"000001.log holds a record that cannot be read: ") as error:
        decode(msgpack.packb(value), NAME)
    assert sentence in str(error.value)
    assert str(error.value).endswith(
        "; install the hogwild-dist that wrote it, or begin in another folder."
    )


def test_an_incomplete_record_is_refused() -> None:
    payload = encode(Cancelled(session=1, reason="timeout")) * 2
    assert len(decode(payload, NAME)) == 2
    for cut in (2, len(payload) // 2 + 1, len(payload) - 1):
        with pytest.raises(LogError, match="a record that cannot be read: No more data"):
            decode(payload[:cut], NAME)
    with pytest.raises(LogError, match=r"000001.log holds a record that cannot be read"):
        decode(payload + b"\xc1", NAME)

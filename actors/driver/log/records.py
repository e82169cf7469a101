"""The records of a log: what happened to a group and its sessions, as msgpack.

Every record is a list of its kind and its fields. The records of one payload follow one another.
"""

from dataclasses import dataclass
from typing import Annotated, Any

import msgpack
from pydantic import Field, TypeAdapter, ValidationError

from hogwild_dist import errors
from hogwild_dist.actors.driver.session_record import Owner
from hogwild_dist.actors.errors import LogError
from hogwild_dist.actors.settings import GroupSettings
from hogwild_dist.engine.updates import Update
from hogwild_dist.errors import HogwildError, SessionError, first_line
from hogwild_dist.session.changes import Change
from hogwild_dist.session.events import (
    Answer,
    Event,
    Interjected,
    Joined,
    ParagraphEnd,
    Refused,
    SessionEnd,
    Text,
    WorkerStop,
)
from hogwild_dist.team.session_request import SessionRequest

SHOWN, FORGOTTEN = "shown", "forgotten"
"""Kinds of two records, for readers that decode no more than that."""

_KindOfChange = Annotated[Change, Field(discriminator="kind")]


@dataclass(frozen=True, kw_only=True, slots=True)
class GroupStarted:
    """A driver has started a group; sessions go on if the configuration is still the same.

    Attributes:
        settings: settings of the group, from `settings_to_json`.
        configuration: what a replay depends on, such as the weights' fingerprint: name -> value.
    """

    settings: dict[str, Any]
    configuration: dict[str, str]


@dataclass(frozen=True, kw_only=True, slots=True)
class SessionOpened:
    """A session was opened.

    Attributes:
        session: id of the session.
        request: request that opened the session.
        owner: owner of the session.
        recorded: whether the session's updates contain trace records.
        started: time of opening, in seconds since the Unix epoch.
    """

    session: int
    request: SessionRequest
    owner: Owner
    recorded: bool
    started: float


@dataclass(frozen=True, kw_only=True, slots=True)
class ChangeAsked:
    """A change of a session was asked for; the update with its effect comes later.

    Attributes:
        session: id of the session.
        change: the change.
    """

    session: int
    change: _KindOfChange


@dataclass(frozen=True, kw_only=True, slots=True)
class Cancelled:
    """A session was cancelled; the update with its end comes later.

    Attributes:
        session: id of the session.
        reason: why it was cancelled.
    """

    session: int
    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Shown:
    """Updates became readable.

    Attributes:
        updates: the updates of any sessions, in order.
    """

    updates: tuple[Update, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Forgotten:
    """Sessions can no longer be read.

    Attributes:
        sessions: ids of the sessions.
    """

    sessions: tuple[int, ...]


LogRecord = GroupStarted | SessionOpened | ChangeAsked | Cancelled | Shown | Forgotten


@dataclass(frozen=True, kw_only=True, slots=True)
class _UpdateFields:
    """The fields of an update; events and errors are pairs of a kind and the rest."""

    session: int
    step: int
    events: tuple[tuple[str, dict[str, Any]], ...]
    seconds: float
    record: dict[str, Any] | None
    final: dict[str, Any] | None
    error: tuple[str, str] | None
    change: _KindOfChange | None


_SETTINGS = TypeAdapter(GroupSettings)
_UPDATES = TypeAdapter(tuple[_UpdateFields, ...])
_EVENTS: dict[str, TypeAdapter[Any]] = {
    event.kind: TypeAdapter(event)
    for event in (
        Answer,
        Interjected,
        Joined,
        ParagraphEnd,
        Refused,
        SessionEnd,
        Text,
        WorkerStop,
    )
}
_KINDS: dict[type[Any], str] = {
    GroupStarted: "group_started",
    SessionOpened: "session_opened",
    ChangeAsked: "change_asked",
    Cancelled: "cancelled",
    Shown: SHOWN,
    Forgotten: FORGOTTEN,
}
_RECORDS: dict[str, TypeAdapter[Any]] = {
    kind: TypeAdapter(record) for record, kind in _KINDS.items() if record is not Shown
}


def encode(record: LogRecord) -> bytes:
    """Return a record as bytes; the bytes of several records make a payload."""
    kind = _KINDS[type(record)]
    if isinstance(record, Shown):
        shown = tuple(map(_update_fields, record.updates))
        fields = _UPDATES.dump_python(shown)  # in JSON, a trace's NaN would be null
    else:
        fields = _RECORDS[kind].dump_python(record, mode="json")
    packed: bytes = msgpack.packb([kind, fields])
    return packed


def decode(payload: bytes, name: str) -> list[LogRecord]:
    """Return the records of a payload.

    Args:
        payload: bytes of the records.
        name: name of the file, for errors.

    Raises:
        LogError: the bytes are not those of records.
    """
    unpacker = msgpack.Unpacker(max_buffer_size=len(payload), strict_map_key=False)
    unpacker.feed(payload)
    records = []
    try:
        while unpacker.tell() < len(payload):
            records.append(_record(*unpacker.unpack()))
    except (ValueError, TypeError, msgpack.OutOfData) as error:
        raise _unreadable(name, error) from error
    return records


def settings_to_json(settings: GroupSettings) -> dict[str, Any]:
    """Return the settings of a group as JSON."""
    fields: dict[str, Any] = _SETTINGS.dump_python(settings, mode="json")
    return fields


def settings_from_json(fields: Any, name: str) -> GroupSettings:
    """Return the settings that a log holds.

    Args:
        fields: settings as JSON.
        name: name of the log, for errors.

    Raises:
        LogError: the fields are not those of settings.
    """
    try:
        return _SETTINGS.validate_python(fields)
    except ValueError as error:
        raise _unreadable(name, error) from error


def _record(kind: str, fields: Any) -> LogRecord:
    if kind == SHOWN:
        return Shown(updates=tuple(map(_update, _UPDATES.validate_python(fields))))
    if kind not in _RECORDS:
        raise ValueError(f"there is no record {kind!r:.80}")
    record: LogRecord = _RECORDS[kind].validate_python(fields)
    return record


def _update_fields(update: Update) -> _UpdateFields:
    error = update.error
    return _UpdateFields(
        session=update.session,
        step=update.step,
        events=tuple((one.kind, _EVENTS[one.kind].dump_python(one)) for one in update.events),
        seconds=update.seconds,
        record=update.record,
        final=update.final,
        error=None if error is None else (type(error).__name__, str(error)),
        change=update.change,
    )


def _update(fields: _UpdateFields) -> Update:
    return Update(
        session=fields.session,
        step=fields.step,
        events=tuple(_event(*one) for one in fields.events),
        seconds=fields.seconds,
        record=fields.record,
        final=fields.final,
        error=None if fields.error is None else _error(*fields.error),
        change=fields.change,
    )


def _event(kind: str, fields: dict[str, Any]) -> Event:
    if kind not in _EVENTS:
        raise ValueError(f"there is no event {kind!r:.80}")
    event: Event = _EVENTS[kind].validate_python(fields)
    return event


def _error(kind: str, text: str) -> HogwildError:
    found = getattr(errors, kind, None)
    if isinstance(found, type) and issubclass(found, HogwildError):
        return found(text)
    return SessionError(text)


def _unreadable(name: str, error: Exception) -> LogError:
    reason = first_line(error)
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "the record"
        reason = f"{place}: {first['msg']}"
    return LogError(
        f"{name} holds a record that cannot be read: {reason.rstrip('.')}; install the "
        "hogwild-dist that wrote it, or begin in another folder."
    )

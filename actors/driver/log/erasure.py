"""Removing forgotten sessions from a log while it is being written."""

from collections.abc import Iterable, Sequence
from typing import Any

import msgpack

from hogwild_dist.actors.driver.log.files import LogFiles
from hogwild_dist.actors.driver.log.records import FORGOTTEN, SHOWN


def erase_forgotten(files: LogFiles) -> int:
    """Replace the files of a log by one that holds nothing of forgotten sessions but their numbers.

    Nobody may append meanwhile.

    Returns:
        The bytes that are left.

    Raises:
        LogError: the files cannot be read or written; nothing is lost.
    """
    left = without_forgotten([payload for _, payload in files.read_all()])
    files.compact(left)
    return len(left)


def without_forgotten(payloads: Sequence[bytes]) -> bytes:
    """Return a payload that stands for others, without the sessions that they forget.

    Records are not decoded further than necessary: a log is long, and its driver waits meanwhile.
    """
    forgotten = {
        session
        for kind, fields in _unpacked(payloads)
        if kind == FORGOTTEN
        for session in fields["sessions"]
    }
    kept = (_kept(kind, fields, forgotten) for kind, fields in _unpacked(payloads))
    return b"".join(record for record in kept if record is not None)


def _unpacked(payloads: Iterable[bytes]) -> Iterable[tuple[str, Any]]:
    for payload in payloads:
        unpacker = msgpack.Unpacker(max_buffer_size=len(payload), strict_map_key=False)
        unpacker.feed(payload)
        yield from unpacker


def _kept(kind: str, fields: Any, forgotten: set[int]) -> bytes | None:
    """Return a record without what concerns forgotten sessions, or None if nothing is left."""
    if kind == SHOWN:
        fields = [update for update in fields if update["session"] not in forgotten]
        if not fields:
            return None
    elif kind != FORGOTTEN and fields.get("session") in forgotten:
        return None
    packed: bytes = msgpack.packb([kind, fields])
    return packed

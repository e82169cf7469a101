"""The format of a log file: a header, then frames that tell a torn end from a damaged middle.

A frame is written and synced before the next one begins. Hence a crash tears the last frame only,
and a frame that is broken although another follows was damaged later.
"""

from dataclasses import dataclass
from struct import Struct
from zlib import crc32

from hogwild_dist.actors.errors import LogError

MAGIC = b"hogwild\n"
"""First bytes of every log file."""

VERSION = 1
"""Version of the format; a driver reads its own only."""

MOST_BYTES = 2**32 - 1
"""Most bytes of a payload."""

_HEADER = Struct("<8sIII")
"""Header of a file: magic, version, whether it begins with a whole state, checksum."""

_FRAME = Struct("<III")
"""Header of a frame: length and checksum of the payload, and the checksum of these two."""

_WAY_OUT = "restore the log from a copy, or begin a new one in another folder"


@dataclass(frozen=True, kw_only=True, slots=True)
class Contents:
    """What could be read from a file.

    Attributes:
        whole: whether the first payload is a whole state, which replaces all earlier files.
        payloads: payloads of the intact frames.
        num_valid: number of bytes up to the end of the last intact frame.
    """

    whole: bool
    payloads: list[bytes]
    num_valid: int


NOTHING = Contents(whole=False, payloads=[], num_valid=0)
"""Contents of a file whose header was not written to its end."""


def header(*, whole: bool = False) -> bytes:
    """Return the header of a file.

    Args:
        whole: whether the first payload is a whole state.
    """
    fields = _HEADER.pack(MAGIC, VERSION, whole, 0)[:-4]
    return fields + crc32(fields).to_bytes(4, "little")


def frame(payload: bytes) -> bytes:
    """Return a payload in its frame.

    Raises:
        LogError: the payload is longer than a frame can be.
    """
    if len(payload) > MOST_BYTES:
        raise LogError(
            f"A record of the log has {len(payload)} bytes and can have {MOST_BYTES}; keep fewer "
            "sessions."
        )
    fields = _FRAME.pack(len(payload), crc32(payload), 0)[:-4]
    return fields + crc32(fields).to_bytes(4, "little") + payload


def read(data: bytes, name: str) -> Contents:
    """Read a file; a torn end is left out.

    Args:
        data: bytes of the file.
        name: name of the file, for errors.

    Raises:
        LogError: the file is damaged before its last frame, has another version, or is no log file.
    """
    headers = {header(whole=whole): whole for whole in (False, True)}
    begin = data[: _HEADER.size]
    if begin not in headers:
        if _is_torn_header(data):
            return NOTHING
        raise _wrong_header(begin, name)
    payloads, end = [], _HEADER.size
    while (payload := _frame_at(data, end, name)) is not None:
        payloads.append(payload)
        end += _FRAME.size + len(payload)
    return Contents(whole=headers[begin], payloads=payloads, num_valid=end)


def _frame_at(data: bytes, begin: int, name: str) -> bytes | None:
    """Return the payload of the frame at `begin`, or None if only a torn end is left."""
    if not _is_frame_header(data, begin):
        last = len(data) - _FRAME.size
        if not any(data[begin:]) or not any(
            _is_frame_header(data, at) for at in range(begin + 1, last + 1)
        ):
            return None
        raise _damaged(name, begin)
    length, checksum, _ = _FRAME.unpack_from(data, begin)
    end = begin + _FRAME.size + length
    payload = data[begin + _FRAME.size : end]
    if len(payload) == length and crc32(payload) == checksum:
        return payload
    if any(data[end:]):
        raise _damaged(name, begin)
    return None


def _is_frame_header(data: bytes, at: int) -> bool:
    fields = data[at : at + _FRAME.size]
    return len(fields) == _FRAME.size and crc32(fields[:-4]) == int.from_bytes(
        fields[-4:], "little"
    )


def _is_torn_header(data: bytes) -> bool:
    """Whether a file ends within its header; bytes that were not written may be zeros."""
    written = data.rstrip(b"\0")
    return any(header(whole=whole).startswith(written) for whole in (False, True))


def _wrong_header(begin: bytes, name: str) -> LogError:
    if len(begin) < _HEADER.size or not begin.startswith(MAGIC):
        return LogError(
            f"{name} is no log file of hogwild-dist version {VERSION}: it begins with "
            f"{begin[: len(MAGIC)]!r} and not with {MAGIC!r}; give a folder for the log alone."
        )
    version = _HEADER.unpack(begin)[1]
    if version != VERSION:
        return LogError(
            f"{name} has version {version} of the log format and this hogwild-dist reads version "
            f"{VERSION}; install the hogwild-dist that wrote it, or begin in another folder."
        )
    return _damaged(name, 0)


def _damaged(name: str, offset: int) -> LogError:
    return LogError(f"{name} is damaged at byte {offset}; {_WAY_OUT}.")

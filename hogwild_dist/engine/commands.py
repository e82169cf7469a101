"""Commands to a group of shards: they reach each shard on its own, and take effect on all at once.

A shard tells the others with every step up to which command it has all of them; the least of these
is what every shard may carry out before its next step.
"""

import threading
from dataclasses import dataclass, field

from hogwild_dist.session.changes import Change
from hogwild_dist.session.spec import SessionSpec


@dataclass(frozen=True, kw_only=True, slots=True)
class Open:
    """Start a session.

    Attributes:
        session: its id.
        spec: what it starts from.
        recorded: whether its updates carry a trace's entries.
        tenant: for whom; tenants take turns where sessions wait for room.
    """

    session: int
    spec: SessionSpec
    recorded: bool
    tenant: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Cancel:
    """End a session; nothing happens if it has ended.

    Attributes:
        session: its id.
        reason: why, as its end says it.
    """

    session: int
    reason: str = "cancelled"


@dataclass(frozen=True, kw_only=True, slots=True)
class ApplyChange:
    """Change a running session; nothing happens if it has ended.

    Attributes:
        session: its id.
        change: what to do.
    """

    session: int
    change: Change


Command = Open | Cancel | ApplyChange


@dataclass(slots=True)
class Inbox:
    """The commands that have reached one shard, numbered from 1; safe to fill from any thread."""

    _waiting: dict[int, Command] = field(default_factory=dict)
    _highest: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def highest(self) -> int:
        """The id up to which no command is missing."""
        with self._lock:
            while self._highest + 1 in self._waiting:
                self._highest += 1
            return self._highest

    def put(self, number: int, command: Command) -> None:
        """Take in a command."""
        with self._lock:
            self._waiting[number] = command

    def take(self, number: int) -> Command:
        """Take out a command that has arrived."""
        with self._lock:
            self._highest = max(self._highest, number)
            return self._waiting.pop(number)

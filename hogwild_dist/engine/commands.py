"""Commands to a group of shards: each shard receives them separately and all apply them together.

With every step a shard reports the highest id up to which it holds every command. Before the next
step all shards carry out the commands up to the least of these ids.
"""

import threading
from dataclasses import dataclass, field

from hogwild_dist.engine.forced_replay import ForcedReplay
from hogwild_dist.session.changes import Change
from hogwild_dist.session.spec import SessionSpec


@dataclass(frozen=True, kw_only=True, slots=True)
class Open:
    """Start a session.

    Attributes:
        session: id of the session.
        spec: the specification of the session.
        recorded: whether its updates carry entries of a trace.
        tenant: the client that the session belongs to; tenants take turns while sessions wait.
        replay: what the session did before, on shards that are lost; None starts it anew.
    """

    session: int
    spec: SessionSpec
    recorded: bool
    tenant: str = ""
    replay: ForcedReplay | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Cancel:
    """End a session; nothing happens if it has ended.

    Attributes:
        session: id of the session.
        reason: end reason to report.
    """

    session: int
    reason: str = "cancelled"


@dataclass(frozen=True, kw_only=True, slots=True)
class ApplyChange:
    """Change a running session; nothing happens if it has ended.

    Attributes:
        session: id of the session.
        change: the change to apply.
    """

    session: int
    change: Change


@dataclass(frozen=True, kw_only=True, slots=True)
class Pause:
    """Wait for the next membership, between two steps, so that shards can join or leave.

    Attributes:
        epoch: number of the membership that is to end; nothing happens if it has ended already.
    """

    epoch: int


Command = Open | Cancel | ApplyChange | Pause


@dataclass(slots=True)
class Inbox:
    """The commands that have reached one shard, numbered from 1; safe to fill from any thread."""

    _waiting: dict[int, Command] = field(default_factory=dict)
    _highest: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def highest(self) -> int:
        """The highest id up to which no command is missing."""
        with self._lock:
            while self._highest + 1 in self._waiting:
                self._highest += 1
            return self._highest

    def put(self, number: int, command: Command) -> None:
        """Store a command under its id; one that was stored before is ignored."""
        with self._lock:
            if number > self._highest:
                self._waiting[number] = command

    def held(self) -> dict[int, Command]:
        """Return the commands that have not been taken, by id."""
        with self._lock:
            return dict(self._waiting)

    def skip(self, number: int) -> None:
        """Expect no command up to this id any more."""
        with self._lock:
            self._highest = max(self._highest, number)
            self._waiting = {n: one for n, one in self._waiting.items() if n > number}

    def take(self, number: int) -> Command:
        """Remove and return a command."""
        with self._lock:
            self._highest = max(self._highest, number)
            return self._waiting.pop(number)

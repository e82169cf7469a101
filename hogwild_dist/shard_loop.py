"""What a shard does from its first session to its last: step, and carry out commands in between."""

import logging
from collections.abc import Callable, Sequence

from hogwild_dist.commands import Alter, Cancel, Command, Inbox, Open
from hogwild_dist.engine import Engine
from hogwild_dist.errors import ConfigError, ContextLimitError
from hogwild_dist.outcome import StepOutcome
from hogwild_dist.session import Session
from hogwild_dist.stream import Update, change_update, opening_update, updates

log = logging.getLogger(__name__)


class ShardLoop:
    """Steps an engine until it has no session left, in step with the other shards of its group.

    Args:
        engine: of this shard, with the group's exchange.
        inbox: commands for all shards.
        emit: takes the updates of a step; every shard has the same ones.
        observe: takes the outcome of every step, for metrics.
        audit: whether to keep a checksum of every block of a session that has ended.
    """

    def __init__(
        self,
        engine: Engine,
        inbox: Inbox,
        emit: Callable[[Sequence[Update]], None],
        *,
        observe: Callable[[StepOutcome], None] = lambda _: None,
        audit: bool = False,
    ) -> None:
        self._engine = engine
        self._inbox = inbox
        self._emit = emit
        self._observe = observe
        self._audit = audit
        self.checksums: dict[int, dict[str, int]] = {}
        """Session id -> block name -> a number that equal copies share; for audits."""
        self.sessions: dict[int, Session] = {}
        """Those that go on."""
        self.applied = 0
        """Number of the last command that was carried out."""

    def run(self) -> int:
        """Step until no session is left.

        Returns:
            Number of the last command that was carried out; newer ones wait for the next run.

        Raises:
            ExchangeError: a peer is lost or of another mind.
        """
        agreed = self._engine.agree(self._inbox.highest)
        while self._obey(agreed):
            outcome = self._engine.step(list(self.sessions.values()), self._inbox.highest)
            agreed = max(agreed, outcome.command)
            self._observe(outcome)
            news = list(updates(outcome))
            for one in outcome.sessions:
                if one.session.end_reason:
                    self._retire(one.session)
            self._emit(news)
        self._engine.drain()
        return self.applied

    def _obey(self, agreed: int) -> bool:
        """Carry out commands up to `agreed`; whether a session goes on."""
        while self.applied < agreed:
            self.applied += 1
            self._carry_out(self._inbox.take(self.applied))
        return bool(self.sessions)

    def _carry_out(self, command: Command) -> None:
        match command:
            case Open():
                self._open(command)
            case Cancel():
                if command.session in self.sessions:
                    self.sessions[command.session].cancel()
            case Alter():
                if command.session in self.sessions:
                    session = self.sessions[command.session]
                    events = self._engine.alter(session, command.change)
                    self._emit([change_update(session, events)])

    def _open(self, command: Open) -> None:
        """Start a session; one that does not fit is refused by all shards alike."""
        try:
            session = self._engine.start(
                command.spec, number=command.session, recorded=command.recorded
            )
        except (ConfigError, ContextLimitError) as error:
            log.warning("session refused: %s", error, extra={"session": command.session})
            refusal = Update(session=command.session, step=-1, events=(), error=error)
            self._emit([refusal])
            return
        self.sessions[session.id] = session
        log.info("session opened", extra={"session": session.id})
        self._emit([opening_update(session)])
        if session.end_reason:
            self._retire(session)

    def _retire(self, session: Session) -> None:
        """Free a session that has ended; it counts as going on until all of that is done."""
        about = {"session": session.id, "steps": session.step}
        log.info("session ended: %s", session.end_reason, extra=about)
        if self._audit:
            self.checksums[session.id] = session.blocks.checksums()
        session.free()
        self.sessions.pop(session.id, None)

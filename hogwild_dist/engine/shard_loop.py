"""What a shard does from its first session to its last: step, and carry out commands in between."""

import logging
from collections import deque
from collections.abc import Callable, Sequence

from hogwild_dist.engine.commands import ApplyChange, Cancel, Command, Inbox, Open
from hogwild_dist.engine.engine import Engine
from hogwild_dist.engine.scheduler.step import StepOutcome
from hogwild_dist.engine.scheduler.waiting_queue import WaitingQueue
from hogwild_dist.engine.updates import Update, change_update, opening_update, updates
from hogwild_dist.errors import ConfigError, ContextLimitError
from hogwild_dist.session.changes import Change
from hogwild_dist.session.session import Session

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
        self._waiting_queue = WaitingQueue(engine)
        self._changes: deque[tuple[Session, Change]] = deque()
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
            for session, changes in self._waiting_queue.admit_ready(
                self._engine.config.prefill_chunk
            ):
                self._begin(session, changes)
            self._apply_changes(self._engine.config.prefill_chunk)
            agreed = max(agreed, self._step())
        self._engine.drain()
        return self.applied

    def _step(self) -> int:
        """Step the sessions that are at work; returns up to which command all shards may go."""
        if not self.sessions and not self._engine.overlaps:
            return self._engine.agree(self._inbox.highest)
        outcome = self._engine.step(list(self.sessions.values()), lambda: self._inbox.highest)
        self._observe(outcome)
        news = list(updates(outcome))
        for one in outcome.sessions:
            if one.session.end_reason:
                self._retire(one.session)
        self._emit(news)
        return outcome.command

    def _obey(self, agreed: int) -> bool:
        """Carry out commands up to `agreed`; whether a session goes on or waits."""
        while self.applied < agreed:
            self.applied += 1
            self._carry_out(self._inbox.take(self.applied))
        return bool(self.sessions) or any(self._waiting_queue)

    def _carry_out(self, command: Command) -> None:
        if isinstance(command, Open):
            self._open(command)
            return
        at_work = self.sessions.get(command.session)
        waits = self._waiting_queue.find(command.session)
        match command:
            case Cancel():
                if at_work is not None:
                    self._cancel(at_work, command.reason)
                elif waits is not None:
                    self._waiting_queue.remove(waits)
                    self._emit([opening_update(waits)])
                    self._end(waits, command.reason)
            case ApplyChange():
                if at_work is not None:
                    self._changes.append((at_work, command.change))
                elif waits is not None:
                    self._waiting_queue.defer(waits, command.change)

    def _open(self, command: Open) -> None:
        """Let a session wait for room; one that never fits is refused by all shards alike."""
        try:
            session = self._engine.prepare(
                command.spec, number=command.session, recorded=command.recorded
            )
        except (ConfigError, ContextLimitError) as error:
            log.warning("session refused: %s", error, extra={"session": command.session})
            refusal = Update(session=command.session, step=-1, events=(), error=error)
            self._emit([refusal])
            return
        self._waiting_queue.put(session, command.tenant)

    def _begin(self, session: Session, changes: Sequence[Change]) -> None:
        """Let a session step from now on."""
        self.sessions[session.id] = session
        log.info("session opened", extra={"session": session.id})
        self._emit([opening_update(session)])
        self._changes.extend((session, change) for change in changes)
        if session.end_reason:
            self._retire(session)

    def _cancel(self, session: Session, reason: str) -> None:
        """End a session now, or with the step that is on its way."""
        if self._engine.phase(session) == "before":
            self._end(session, reason)
        else:
            session.cancel(reason)

    def _end(self, session: Session, reason: str) -> None:
        self._emit([change_update(session, session.end(reason))])
        self._retire(session)

    def _apply_changes(self, budget: int) -> None:
        """Change sessions; what would have more than about `budget` tokens read has to wait."""
        most = self._engine.num_encoded + budget
        while self._changes and self._engine.num_encoded < most:
            session, change = self._changes.popleft()
            self._emit([change_update(session, self._engine.apply_change(session, change))])

    def _retire(self, session: Session) -> None:
        """Free a session that has ended; it counts as going on until all of that is done."""
        about = {"session": session.id, "steps": session.step}
        log.info("session ended: %s", session.end_reason, extra=about)
        if self._audit:
            self.checksums[session.id] = session.blocks.checksums()
        self._engine.retire(session)
        self._changes = deque(pair for pair in self._changes if pair[0] is not session)
        self.sessions.pop(session.id, None)

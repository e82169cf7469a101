"""The loop of a shard: step the sessions, and carry out commands between steps."""

import logging
from collections import deque
from collections.abc import Callable, Sequence

from hogwild_dist.engine.commands import ApplyChange, Cancel, Command, Inbox, Open, Pause
from hogwild_dist.engine.containment import contain
from hogwild_dist.engine.engine import Engine
from hogwild_dist.engine.forced_replay import Replaying
from hogwild_dist.engine.scheduler.step import StepOutcome
from hogwild_dist.engine.scheduler.waiting_queue import WaitingQueue
from hogwild_dist.engine.updates import Update, change_update, opening_update, updates
from hogwild_dist.errors import HogwildError, SessionError, first_line
from hogwild_dist.session.changes import Change
from hogwild_dist.session.session import Session

log = logging.getLogger("hogwild_dist.shard_loop")


class ShardLoop:
    """Steps an engine until no session is left, together with the other shards of its group.

    Args:
        engine: the engine of this shard, with the group's exchange.
        inbox: receives the commands for all shards.
        emit: called with the updates of each step; they are the same on every shard.
        observe: called with the outcome of every step, for metrics.
        audit: whether to keep a checksum of every block of each ended session.
    """

    STATE = ("sessions", "applied", "checksums", "_agreed", "_changes", "_replays", "_held")

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
        self.waiting_queue = WaitingQueue(engine.reservations, engine.encode)
        self._changes: deque[tuple[Session, Change]] = deque()
        self._replays: dict[int, Replaying] = {}  # session id -> its replay, while it goes on
        self._held: list[Cancel | ApplyChange] = []  # commands for sessions that are replayed
        self.checksums: dict[int, dict[str, int]] = {}
        """Session id -> block name -> checksum; equal on all shards, for audits."""
        self.sessions: dict[int, Session] = {}
        """Session id -> running session."""
        self.applied = 0
        """Id of the last command that was carried out."""
        self._agreed = 0  # id of the last command that every shard holds

    def run(self) -> int:
        """Step until no session is left.

        Returns:
            Id of the last command that was carried out; newer ones wait for the next run.

        Raises:
            ExchangeError: a peer is lost or disagrees.
        """
        self._agreed = self._engine.agree(self._inbox.highest)
        return self.go_on()

    def go_on(self) -> int:
        """Do what `run` does, from between two steps: after the state of another shard was loaded.

        Raises:
            ExchangeError: a peer is lost or disagrees.
        """
        while self._obey():
            for session, changes in self.waiting_queue.admit_ready(
                self._engine.config.prefill_chunk
            ):
                self._begin(session, changes)
            self._replay_changes()
            self._apply_changes(self._engine.config.prefill_chunk)
            self._agreed = max(self._agreed, self._step())
        self._engine.drain()
        return self.applied

    def _step(self) -> int:
        """Step the running sessions; return the id of the last command that may be carried out."""
        if not self.sessions and not self._engine.overlaps:
            return self._engine.agree(self._inbox.highest)
        outcome = self._engine.step(list(self.sessions.values()), lambda: self._inbox.highest)
        self._observe(outcome)
        step_updates = list(updates(outcome))
        for one in outcome.sessions:
            if one.session.end_reason:
                self._retire(one.session)
        self._emit(step_updates)
        return outcome.command

    def _obey(self) -> bool:
        """Carry out the agreed commands; return whether any session is running or waiting."""
        while self.applied < self._agreed:
            self.applied += 1
            self._carry_out(self._inbox.take(self.applied))
        return bool(self.sessions) or any(self.waiting_queue)

    def _carry_out(self, command: Command) -> None:
        match command:
            case Open():
                self._open(command)
            case Pause():
                self._engine.rounds.pause(command.epoch)
            case Cancel() | ApplyChange() if command.session in self._replays:
                self._held.append(command)
            case Cancel():
                self._cancel(command)
            case ApplyChange():
                if (running := self.sessions.get(command.session)) is not None:
                    self._changes.append((running, command.change))
                elif (waiting := self.waiting_queue.find(command.session)) is not None:
                    self.waiting_queue.defer(waiting, command.change)

    def _open(self, command: Open) -> None:
        """Queue a session; one that can never fit is refused, on every shard alike."""
        try:
            session = self._engine.prepare(
                command.spec,
                number=command.session,
                recorded=command.recorded,
                forced=command.replay.tokens if command.replay else None,
            )
            self.waiting_queue.put(session, command.tenant)
            if command.replay is not None:
                self._replays[session.id] = Replaying(command.replay)
        except HogwildError as error:
            log.warning("session refused: %s", error, extra={"session": command.session})
            self._refuse(command, error)
        except Exception as error:
            log.exception("session refused", extra={"session": command.session})
            reason = f"{type(error).__name__}: {first_line(error)}"
            self._refuse(command, SessionError(f"The session could not be prepared ({reason})."))

    def _refuse(self, command: Open, error: HogwildError) -> None:
        self._emit([Update(session=command.session, step=-1, events=(), error=error)])

    def _begin(self, session: Session, changes: Sequence[Change]) -> None:
        """Add a session to the running ones."""
        self.sessions[session.id] = session
        log.info("session opened", extra={"session": session.id})
        events = contain(session, session.opening)
        self._emit([opening_update(session, events)])
        self._changes.extend((session, change) for change in changes)
        if session.end_reason:
            self._retire(session)

    def _cancel(self, command: Cancel) -> None:
        """End a session now, or with its step in flight."""
        if (running := self.sessions.get(command.session)) is not None:
            if self._engine.phase(running) == "before":
                self._end(running, command.reason)
            else:
                running.cancel(command.reason)
        elif (waiting := self.waiting_queue.find(command.session)) is not None:
            self.waiting_queue.remove(waiting)
            self._emit([opening_update(waiting, contain(waiting, waiting.opening))])
            self._end(waiting, command.reason)

    def _end(self, session: Session, reason: str) -> None:
        if not session.end_reason:
            events = contain(session, lambda: session.end(reason))
            self._emit([change_update(session, events)])
        self._retire(session)

    def _replay_changes(self) -> None:
        """Make the changes again that a replay has next; end the replays that are over."""
        for number, replaying in list(self._replays.items()):
            if (session := self.sessions.get(number)) is None:
                continue
            for change in replaying.due(session.step, self._engine.phase(session)):
                self._apply(session, change)
            if number in self._replays and replaying.is_over(session.step):
                self._end_replay(number)

    def _end_replay(self, number: int) -> None:
        del self._replays[number]
        due = [command for command in self._held if command.session == number]
        self._held = [command for command in self._held if command.session != number]
        for command in due:
            self._carry_out(command)

    def _apply_changes(self, budget: int) -> None:
        """Apply changes until about `budget` tokens have been encoded; the rest waits."""
        most = self._engine.num_encoded + budget
        while self._changes and self._engine.num_encoded < most:
            self._apply(*self._changes.popleft())

    def _apply(self, session: Session, change: Change) -> None:
        phase = self._engine.phase(session)
        events = self._engine.apply_change(session, change)
        self._emit([change_update(session, events, change, phase)])
        if session.end_reason:
            self._retire(session)

    def _retire(self, session: Session) -> None:
        """Free a session that has ended; it counts as running until that is done."""
        about = {"session": session.id, "steps": session.step}
        log.info("session ended: %s", session.end_reason, extra=about)
        if self._audit:
            self.checksums[session.id] = session.blocks.checksums()
        self._engine.retire(session)
        self._changes = deque(pair for pair in self._changes if pair[0] is not session)
        self.sessions.pop(session.id, None)
        if session.id in self._replays:
            self._end_replay(session.id)

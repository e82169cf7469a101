"""A decode step under `same-step` and `next-step` visibility: compute, exchange, agree, apply.

`overlapped_stepper` is the other loop, in which a step is exchanged while the next one computes.
"""

import time
from collections.abc import Callable, Sequence

from hogwild_dist.engine.rounds import Rounds
from hogwild_dist.engine.scheduler.admission import schedule
from hogwild_dist.engine.scheduler.reservations import KVReservations
from hogwild_dist.engine.scheduler.step import InFlightStep, StepOutcome, apply_agreed
from hogwild_dist.engine.shard_forward import ShardForward
from hogwild_dist.exchange.base import AgreedStep
from hogwild_dist.session.changes import ChangePhase
from hogwild_dist.session.session import Session
from hogwild_dist.timeline import Timeline


class Stepper:
    """Steps sessions together with the steppers of the other shards.

    Args:
        forward: computes this shard's rows.
        rounds: completes the rounds of this shard, with its exchange.
        reservations: the cache pages that sessions may use.
        max_step_tokens: the most tokens that one step feeds.
        timeline: records the spans of every step.
    """

    STATE = ("_skipped_last_step",)

    def __init__(
        self,
        forward: ShardForward,
        rounds: Rounds,
        reservations: KVReservations,
        max_step_tokens: int,
        timeline: Timeline,
    ) -> None:
        self._forward = forward
        self._exchange = rounds.exchange
        self._rounds = rounds
        self._reservations = reservations
        self._max_step_tokens = max_step_tokens
        self._timeline = timeline
        self._skipped_last_step: set[Session] = set()  # scheduled first in the next step

    def step(self, sessions: Sequence[Session], latest_command: Callable[[], int]) -> StepOutcome:
        """Feed every active worker of `sessions` once and apply the tokens that were chosen.

        Args:
            sessions: the running sessions, in the same order on every shard.
            latest_command: returns the highest command id up to which this shard holds every
                command; called as late as possible, so that a command that arrives during the
                forward pass still takes effect after this step.

        Raises:
            ExchangeError: a peer is lost or disagrees; the blocks are as before the step.
        """
        begin = time.perf_counter()
        with self._timeline.span("step"):
            step = self._schedule(sessions)

            def together() -> AgreedStep:
                self._exchange.begin(step.plan(self._exchange.world_size))
                self._forward.compute(step)
                self._forward.post(step, latest_command())
                return self._exchange.collect()

            with self._forward.allocated(step):
                agreed = self._rounds.complete(together, lambda: self._forward.compute_all(step))
            assert agreed is not None, "a step has an outcome"
            applied = [
                apply_agreed(session, feeds, agreed)
                for session, feeds in step.feeds.items()
                if feeds
            ]
            seconds = time.perf_counter() - begin
            return StepOutcome((*step.ended, *applied), step.outcomes, agreed.command, seconds)

    def drain(self) -> StepOutcome:
        """Return an empty outcome: no step is ever left in flight."""
        return StepOutcome((), (), 0, 0.0)

    def phase(self, _session: Session) -> ChangePhase:
        """Return when a change made now takes effect: always before the session's next step."""
        return "before"

    def _schedule(self, sessions: Sequence[Session]) -> InFlightStep:
        """Choose the sessions that step; those that were skipped last time come first."""
        order = sorted(sessions, key=lambda session: session not in self._skipped_last_step)
        step = schedule(order, self._reservations, self._max_step_tokens)
        taken = {*step.feeds, *(one.session for one in step.ended)}
        self._skipped_last_step = {session for session in sessions if session not in taken}
        return step

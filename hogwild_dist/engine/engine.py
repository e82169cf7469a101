"""The engine: one model, one cache, any number of sessions, one forward pass a step.

Without peers it computes every worker. As one shard of a group it computes its own workers and
receives the others' keys and values through the exchange. All shards apply the same outcomes.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from weakref import WeakSet

from transformers import PreTrainedTokenizerBase

from hogwild_dist.attention.registry import find_backend
from hogwild_dist.config import EngineConfig, Visibility
from hogwild_dist.engine.containment import contain, shard_errors
from hogwild_dist.engine.overlapped_stepper import OverlappedStepper
from hogwild_dist.engine.placement import home_rank, moved_ranks, newcomer_rank, worker_ranks
from hogwild_dist.engine.prefill import Prefill
from hogwild_dist.engine.rounds import Gate, Rounds
from hogwild_dist.engine.scheduler.admission import check_change, check_fits, check_ids, check_space
from hogwild_dist.engine.scheduler.reservations import KVReservations, pages_of_newcomer
from hogwild_dist.engine.scheduler.step import StepOutcome
from hogwild_dist.engine.shard_forward import ShardForward
from hogwild_dist.engine.stepper import Stepper
from hogwild_dist.errors import ConfigError
from hogwild_dist.exchange.base import Exchange
from hogwild_dist.exchange.local import LocalExchange
from hogwild_dist.kvcache.cache import Block, KVCache
from hogwild_dist.kvcache.rows import Row
from hogwild_dist.model.loader import LoadedModel
from hogwild_dist.model.model_runner import ModelRunner
from hogwild_dist.model.text_encoder import TextEncoder
from hogwild_dist.session.apply_change import apply_change
from hogwild_dist.session.changes import AddWorker, Change, ChangePhase
from hogwild_dist.session.events import Event, Refused
from hogwild_dist.session.session import Session
from hogwild_dist.session.spec import SessionSpec
from hogwild_dist.timeline import Timeline


class Engine:
    """Runs sessions on one model.

    Args:
        model: the loaded model.
        tokenizer: the model's fast tokenizer.
        config: settings that stay the same while the engine lives.
        exchange: connects the shards of a group; None for a single process.
        cache: the cache that the exchange writes to; None makes one.
        timeline: records the spans of every step.
        gate: where this shard waits after a loss; None lets a loss end its sessions.

    Raises:
        ConfigError: the attention kernel that the config names is unknown.
        ModelError: the tokenizer cannot decode token by token.
    """

    STATE = ("_num_started",)

    def __init__(
        self,
        model: LoadedModel,
        tokenizer: PreTrainedTokenizerBase,
        config: EngineConfig | None = None,
        exchange: Exchange | None = None,
        *,
        cache: KVCache | None = None,
        timeline: Timeline | None = None,
        gate: Gate | None = None,
    ) -> None:
        self.config = config or EngineConfig()
        self.model = model
        self.tokenizer = tokenizer
        self.encoder = TextEncoder(tokenizer)
        self.exchange = exchange or LocalExchange(self.config.visibility)
        self.cache = cache or model.new_cache(self.config.cache_tokens)
        attention = find_backend(self.config.attention, model.attention_needs)
        self.timeline = timeline or Timeline()
        self.runner = ModelRunner(
            model,
            self.cache,
            self.exchange,
            attention,
            graphs=self.config.graphs,
            timeline=self.timeline,
        )
        self.reservations = KVReservations(self.cache, model.max_positions)
        self.rounds = Rounds(self.exchange, gate)
        self.prefill = Prefill(self.cache, self.runner, self.rounds, self.config.prefill_chunk)
        self._forward = ShardForward(self.runner, self.rounds, self.cache, self.timeline)
        self._sessions: WeakSet[Session] = WeakSet()
        stepper = OverlappedStepper if self.overlaps else Stepper
        self.stepper = stepper(
            self._forward,
            self.rounds,
            self.reservations,
            self.config.max_step_tokens,
            self.timeline,
        )
        self._num_started = 0

    @property
    def overlaps(self) -> bool:
        """Whether a step is exchanged while the next one computes."""
        return self.exchange.visibility is Visibility.OVERLAPPED

    def start(
        self,
        spec: SessionSpec,
        *,
        number: int | None = None,
        recorded: bool = False,
        forced: Mapping[int, Sequence[int]] | None = None,
    ) -> Session:
        """Start a session at once, without a reservation and without shared prefixes.

        Args:
            spec: the specification of the session.
            number: id of the session, the same on every shard; None counts up.
            recorded: whether the steps keep summaries of the logits, for a trace.
            forced: worker index -> its first tokens, which replace sampling.

        Raises:
            ContextLimitError: the texts do not fit; nothing of the session is kept.
            ConfigError: a token id is outside the model's vocabulary.
        """
        session = self.prepare(spec, number=number, recorded=recorded, forced=forced)
        try:
            check_fits(spec, self.model, self.config.cache_tokens, self.cache.pages.num_free)
            for name, ids in spec.shared.items():
                if ids:
                    self.prefill.encode(Row((session.blocks[name],), ids), session.id)
        except BaseException:
            session.free()
            raise
        return session

    def prepare(
        self,
        spec: SessionSpec,
        *,
        number: int | None = None,
        recorded: bool = False,
        forced: Mapping[int, Sequence[int]] | None = None,
    ) -> Session:
        """Make a session that holds no cache pages yet; see `start`.

        Raises:
            ContextLimitError: the texts would not fit into the empty cache.
            ConfigError: a token id is outside the model's vocabulary.
        """
        check_ids(spec, self.model)
        check_fits(spec, self.model, self.config.cache_tokens, self.cache.pages.num_pages)
        number = self._num_started if number is None else number
        world = self.exchange.world_size
        ranks = worker_ranks(number, len(spec.workers), world)
        ranks += (home_rank(number, world),) * len(spec.finishers)
        session = Session(
            number, spec, self.cache, self.encoder, ranks, recorded=recorded, forced=forced
        )
        self._num_started = number + 1
        self._sessions.add(session)
        return session

    def encode(self, rows: Sequence[tuple[Session, Row]]) -> int:
        """Encode texts of sessions that have not stepped yet; see `Prefill.encode_together`."""
        return self.prefill.encode_together([(row, session.id) for session, row in rows])

    def retire(self, session: Session) -> None:
        """Free the cache pages of a session; its text stays readable."""
        session.free()
        self.reservations.release(session)

    @property
    def num_encoded(self) -> int:
        """Tokens of prompts and other prefilled texts so far, on all shards."""
        return self.prefill.num_tokens

    @property
    def num_free_pages(self) -> int:
        """Number of pages that are free or hold a shared prefix that no session reads."""
        return self.cache.pages.num_free + self.reservations.prefix_cache.num_idle_pages

    def apply_change(self, session: Session, change: Change) -> list[Event]:
        """Change a running session; every shard makes the same call before the same step."""

        def rank() -> int:
            return newcomer_rank(session.id, len(session.workers), self.exchange.world_size)

        def encode(view: tuple[Block, ...], token_ids: tuple[int, ...]) -> None:
            check_space(session, self.reservations, view, len(token_ids))
            if token_ids:
                with shard_errors(self.exchange.rank):
                    self.prefill.encode(Row(view, token_ids), session.id)

        phase = self.phase(session)

        def apply() -> list[Event]:
            try:
                check_change(change, self.model)
            except ConfigError as error:
                return [Refused(step=session.step, reason=str(error))]
            if isinstance(change, AddWorker):
                pages = pages_of_newcomer(session, change.worker, self.cache)
                self.reservations.grow(session, pages)
            return apply_change(session, change, phase, rank, encode)

        return contain(session, apply, in_flight=phase == "during")

    def phase(self, session: Session) -> ChangePhase:
        """Return when a change to the session that is made now takes effect."""
        return self.stepper.phase(session)

    def agree(self, command: int) -> int:
        """Exchange headers alone; see `ShardForward.agree`."""
        return self._forward.agree(command)

    def step(
        self, sessions: Sequence[Session], latest_command: Callable[[], int] = lambda: 0
    ) -> StepOutcome:
        """Feed every active worker of `sessions` once; see `Stepper.step`."""
        return self.stepper.step(sessions, latest_command)

    def drain(self) -> StepOutcome:
        """Collect and apply the step in flight under `overlapped` visibility, if there is one."""
        return self.stepper.drain()

    def adopt(self, sessions: Iterable[Session]) -> None:
        """Take over sessions whose state was loaded from another shard."""
        self._sessions.update(sessions)

    def move_workers(self, world_size: int) -> None:
        """Give every worker its shard in a group of this size."""
        for session in self._sessions:
            active = [worker.active for worker in session.workers]
            moved = moved_ranks(active, session.id, world_size)
            for worker, rank in zip(session.workers, moved, strict=True):
                worker.rank = rank

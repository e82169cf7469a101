"""Admission: which sessions may start, step and grow, and which have outgrown model or cache.

Every decision depends only on what all shards agree on, so that all shards decide alike.
"""

from collections.abc import Iterable, Sequence

from hogwild_dist.engine.containment import contain
from hogwild_dist.engine.scheduler.reservations import KVReservations
from hogwild_dist.engine.scheduler.step import InFlightStep, SessionStep
from hogwild_dist.errors import ConfigError, ContextLimitError
from hogwild_dist.kvcache.cache import PAGE_TOKENS, Block, KVCache
from hogwild_dist.model.loaded_model import LoadedModel
from hogwild_dist.session.changes import AddWorker, Change, Interjection
from hogwild_dist.session.events import Event
from hogwild_dist.session.session import Session
from hogwild_dist.session.spec import SessionSpec, WorkerSpec


def check_fits(spec: SessionSpec, model: LoadedModel, cache_tokens: int, free_pages: int) -> None:
    """Refuse a session whose first texts leave no space to write.

    Args:
        spec: the specification of the session.
        model: the model whose context length applies.
        cache_tokens: capacity of the cache, in tokens.
        free_pages: number of pages that the first texts may take.

    Raises:
        ContextLimitError: the texts do not fit.
    """
    lengths = {name: len(ids) for name, ids in spec.shared.items()}
    writers = (*spec.workers, *spec.finishers)
    lengths |= {worker.view[-1]: len(worker.first_input) for worker in spec.workers}
    lengths |= {w.view[-1]: len(w.first_input) + (w.max_tokens or 0) for w in spec.finishers}
    longest = max(sum(lengths[name] for name in worker.view) for worker in writers)
    pages = sum(KVCache.pages_of(length) for length in lengths.values()) + len(spec.shared_prefixes)
    larger = "raise cache_tokens (--cache-tokens)"
    for needed, limit, what, remedy in (
        (longest, model.max_positions, f"the context of {model.name!r}", "use another model"),
        (longest, cache_tokens, "the KV cache", larger),
        (pages * PAGE_TOKENS, free_pages * PAGE_TOKENS, "the KV cache now", larger),
    ):
        if needed >= limit:
            raise ContextLimitError(
                f"Problem and prompts take {needed} tokens and {what} holds {limit}; shorten "
                f"the problem or {remedy}."
            )


def check_ids(spec: SessionSpec, model: LoadedModel) -> None:
    """Refuse token ids that the model does not have, and workers that may choose none.

    Raises:
        ConfigError: a token id is outside the vocabulary, or all are forbidden.
    """
    workers = (*spec.workers, *spec.finishers)
    _check_known(model, *spec.shared.values(), *(ids for one in workers for ids in _ids_of(one)))
    for worker in workers:
        _check_free(model, worker)


def check_change(change: Change, model: LoadedModel) -> None:
    """Refuse a change with token ids that the model does not have.

    Raises:
        ConfigError: a token id is outside the vocabulary.
    """
    match change:
        case Interjection():
            _check_known(model, change.token_ids)
        case AddWorker():
            _check_known(model, *_ids_of(change.worker))
            _check_free(model, change.worker)
            if change.announcement is not None:
                _check_known(model, change.announcement.token_ids)


def check_space(
    session: Session, reservations: KVReservations, view: Sequence[Block], count: int
) -> None:
    """Refuse a text for a running session that leaves no space to continue.

    Args:
        session: the running session.
        reservations: the cache pages that sessions may use.
        view: the blocks that the text sees.
        count: length of the text, in tokens.

    Raises:
        ContextLimitError: the text does not fit.
    """
    pages = 2 * (count // PAGE_TOKENS + 2)  # encoded in a block of its own, then appended
    tokens = sum(block.committed for block in view) + count
    if tokens >= reservations.max_positions or not reservations.ensure(session, pages):
        raise ContextLimitError(
            f"A text of {count} tokens no longer fits into the session; say it in fewer words."
        )


def _ids_of(worker: WorkerSpec) -> tuple[Iterable[int], ...]:
    """Return all token ids that a worker's specification names."""
    return worker.first_input, worker.sampling.forbidden_ids, worker.sampling.logit_bias


def _check_free(model: LoadedModel, worker: WorkerSpec) -> None:
    if len(set(worker.sampling.forbidden_ids)) >= _num_known(model):
        raise ConfigError(
            f"{worker.name} may choose no token, since all of the vocabulary of {model.name!r} are "
            "forbidden; forbid fewer."
        )


def _num_known(model: LoadedModel) -> int:
    number: int = model.hf_model.config.get_text_config().vocab_size
    return number


def _check_known(model: LoadedModel, *texts: Iterable[int]) -> None:
    known = _num_known(model)
    unknown = [token for ids in texts for token in ids if not 0 <= token < known]
    if unknown:
        raise ConfigError(
            f"Token id {unknown[0]} is outside the vocabulary of {model.name!r} "
            f"(0 to {known - 1}); use ids of this model's tokenizer."
        )


def schedule(
    sessions: Sequence[Session], reservations: KVReservations, max_step_tokens: int
) -> InFlightStep:
    """Choose the sessions that step, and what they feed; end those that no longer fit.

    A session feeds all that it would feed alone, or skips the step if the step is full.

    Args:
        sessions: running sessions, in order of precedence.
        reservations: the cache pages that sessions may use.
        max_step_tokens: the most tokens that the step feeds.
    """
    step = InFlightStep({})
    free = reservations.cache.pages.num_free
    budget = max_step_tokens
    for session in sessions:
        own = session.feeds(max_step_tokens)
        added = {feed.worker.block: len(feed.row.token_ids) for feed in own}
        if step.feeds and sum(added.values()) > budget:
            continue
        pages = sum(reservations.cache.pages_wanted(block, count) for block, count in added.items())
        views = [[(b.length, added.get(b, 0)) for b in feed.row.view] for feed in own]
        pages += session.answer_collector.pages(PAGE_TOKENS)
        answer_views = session.answer_collector.longest_views(session.blocks.lengths())
        lengths = [sum(map(sum, view)) for view in views]
        lengths += [length + sum(added.values()) for length in answer_views]
        longest = max(lengths, default=0)
        if longest > reservations.max_positions:
            step.ended.append(_ended(session, "context_limit"))
        elif pages > free or not reservations.ensure(session, pages):
            step.ended.append(_ended(session, "cache_limit"))
        else:
            step.feeds[session] = own
            free -= pages
            budget -= sum(added.values())
    return step


def end_in_time(session: Session, step: InFlightStep, reservations: KVReservations) -> list[Event]:
    """End a session whose next steps might not fit, under `overlapped` visibility.

    What the peers feed is not known before it is computed, so the bound assumes the longest text
    that they may feed.
    """
    if _longest_view_ahead(session) > reservations.max_positions:
        return contain(session, lambda: session.run_out("context_limit"))
    others = [s for s in step.feeds if not s.end_reason and s is not session]
    wanted = _pages_ahead(session)
    if not reservations.has(session):
        wanted += sum(_pages_ahead(other) for other in others)
    if not reservations.ensure(session, wanted):
        return contain(session, lambda: session.run_out("cache_limit"))
    return []


def _longest_view_ahead(session: Session) -> int:
    """Return the most tokens that a view may hold after two more steps."""
    active = session.active_workers
    ahead = {worker.block.name: session.most_ahead(worker) for worker in active}
    lengths = session.blocks.lengths()
    views = [
        sum(lengths[name] + ahead.get(name, 0) for name in worker.spec.view) for worker in active
    ]
    answer_views = session.answer_collector.longest_views(lengths)
    return max((*views, *(length + sum(ahead.values()) for length in answer_views)), default=0)


def _pages_ahead(session: Session) -> int:
    """Return the most pages that two more steps may take."""
    most = [session.most_ahead(worker) for worker in session.active_workers]
    own = sum(count // PAGE_TOKENS + 2 for count in most)
    return own + session.answer_collector.pages(PAGE_TOKENS)


def _ended(session: Session, reason: str) -> SessionStep:
    """End a session that cannot step any more, and return its last step."""
    lengths = session.blocks.lengths()
    events = contain(session, lambda: session.run_out(reason))
    return SessionStep(session, session.step, (), (), lengths, tuple(events))

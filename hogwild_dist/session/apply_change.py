"""Applying a change to a running session, on every shard at the same step."""

from collections.abc import Callable, Collection
from dataclasses import replace

from hogwild_dist.errors import HogwildError
from hogwild_dist.kvcache.cache import Block
from hogwild_dist.session.changes import AddWorker, Change, ChangePhase, Interjection, RemoveWorker
from hogwild_dist.session.events import Event, Interjected, Joined, Refused
from hogwild_dist.session.session import Session
from hogwild_dist.session.spec import MAX_WORKERS, WorkerSpec, block_name, expand_view

Encode = Callable[[tuple[Block, ...], tuple[int, ...]], None]
"""Appends tokens to the last block of a view; raises `ContextLimitError` if they do not fit."""


def apply_change(
    session: Session, change: Change, phase: ChangePhase, rank: Callable[[], int], encode: Encode
) -> list[Event]:
    """Apply a change to a session; an impossible change yields a `Refused` event only.

    Args:
        session: the running session.
        change: the change to apply.
        phase: when in the step the change is made.
        rank: returns the rank of the shard that computes a worker who joins; a loss while its
            announcement is encoded may change it.
        encode: encodes tokens on the session's home shard.

    Returns:
        The events of the change.
    """
    try:
        match change:
            case Interjection():
                events = _interject(session, change, encode)
            case AddWorker():
                events = _join(session, change, rank, encode)
            case RemoveWorker():
                events = _leave(session, change.name)
    except HogwildError as error:
        return [Refused(step=session.step, reason=str(error), change=change.kind)]
    session.changes[phase].append(change)
    return events


def _interject(session: Session, change: Interjection, encode: Encode) -> list[Event]:
    if change.target not in session.spec.shared:
        raise HogwildError(
            f"There is no shared block {change.target!r}; send the message to "
            f"{_one_of(session.spec.shared)}."
        )
    with session.blocks.passing("interjection") as block:
        encode((*session.blocks.view((change.target,)), block), change.token_ids)
        session.blocks.append(change.target, block)
    session.history.add(change.target, change.token_ids, change.text)
    return [
        Interjected(
            step=session.step, name=change.name, text=change.text, token_ids=change.token_ids
        )
    ]


def _join(
    session: Session, change: AddWorker, rank: Callable[[], int], encode: Encode
) -> list[Event]:
    spec = change.worker
    names = [worker.spec.name for worker in session.workers]
    if spec.name in names:
        raise HogwildError(f"{spec.name!r} is already in the team; choose another name.")
    if len(session.team) >= MAX_WORKERS:
        raise HogwildError(
            f"The team has {MAX_WORKERS} workers, the most allowed; let one leave first."
        )
    _check_newcomer(session, spec)
    own = block_name(len(session.workers))
    others = [worker.block.name for worker in session.team if worker.spec.seen]
    view = expand_view(
        spec.view, own=own, others=others, block_of=lambda name: _block_of(session, name)
    )
    unknown = [name for name in view if name != own and name not in session.blocks]
    if unknown:
        raise HogwildError(
            f"{spec.name!r} would see the block {unknown[0]!r}, which does not exist; "
            f"use {_one_of((*session.spec.shared, 'worker:NAME', 'others', 'own'))}."
        )
    if len(set(view)) < len(view):
        raise HogwildError(
            f"{spec.name!r} would see a block twice ({', '.join(view)}); name each block once."
        )
    told = _interject(session, change.announcement, encode) if change.announcement else []
    if spec.seen:
        for worker in session.workers:
            worker.spec = _seeing(worker.spec, own)
    sees = "others" in spec.view
    at = spec.view.index("others") + len(others) if sees else None
    text = session.join(replace(spec, view=view, newcomers_at=at), rank())
    joined = Joined(step=session.step, worker=text.worker, name=spec.name, role=change.role)
    return [*told, joined, text]


def _check_newcomer(session: Session, spec: WorkerSpec) -> None:
    """Refuse a worker that could not write."""
    if not spec.first_input:
        raise HogwildError(f"{spec.name!r} has no first text; give at least one token.")
    if spec.view[-1:] != ("own",) or "own" in spec.view[:-1]:
        raise HogwildError(
            f"The view of {spec.name!r} is {list(spec.view)}; it must end with 'own', the block "
            "that the worker writes."
        )
    if spec.paragraphs_to is not None and spec.paragraphs_to not in session.spec.shared:
        raise HogwildError(
            f"Paragraphs of {spec.name!r} would move to {spec.paragraphs_to!r}, which is not a "
            f"shared block; use {_one_of(session.spec.shared)}."
        )


def _seeing(spec: WorkerSpec, block: str) -> WorkerSpec:
    """Return the specification with a newcomer's block in the view, if it shows newcomers."""
    at = spec.newcomers_at
    if at is None:
        return spec
    return replace(spec, view=(*spec.view[:at], block, *spec.view[at:]), newcomers_at=at + 1)


def _block_of(session: Session, name: str) -> str:
    for worker in session.team:
        if worker.spec.name == name:
            return worker.block.name
    names = [worker.spec.name for worker in session.team]
    raise HogwildError(
        f"{name!r}, whose block the newcomer would see, is not in the team; use {_one_of(names)}."
    )


def _leave(session: Session, name: str) -> list[Event]:
    for worker in session.team:
        if worker.spec.name == name and worker.active:
            worker.leaves_from = session.step + 1
            return []
    names = [worker.spec.name for worker in session.team if worker.active]
    raise HogwildError(f"{name!r} is not an active worker; use {_one_of(names)}.")


def _one_of(names: Collection[str]) -> str:
    return f"one of {', '.join(names)}" if names else "another session, since this one has none"

"""The JSON form of sessions."""

from typing import Any, Literal

from pydantic import BaseModel

from hogwild_dist.actors.driver.session_record import SessionSnapshot
from hogwild_dist.deploy.service.sessions.ids import SessionId
from hogwild_dist.session.spec import block_name
from hogwild_dist.team.answer_policy import team_answer

State = Literal["waiting", "running", "ended", "failed"]


class WorkerView(BaseModel):
    """A worker: its text, the number of tokens it chose, and why it stopped."""

    name: str
    role: str
    text: str
    num_tokens: int
    finish_reason: str | None


class BlockView(BaseModel):
    """A block in a worker's view; `worker` is its writer, or null for a shared block."""

    block: str
    kind: Literal["shared", "worker", "own"]
    worker: str | None


class SeenBy(BaseModel):
    """The blocks that a worker sees, in order, and the block that its paragraphs move to."""

    worker: str
    sees: list[BlockView]
    paragraphs_to: str | None


class SessionSummaryView(BaseModel):
    """A session in the list of sessions."""

    id: str
    object: Literal["session"] = "session"
    created: int
    problem: str
    team: str
    layout: str
    state: State
    end_reason: str | None
    error: str | None
    num_tokens: int
    num_steps: int


class SessionView(SessionSummaryView):
    """A session with all its text."""

    answer: str | None
    history: str
    workers: list[WorkerView]
    views: list[SeenBy]
    trace: bool


def summary_view(name: SessionId, snapshot: SessionSnapshot) -> SessionSummaryView:
    """Return the list entry of a session."""
    return SessionSummaryView(**_summary(name, snapshot))


def session_view(name: SessionId, snapshot: SessionSnapshot) -> SessionView:
    """Return a session with all its text."""
    transcript, team = snapshot.transcript, snapshot.origin.team
    return SessionView(
        **_summary(name, snapshot),
        answer=answer_of(snapshot),
        history=transcript.history,
        workers=[
            WorkerView(
                name=worker,
                role=transcript.joined_roles.get(worker, team.member(worker).role),
                text=transcript.texts[worker],
                num_tokens=transcript.num_tokens[worker],
                finish_reason=transcript.finish_reasons[worker],
            )
            for worker in all_names(snapshot)
        ],
        views=_views(snapshot),
        trace=snapshot.recorded,
    )


def answer_of(snapshot: SessionSnapshot) -> str | None:
    """Return the team's answer, or None if there is none yet."""
    policy = snapshot.origin.team.answer_policy
    return team_answer(snapshot.transcript.answers, vote=policy is not None and policy.vote)


def state_of(snapshot: SessionSnapshot) -> State:
    """Return the state of a session."""
    summary = snapshot.summary
    if summary.error is not None:
        return "failed"
    if summary.end_reason is not None:
        return "ended"
    return "running" if summary.begun else "waiting"


def all_names(snapshot: SessionSnapshot) -> tuple[str, ...]:
    """Return the names of all present and former workers, in the order of their indices."""
    finishers = {one.name for one in snapshot.origin.spec.finishers}
    return tuple(name for name in snapshot.transcript.texts if name not in finishers)


def working_names(snapshot: SessionSnapshot) -> tuple[str, ...]:
    """Return the names of the workers that have not stopped."""
    reasons = snapshot.transcript.finish_reasons
    return tuple(name for name in all_names(snapshot) if reasons[name] is None)


def _summary(name: SessionId, snapshot: SessionSnapshot) -> dict[str, Any]:
    summary = snapshot.summary
    return {
        "id": str(name),
        "created": int(summary.started),
        "problem": snapshot.origin.problem,
        "team": snapshot.origin.team_name,
        "layout": snapshot.origin.team.layout.name,
        "state": state_of(snapshot),
        "end_reason": summary.end_reason,
        "error": summary.error,
        "num_tokens": summary.num_tokens,
        "num_steps": summary.num_steps,
    }


def _views(snapshot: SessionSnapshot) -> list[SeenBy]:
    """Return the views of all workers, including workers that joined."""
    layout = snapshot.origin.team.layout
    briefed = {name for name, profile in snapshot.origin.team.members.items() if profile.brief}
    names = all_names(snapshot)
    spec = snapshot.origin.spec
    after_finishers = {
        block_name(at): block_name(at + len(spec.finishers))
        for at in range(len(spec.workers), len(names))
    }
    views = [
        [after_finishers.get(block, block) for block in view]
        for view in layout.views(names, briefed)
    ]
    owners = {view[-1]: name for name, view in zip(names, views, strict=True)}

    def block(name: str, own: str) -> BlockView:
        kind: Literal["shared", "worker", "own"] = "shared"
        if name in owners:
            kind = "own" if name == own else "worker"
        return BlockView(block=name, kind=kind, worker=owners.get(name))

    return [
        SeenBy(
            worker=worker,
            sees=[block(name, view[-1]) for name in view],
            paragraphs_to=layout.rule(worker).paragraphs_to,
        )
        for worker, view in zip(names, views, strict=True)
    ]

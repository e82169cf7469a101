"""Made-up runs for the tests of the views."""

from collections.abc import Iterable

from hogwild_dist.deploy.view import ViewInfo
from hogwild_dist.deploy.view.state import TeamState
from hogwild_dist.session.events import Event, ParagraphEnd, Text, WorkerStop
from hogwild_dist.team.team import default_names


def info(num_workers: int = 2, problem: str = "How much is 6 * 7?") -> ViewInfo:
    return ViewInfo(
        problem=problem,
        names=default_names(num_workers),
        model="demo-model",
        layout="combined",
        visibility="same-step",
    )


def text(worker: int, words: str, *, step: int = 0, chosen: bool = True) -> Text:
    name = default_names(16)[worker]
    return Text(step=step, worker=worker, name=name, token_ids=(7,), text=words, chosen=chosen)


def paragraph_end(worker: int, index: int = 1) -> ParagraphEnd:
    return ParagraphEnd(
        step=0,
        worker=worker,
        name=default_names(16)[worker],
        index=index,
        from_block=f"w{worker}",
        to_block="common",
        moved=1,
        token_ids=(7,),
        text="",
        next_input=None,
        asked=False,
    )


def stop(worker: int, reason: str = "max_tokens") -> WorkerStop:
    return WorkerStop(step=9, worker=worker, name=default_names(16)[worker], reason=reason)


def short_run() -> list[Event]:
    """Alice finishes a paragraph while Bob is in the middle of a word."""
    return [
        text(0, "**Alice [1]:** ", chosen=False),
        text(1, "**Bob [1]:** ", chosen=False),
        text(0, "Six times seven", step=1),
        text(1, "I will che", step=1),
        text(0, " is 42.\n\n", step=2),
        paragraph_end(0),
        text(0, "**Alice [2]:** ", step=2, chosen=False),
        text(1, "ck that", step=2),
    ]


def state_after(about: ViewInfo, events: Iterable[Event]) -> TeamState:
    state = TeamState.before(about)
    for event in events:
        state = state.after(event, 0.0)
    return state

"""A run's text as passages: who wrote what, from which step to which."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from hogwild_dist.session.events import Answer, Event, Interjected, ParagraphEnd, Text


@dataclass(frozen=True, kw_only=True, slots=True)
class Passage:
    """A paragraph, a stated answer, or an interjection.

    Attributes:
        who: wrote it.
        begin: step after which it began; 0 is the first.
        end: step after which it ended.
        text: of it, prefix and all.
        stated: whether it was written when an answer was asked for.
    """

    who: str
    begin: int
    end: int
    text: str
    stated: bool = False


def passages(events: Iterable[Event], num_workers: int) -> list[Passage]:
    """The passages of a run in the order in which they began.

    Args:
        events: of the run.
        num_workers: of the team; who comes behind them states answers.
    """
    finished: list[Passage] = []
    unfinished: dict[str, Passage] = {}
    for event in events:
        match event:
            case Text(name=name, text=text, step=step, worker=worker) if text:
                passage = unfinished.get(name) or Passage(
                    who=name, begin=step, end=step, text="", stated=worker >= num_workers
                )
                unfinished[name] = replace(passage, end=step, text=passage.text + text)
            case ParagraphEnd(name=name) if name in unfinished:
                finished.append(unfinished.pop(name))
            case Answer(name=name) if name in unfinished and unfinished[name].stated:
                finished.append(unfinished.pop(name))
            case Interjected(name=name, text=text, step=step):
                finished.append(Passage(who=name, begin=step, end=step, text=text))
    return sorted([*finished, *unfinished.values()], key=lambda passage: passage.begin)

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
    done: list[Passage] = []
    open_: dict[str, Passage] = {}
    for event in events:
        match event:
            case Text(name=name, text=text, step=step, worker=worker) if text:
                begun = open_.get(name) or Passage(
                    who=name, begin=step, end=step, text="", stated=worker >= num_workers
                )
                open_[name] = replace(begun, end=step, text=begun.text + text)
            case ParagraphEnd(name=name) if name in open_:
                done.append(open_.pop(name))
            case Answer(name=name) if name in open_ and open_[name].stated:
                done.append(open_.pop(name))
            case Interjected(name=name, text=text, step=step):
                done.append(Passage(who=name, begin=step, end=step, text=text))
    return sorted([*done, *open_.values()], key=lambda passage: passage.begin)

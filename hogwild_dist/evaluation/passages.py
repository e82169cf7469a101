"""The text of a run as passages, each with its writer and its steps."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from hogwild_dist.session.events import Answer, Event, Interjected, ParagraphEnd, Text


@dataclass(frozen=True, kw_only=True, slots=True)
class Passage:
    """A paragraph, a stated answer, or an interjection.

    Attributes:
        who: name of the writer.
        begin: step after which it began; 0 is the first.
        end: step after which it ended.
        text: text of the passage, prefix included.
        stated: whether a finisher wrote it to state an answer.
    """

    who: str
    begin: int
    end: int
    text: str
    stated: bool = False


def passages(events: Iterable[Event], num_workers: int) -> list[Passage]:
    """Return the passages of a run in the order in which they began.

    Args:
        events: events of the run.
        num_workers: number of the team's workers; later indices are finishers.
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

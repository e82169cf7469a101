"""Forced replay: a session is brought to where it was, on shards that know nothing of it.

Its steps are computed again, one after the other, with the tokens that were chosen: keys and values
depend on what was visible when they were written, so that encoding the final text at once would not
give them. After the last of these steps the session goes on by itself.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from hogwild_dist.engine.updates import Update
from hogwild_dist.session.changes import Change, ChangePhase
from hogwild_dist.session.events import Text


@dataclass(frozen=True, kw_only=True, slots=True)
class ForcedReplay:
    """What a session has done so far.

    Attributes:
        tokens: index of a worker -> the tokens that it chose.
        changes: the changes of the session, each with the number of its next step and its phase;
            without those that were refused, since there may be room for them now.
        num_steps: number of its steps.
    """

    tokens: Mapping[int, Sequence[int]]
    changes: Sequence[tuple[int, ChangePhase, Change]]
    num_steps: int

    @classmethod
    def of(cls, updates: Iterable[Update]) -> "ForcedReplay":
        """Return what the updates of a session say, from its first one on."""
        tokens: dict[int, list[int]] = defaultdict(list)
        changes, num_steps = [], 0
        for update in updates:
            num_steps = max(num_steps, update.step + 1)
            if update.change is not None and not update.refused:
                changes.append((update.step + 1, update.phase, update.change))
            for event in update.events:
                if isinstance(event, Text) and event.chosen:
                    tokens[event.worker] += event.token_ids
        return cls(tokens=dict(tokens), changes=changes, num_steps=num_steps)


@dataclass(slots=True)
class Replaying:
    """A replay that is going on.

    Attributes:
        replay: what the session has done.
        num_changed: number of changes that were made again.
    """

    replay: ForcedReplay
    num_changed: int = 0

    def due(self, step: int, phase: ChangePhase) -> Iterator[Change]:
        """Yield the changes to make now; each is yielded once.

        Args:
            step: number of the session's next step.
            phase: when in it a change would be made now.
        """
        while self.num_changed < len(self.replay.changes):
            *moment, change = self.replay.changes[self.num_changed]
            if moment != [step, phase]:
                return
            self.num_changed += 1
            yield change

    def is_over(self, step: int) -> bool:
        """Return whether the session goes on by itself from a step on."""
        return step >= self.replay.num_steps and self.num_changed == len(self.replay.changes)

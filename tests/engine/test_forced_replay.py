"""Sessions that are replayed on other shards go on as if nothing had happened."""

import random
from collections import defaultdict
from collections.abc import Sequence
from functools import cache

import pytest

from hogwild_dist.config import Visibility
from hogwild_dist.engine.commands import ApplyChange, Cancel, Command, Inbox, Open
from hogwild_dist.engine.forced_replay import ForcedReplay
from hogwild_dist.engine.shard_loop import ShardLoop
from hogwild_dist.engine.updates import Update
from hogwild_dist.session.changes import AddWorker, RemoveWorker
from hogwild_dist.session.events import SessionEnd
from tests.exchange import grid
from tests.faults.test_lost_shards import ASKED, COMMANDS, MESSAGE, NEWCOMER

OPENED = {one.session: one for one in COMMANDS if isinstance(one, Open)}


def play(commands: Sequence[Command], visibility: Visibility) -> dict[int, list[Update]]:
    """What each session shows."""
    inbox, shown = Inbox(), defaultdict(list)
    for number, command in enumerate(commands, start=1):
        inbox.put(number, command)

    def show(updates: Sequence[Update]) -> None:
        for update in updates:
            shown[update.session].append(update)

    ShardLoop(grid.new_engine(visibility), inbox, show).run()
    return dict(shown)


@cache
def undisturbed(visibility: Visibility) -> dict[int, list[Update]]:
    return play(COMMANDS, visibility)


def replayed(session: int, updates: Sequence[Update]) -> Open:
    """The command that brings a session to where it was after these updates."""
    one = OPENED[session]
    replay = ForcedReplay.of(updates)
    return Open(session=session, spec=one.spec, recorded=one.recorded, replay=replay)


@pytest.mark.parametrize("visibility", Visibility)
@pytest.mark.parametrize("seed", range(4))
def test_sessions_go_on_wherever_they_were(visibility: Visibility, seed: int) -> None:
    rng, before = random.Random(seed), undisturbed(visibility)
    changed = 1 + max(at for at, one in enumerate(before[4]) if one.change is not None)
    cuts = {
        session: rng.randrange(changed if session == 4 else 1, len(updates))
        for session, updates in before.items()
    }
    commands = [replayed(session, before[session][:cut]) for session, cut in cuts.items()]
    after = play(commands, visibility)
    for session, updates in before.items():
        assert [one.events for one in after[session]] == [one.events for one in updates], cuts
        assert [one.step for one in after[session]] == [one.step for one in updates]
        assert [one.change for one in after[session]] == [one.change for one in updates]


@pytest.mark.parametrize("visibility", Visibility)
def test_commands_wait_until_the_replay_is_over(visibility: Visibility) -> None:
    before = undisturbed(visibility)[4]
    at = len(before) // 2
    late = (
        ApplyChange(session=4, change=MESSAGE),
        ApplyChange(session=4, change=AddWorker(worker=ASKED.workers[1])),  # it is refused
        ApplyChange(session=4, change=RemoveWorker(name=NEWCOMER.name)),
    )
    after = play([replayed(4, before[:at]), *late], visibility)[4]
    assert [one.events for one in after[:at]] == [one.events for one in before[:at]]
    made = [one.change for one in after if one.change is not None]
    assert made[-3:] == [one.change for one in late]
    after = play([replayed(4, before[:at]), Cancel(session=4)], visibility)[4]
    assert [one.events for one in after[:at]] == [one.events for one in before[:at]]
    last = after[-1].events[-1]
    assert isinstance(last, SessionEnd)
    assert last.reason == "cancelled"


def test_a_session_that_wrote_nothing_begins_anew() -> None:
    before = undisturbed(Visibility.SAME_STEP)
    after = play([replayed(1, ())], Visibility.SAME_STEP)
    assert [one.events for one in after[1]] == [one.events for one in before[1]]

"""A shard can publish, at any time, what another one has not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hogwild_dist.engine.outbox import WINDOW, Outbox, Publication
from hogwild_dist.engine.rounds import Progress
from hogwild_dist.engine.updates import Update

UPDATES = (Update(session=1, step=0, events=()),)


def put(outbox: Outbox, number_of_round: int, *, publishes: bool = False) -> None:
    outbox.put(1, Progress(number_of_round), UPDATES, publishes=publishes)


@given(st.lists(st.booleans(), max_size=30), st.data())
def test_another_shard_sends_exactly_what_was_not_shown(
    ends_round: list[bool], data: st.DataObject
) -> None:
    first: list[Publication] = []
    second: list[Publication] = []
    publisher, other = Outbox(first.append), Outbox(second.append)
    for at, _ in enumerate(ends_round):
        number = sum(ends_round[:at])
        put(publisher, number, publishes=True)
        put(other, number)
    assert [one.number for one in first] == list(range(1, len(ends_round) + 1))
    assert second == []
    shown = data.draw(st.integers(0, len(ends_round)))
    other.resume(2, shown)
    assert second == [Publication(2, one.number, one.completed, UPDATES) for one in first[shown:]]


def test_nothing_is_numbered_where_there_are_no_updates() -> None:
    sent: list[Publication] = []
    outbox = Outbox(sent.append)
    outbox.put(1, Progress(1), (), publishes=True)
    put(outbox, 1, publishes=True)
    assert [one.number for one in sent] == [1]


def test_old_rounds_are_forgotten_and_a_burst_in_one_round_is_not() -> None:
    sent: list[Publication] = []
    outbox = Outbox(sent.append)
    for number in range(10):
        put(outbox, number)
    for _ in range(2 * WINDOW):
        put(outbox, 10)
    outbox.resume(2, 10)
    assert len(sent) == 2 * WINDOW
    put(outbox, 20)
    with pytest.raises(AssertionError, match="what was not shown is kept"):
        outbox.resume(3, 10)

"""The gate lets a shard pass under the membership for which it was stopped, and no other."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from hogwild_dist.engine.epoch_gate import EpochGate
from hogwild_dist.engine.rounds import NextEpoch, Progress
from hogwild_dist.errors import ConfigError, PeersLostError, ShardError

LOST = PeersLostError("Shard 0 lost its peers.")


def following(epoch: int) -> NextEpoch:
    channels: Any = None
    return NextEpoch(epoch=epoch, world_size=1, channels=channels, completed=Progress(), shown=0)


def test_a_loop_that_lost_its_peers_says_so_and_waits_for_its_next_group() -> None:
    told: list[tuple[int, PeersLostError]] = []
    gate = EpochGate(4, lambda epoch, error: told.append((epoch, error)), 20.0)
    with ThreadPoolExecutor(1) as loop:
        waiting = loop.submit(gate.wait, LOST)
        gate.freeze(5)
        gate.open(following(5))
        assert [one.epoch for one in waiting.result(20.0)] == [5]
    assert told in ([(4, LOST)], [])  # it may have been stopped before it noticed
    assert not gate.frozen
    assert not gate.waiting


def test_a_membership_that_broke_up_before_it_began_is_passed_on_with_the_next() -> None:
    gate = EpochGate(1, lambda *_: None, 20.0)
    gate.freeze(2)
    gate.open(following(2))
    assert gate.frozen  # the loop has not seen it yet
    gate.freeze(3)
    gate.open(following(3))
    assert [one.epoch for one in gate.wait(None)] == [2, 3]


def test_older_memberships_are_refused() -> None:
    gate = EpochGate(1, lambda *_: None, 20.0)
    gate.freeze(3)
    with pytest.raises(ConfigError, match="Epoch 2 is over; this shard is in epoch 3"):
        gate.freeze(2)
    with pytest.raises(ConfigError, match="Epoch 2 cannot begin; this shard is in epoch 3"):
        gate.open(following(2))
    assert gate.frozen


def test_a_loop_waits_no_longer_than_its_time_limit() -> None:
    gate = EpochGate(1, lambda *_: None, 0.01)
    with pytest.raises(ShardError, match=r"lost its peers. No new group was formed in 0.01 s"):
        gate.wait(LOST)

"""A driver managed by a service: its lease, health probes, time limits and retirement."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hogwild_dist import LAYOUTS
from hogwild_dist.actors.client.async_shard_group import AsyncShardGroup
from hogwild_dist.actors.client.shard_group import ShardGroup
from hogwild_dist.actors.driver.journal import Journal
from hogwild_dist.actors.driver.lifecycle import Lease, Lifecycle, probe
from hogwild_dist.actors.driver.session_record import HEALTH, Owner
from hogwild_dist.actors.errors import ClusterError
from hogwild_dist.actors.settings import GroupSettings, ShardSettings
from hogwild_dist.engine.updates import Update
from hogwild_dist.errors import ConfigError, ContextLimitError
from hogwild_dist.session.events import SessionEnd
from hogwild_dist.team.session_request import SessionRequest
from tests.actors import leftovers
from tests.actors.client.test_shard_group import team
from tests.actors.driver.test_journal import END, WORD, begin, update
from tests.actors.test_named_group import ENDLESS
from tests.tiny_tokenizer import byte_tokenizer

Settings = Callable[..., GroupSettings]


def origin(a_team=ENDLESS) -> SessionRequest:
    spec = a_team.spec("Count!", byte_tokenizer())
    return SessionRequest(problem="Count!", team=a_team, spec=spec)


SHORT = replace(team(1, LAYOUTS["independent"]), limits=replace(ENDLESS.limits, max_tokens=1))


async def reasons(updates: AsyncIterator[list]) -> list[str]:
    return [
        event.reason
        async for some in updates
        for update in some
        for event in update.events
        if isinstance(event, SessionEnd)
    ]


@given(st.lists(st.tuples(st.sampled_from("ab"), st.floats(0, 3)), max_size=20))
def test_a_lease_has_one_holder_until_it_ends(takes: list[tuple[str, float]]) -> None:
    lease, now, holder, until = Lease(), 0.0, "", 0.0
    for who, passed in takes:
        now += passed
        free = who == holder or now >= until
        left = lease.take(who, 2.0, now)
        assert left == (0.0 if free else until - now)
        if free:
            holder, until = who, now + 2.0
    assert lease.take("c", 1.0, now + 2.0) == 0.0


def test_a_group_that_was_never_leased_is_an_orphan_too() -> None:
    ended = asyncio.Event()

    async def stop() -> None:
        ended.set()

    async def watched() -> None:
        settings = GroupSettings(
            num_shards=1, shard=ShardSettings(model="none"), orphan_seconds=0.05, lease_seconds=0.1
        )
        lifecycle = Lifecycle(settings, Journal(kept=0), lambda *_: None, stop)
        await asyncio.wait_for(lifecycle.watch(), 10.0)
        assert lifecycle.retiring

    asyncio.run(watched())
    assert ended.is_set()


async def probed(*published: list[Update] | str) -> None:
    """Probe a group whose shards publish these updates; a text fails the group."""
    journal = Journal(kept=0)

    def open_session(*, owner: Owner) -> int:
        assert (owner.tenant, owner.kept) == (HEALTH, False)
        begin(journal, 1, owner)
        return 1

    async def publish() -> None:
        for one in published:
            await asyncio.sleep(0)
            journal.fail(one) if isinstance(one, str) else journal.add(one)

    begun = time.monotonic()
    _, error = await asyncio.gather(
        publish(), probe(journal, open_session, 20.0), return_exceptions=True
    )
    assert time.monotonic() < begun + 10
    if isinstance(error, Exception):
        raise error


def test_a_group_that_writes_is_proven() -> None:
    asyncio.run(probed(update(1), update(1, WORD)))
    asyncio.run(probed(update(1, WORD, END)))


def test_a_group_that_refuses_or_is_lost_is_not_proven() -> None:
    refusal = Update(session=1, step=-1, events=(), error=ContextLimitError("no room"))
    with pytest.raises(ClusterError, match="The health probe failed: no room"):
        asyncio.run(probed([refusal]))
    with pytest.raises(ClusterError, match="The health probe failed: a shard died"):
        asyncio.run(probed(update(1), "a shard died"))
    with pytest.raises(ClusterError, match="generated no token within 20 s"):
        asyncio.run(probed(update(1, END)))


def test_a_service_looks_after_a_group(settings: Settings) -> None:
    before = leftovers.now()
    with pytest.raises(ClusterError, match="No group named 'looked-after'"):
        AsyncShardGroup("looked-after")
    ShardGroup.start(settings(1, kept_sessions=2), name="looked-after")
    asyncio.run(looks_after())
    assert leftovers.settles(before)


async def looks_after() -> None:
    group = AsyncShardGroup("looked-after")
    assert await group.lease("one", 60.0) == 0.0
    assert 50.0 < await group.lease("two", 60.0) < 60.0
    assert await group.lease("one", 60.0) == 0.0

    assert not (await group.load()).ready  # it has not written anything yet
    await group.probe(origin(SHORT), 30.0)
    assert (await group.load()).ready
    assert await group.sessions() == []

    timed = Owner(tenant="ann", secret="s", leased=False, seconds=0.5)
    number = await group.open(origin(), recorded=False, owner=timed)
    assert (await group.load()).running == 1
    await group.probe(origin(SHORT), 30.0)  # a session writes: nothing is opened
    assert await reasons(group.follow(number)) == ["timeout"]
    snapshot = await group.snapshot(number)
    assert (snapshot.owner, snapshot.summary.end_reason, snapshot.summary.begun) == (
        timed,
        "timeout",
        True,
    )
    assert snapshot.origin.problem == "Count!"
    assert sum(snapshot.transcript.num_tokens.values()) > 0
    with pytest.raises(ConfigError, match="There is no session 77"):
        await group.snapshot(77)

    for _ in range(3):
        short = await group.open(origin(SHORT), recorded=False, owner=Owner(leased=False))
        await reasons(group.follow(short))
    assert len(await group.sessions()) == 3  # two were kept when the last was opened

    last = await group.open(origin(), recorded=False, owner=Owner(leased=False))
    await group.retire(60.0)
    assert not (await group.load()).ready
    with pytest.raises(ClusterError, match="takes no more sessions"):
        await group.open(origin(SHORT), recorded=False, owner=Owner())
    await group.probe(origin(SHORT), 30.0)
    await group.cancel(last)
    await asyncio.sleep(1.0)  # a slow client, for which the group stays a moment longer
    assert await reasons(group.follow(last)) == ["cancelled"]


def test_an_orphan_ends_itself_and_its_sessions(settings: Settings) -> None:
    before = leftovers.now()
    ShardGroup.start(settings(1, orphan_seconds=0.5), name="orphan")
    asyncio.run(abandon())
    assert leftovers.settles(before)


async def abandon() -> None:
    group = AsyncShardGroup("orphan")
    await group.open(origin(), recorded=False, owner=Owner(leased=False))
    assert await group.lease("one", 0.1) == 0.0

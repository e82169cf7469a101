"""Sessions on real Ray actors write what one process writes, and leave nothing behind."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hogwild_dist import LAYOUTS, Engine, Limits, Run, Team
from hogwild_dist.actors.client.shard_group import ShardGroup
from hogwild_dist.actors.settings import GroupSettings
from hogwild_dist.config import Visibility
from hogwild_dist.errors import ConfigError, ContextLimitError
from hogwild_dist.model.loader import load_model, load_tokenizer
from hogwild_dist.run.trace.reader import read_trace
from hogwild_dist.run.trace.replay import replay_fed
from hogwild_dist.session.events import Event, Joined
from hogwild_dist.team.layout import Layout
from tests.actors import leftovers
from tests.replaying import engine_config
from tests.tiny_team import BREAKS, CRITIC, PROMPTS

NAMES = ("Ann", "Ben", "Cat", "Dan")


def team(num_workers: int, layout: Layout, max_tokens: int = 25) -> Team:
    return Team(
        names=NAMES[:num_workers],
        layout=layout,
        prompts=PROMPTS,
        sampling=BREAKS,
        limits=Limits(max_tokens=max_tokens),
        seed=2,
    )


@pytest.fixture(scope="module", params=Visibility)
def trio(
    request: pytest.FixtureRequest, settings: Callable[..., GroupSettings]
) -> Iterator[ShardGroup]:
    """Three shards, one group for each visibility, which leaves nothing behind."""
    before = leftovers.now()
    with ShardGroup.start(settings(3, request.param)) as group:
        assert len({shard.pid for shard in group.group.shards}) == 3
        yield group
    assert leftovers.settles(before)


def test_actors_write_what_one_process_writes(
    trio: ShardGroup, tiny_dir: Path, tmp_path: Path
) -> None:
    model = load_model(tiny_dir, dtype="float64", device="cpu")
    for number, a_team in enumerate((team(4, LAYOUTS["combined"]), team(3, CRITIC))):
        path = tmp_path / f"{number}.json"
        events = list(Run(trio, "Count!", a_team, path))
        engine = Engine(model, load_tokenizer(tiny_dir), trio.group.settings.shard.engine)
        assert events == list(Run(engine, "Count!", a_team))
        first, *others = trio.checksums(trio.sessions()[-1].id)
        assert others == [first, first]
        assert [status.free_pages for status in trio.status()] == [8_192 // 64] * 3
        replays(path, model)


def replays(path: Path, model) -> None:
    trace = read_trace(path)
    engine = Engine(model, load_tokenizer(model.name), engine_config(trace, 8_192))
    rows = list(replay_fed(trace, engine))
    assert rows
    assert all(row.agrees(1e-5) and row.argmax == row.expected for row in rows)


def test_a_recording_replays_on_the_group(group: ShardGroup, tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    list(Run(group, "Count!", team(3, LAYOUTS["combined"]), path))
    trace = read_trace(path)
    rows = group.replay_fed(trace)
    assert [row.worker for row in rows[:3]] == [0, 1, 2]
    assert all(row.agrees(1e-5) and row.argmax == row.expected for row in rows)
    assert group.replay_free(trace) == [[]] * len(trace.steps)


def test_several_sessions_run_side_by_side(group: ShardGroup) -> None:
    """Each writes what it writes alone."""
    a_team = team(3, LAYOUTS["combined"])
    alone = list(Run(group, "Count!", a_team))
    runs = [Run(group, "Count!", a_team) for _ in range(3)]
    streams: list[list[Event]] = [list(run) for run in runs]
    assert [[e for e in events if e.kind == "text"] for events in streams] == [
        [e for e in alone if e.kind == "text"]
    ] * 3


def test_workers_join_together_before_a_run_is_read(group: ShardGroup) -> None:
    run = Run(group, "Count!", team(2, LAYOUTS["combined"], max_tokens=100))
    run.join("Yan")
    run.join("Zoe")
    assert [event.name for event in run if isinstance(event, Joined)] == ["Yan", "Zoe"]


def test_closing_a_run_cancels_it_and_frees_its_blocks_everywhere(group: ShardGroup) -> None:
    run = Run(group, "Count!", team(3, LAYOUTS["combined"], max_tokens=3_000))
    for number, _ in enumerate(run):
        if number > 30:
            break
    rest = run.close()
    assert rest[-1].kind == "session_end"
    assert run.result.end_reason == "cancelled"
    assert all(reason == "cancelled" for reason in run.result.finish_reasons.values())
    session = group.sessions()[-1]
    assert session.end_reason == "cancelled"
    group.checksums(session.id)  # waits until every shard has retired it
    assert [status.free_pages for status in group.status()] == [8_192 // 64] * 2


def test_a_session_that_does_not_fit_is_refused_and_the_rest_goes_on(group: ShardGroup) -> None:
    long = Run(group, "Count! " * 600, team(2, LAYOUTS["combined"]))
    with pytest.raises(ContextLimitError, match=r"take 4.* tokens and the context of"):
        list(long)
    assert list(Run(group, "Count!", team(2, LAYOUTS["combined"])))[-1].kind == "session_end"


def test_a_running_session_can_be_changed_on_shards(
    trio: ShardGroup, tiny_dir: Path, tmp_path: Path
) -> None:
    path = tmp_path / "run.json"
    run = Run(trio, "Count!", team(3, LAYOUTS["combined"], max_tokens=150), path)
    events: list[Event] = []
    for event in run:
        events.append(event)
        if len(events) == 5:
            run.interject("Think of primes.")
            run.join("Zoe")
            run.leave("Ben")
            run.leave("Nobody")
    kinds = [event.kind for event in events]
    assert [kinds.count(kind) for kind in ("interjection", "joined", "refused")] == [1, 1, 1]
    assert any(event.kind == "text" and event.name == "Zoe" for event in events)
    session = trio.sessions()[-1].id
    first, *others = trio.checksums(session)
    assert others == [first, first]
    with pytest.raises(ConfigError, match=f"Session {session} has ended"):
        run.interject("Too late.")
    replays(path, load_model(tiny_dir, dtype="float64", device="cpu"))

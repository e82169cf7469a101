"""A session that does not fit yet: others may pass it, and it starts in the end."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from types import SimpleNamespace

from hypothesis import given
from hypothesis import strategies as st

from hogwild_dist.engine.commands import Open
from hogwild_dist.engine.scheduler.waiting_queue import MOST_PASSES, WaitingQueue
from hogwild_dist.model.loader import prepare_model
from tests.engine.test_waiting_queue import Watched, spec
from tests.tiny_engine import tiny_engine, tiny_network

PAGES = 16


@dataclass(eq=False)
class Asked:
    """A session, as far as the queue knows it: pages that it needs, and steps that it takes."""

    id: int
    tenant: str
    pages: int
    steps: int


class Room:
    """Pages, in place of those of a cache; every prompt is empty."""

    prefix_cache = SimpleNamespace(are_encoded=True)

    def __init__(self) -> None:
        self.running: dict[Asked, int] = {}

    @property
    def num_free(self) -> int:
        return PAGES - sum(session.pages for session in self.running)

    def reserve(self, session: Asked) -> list[object] | None:
        if session.pages > self.num_free:
            return None
        self.running[session] = session.steps
        return []

    def step(self) -> None:
        left = {session: steps - 1 for session, steps in self.running.items()}
        self.running = {session: steps for session, steps in left.items() if steps}


class Queue:
    """The queue under test, with room of its own."""

    def __init__(self) -> None:
        self.room = Room()
        self.queue = WaitingQueue(self.room, lambda rows: 0)  # type: ignore[arg-type]

    def step(self, arrivals: list[Asked]) -> list[Asked]:
        """Return who starts in this step."""
        for session in arrivals:
            self.queue.put(session, session.tenant)  # type: ignore[arg-type]
        begun = [session for session, _ in self.queue.admit_ready(512)]
        self.room.step()
        return begun  # type: ignore[return-value]


TENANTS = "abcd"
MOST_BEFORE = (len(TENANTS) - 1) * (1 + MOST_PASSES) + MOST_PASSES
"""Each other tenant may have its turn first, and whoever has the turn may be passed."""

SIZES = st.one_of(st.integers(1, 3), st.integers(1, PAGES))
ARRIVALS = st.lists(
    st.lists(st.tuples(st.sampled_from(TENANTS), SIZES, st.integers(1, 9)), max_size=4), max_size=40
)


def asked(script: list[list[tuple[str, int, int]]]) -> Iterator[list[Asked]]:
    number = 0
    for some in script:
        yield [Asked(number + at, *fields) for at, fields in enumerate(some)]
        number += len(some)


@given(ARRIVALS)
def test_everybody_starts_and_nobody_is_passed_too_often(
    script: list[list[tuple[str, int, int]]],
) -> None:
    one, other = Queue(), Queue()  # two shards, which must decide alike
    waiting: dict[str, list[Asked]] = {tenant: [] for tenant in TENANTS}
    num_before: dict[Asked, int] = {}  # starts since a session is the first of its tenant
    steps = list(asked(script))
    num_steps = len(steps) + sum(session.steps for some in steps for session in some)
    for number in range(num_steps):
        arrivals = steps[number] if number < len(steps) else []
        for session in arrivals:
            waiting[session.tenant].append(session)
        begun = one.step(arrivals)
        assert other.step(arrivals) == begun
        for session in begun:
            assert waiting[session.tenant].pop(0) is session
            for own in filter(None, waiting.values()):
                num_before[own[0]] = num_before.get(own[0], -1) + 1
                assert num_before[own[0]] <= MOST_BEFORE
    assert not any(waiting.values())
    assert not list(one.queue)


def test_small_sessions_pass_a_large_one_and_then_wait_for_it() -> None:
    queue = Queue()
    runs = Asked(0, "a", PAGES // 2, 100)
    large = Asked(1, "b", PAGES, 1)
    assert queue.step([runs]) == [runs]
    assert queue.step([large]) == []
    small = [Asked(2 + n, "c", 1, 1) for n in range(2 * MOST_PASSES)]
    begun = [session for one in small for session in queue.step([one])]
    assert begun == small[:MOST_PASSES]
    later: list[Asked] = []
    while large not in later:
        later += queue.step([])
    assert later == [large]
    rest: list[Asked] = []
    for _ in small:
        rest += queue.step([])
    assert rest == small[MOST_PASSES:]


def test_a_large_session_that_is_cancelled_holds_up_nobody() -> None:
    queue = Queue()
    runs, large = Asked(0, "a", 1, 100), Asked(1, "b", PAGES, 1)
    small = [Asked(2 + n, "c", 1, 1) for n in range(MOST_PASSES + 1)]
    queue.step([runs, large])
    for one in small:
        queue.step([one])
    assert list(queue.queue) == [large, small[-1]]
    queue.queue.remove(large)  # type: ignore[arg-type]
    assert queue.step([]) == [small[-1]]


def test_a_small_session_of_another_tenant_writes_while_a_large_one_waits() -> None:
    """In the engine itself: the large one would need nearly the whole cache."""
    model = prepare_model(tiny_network(2_048).double(), name="tiny")
    watched = Watched(tiny_engine(model, cache_tokens=64 * 60))
    whole = spec("Go on!")
    workers = tuple(replace(one, max_tokens=None, stop_at_step=3) for one in whole.workers)
    large = replace(whole, workers=workers)
    for number, (one, tenant) in enumerate(
        ((spec("First", tokens=60), "a"), (large, "b"), (spec("Third", tokens=3), "c")), start=1
    ):
        watched.send(Open(session=number, spec=one, recorded=False, tenant=tenant))
    watched.run()
    begun = list(dict.fromkeys(update.session for update in watched.updates))
    assert begun == [1, 3, 2]
    assert sorted(watched.ends()) == ["all_stopped"] * 3

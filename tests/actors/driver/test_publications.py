from hypothesis import given
from hypothesis import strategies as st

from hogwild_dist.actors.driver.publications import Publications
from hogwild_dist.engine.outbox import Publication
from hogwild_dist.engine.rounds import Progress
from hogwild_dist.engine.updates import Update


def publication(number: int, epoch: int = 1) -> Publication:
    update = Update(session=epoch, step=number, events=())
    return Publication(epoch, number, Progress(number), (update,))


def steps(released: list) -> list[int]:
    return [update.step for updates in released for update in updates]


@given(st.permutations(range(1, 13)))
def test_publications_come_out_in_order_and_as_soon_as_they_can(numbers: list[int]) -> None:
    publications, out = Publications(), []
    for count, number in enumerate(numbers, start=1):
        out += steps(publications.put(publication(number)))
        arrived = set(numbers[:count])
        whole = next(n for n in range(1, 14) if n not in arrived)
        assert out == list(range(1, whole))
        assert publications.shown == publications.completed.number == whole - 1


@given(st.lists(st.tuples(st.integers(1, 3), st.integers(1, 6)), max_size=40), st.integers(0, 40))
def test_nothing_is_shown_twice_and_nothing_of_an_older_membership(
    calls: list[tuple[int, int]], begins_at: int
) -> None:
    publications, shown = Publications(), []
    for at, (epoch, number) in enumerate(calls):
        if at == begins_at:
            publications.begin(2)
        released = publications.put(publication(number, epoch))
        if at >= begins_at and epoch == 1:
            assert not released
        shown += steps(released)
    assert shown == list(range(1, len(shown) + 1))

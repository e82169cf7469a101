from hypothesis import given
from hypothesis import strategies as st

from hogwild_dist.actors.driver.in_order import InOrder


@given(st.permutations(range(12)))
def test_items_come_out_in_order_and_as_soon_as_they_can(numbers: list[int]) -> None:
    queue, out = InOrder[str](), []
    for count, number in enumerate(numbers, start=1):
        out += queue.put(number, f"item {number}")
        arrived = set(numbers[:count])
        whole = next(n for n in range(13) if n not in arrived)
        assert out == [f"item {n}" for n in range(whole)]

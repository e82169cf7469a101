"""Headers survive the wire, fit their slots, and tell what is wrong with them."""

from zlib import crc32

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hogwild_dist.errors import ExchangeError, PeersLostError
from hogwild_dist.exchange.base import LogitsSummary, RowReport, StepReport
from hogwild_dist.exchange.wire import VERSION, header_bytes, pack_header, unpack_header
from hogwild_dist.model.sampling import NUM_TOP

ids = st.integers(0, 2**31 - 1)
numbers = st.floats(allow_nan=False, width=64)
summaries = st.builds(
    LogitsSummary,
    top_ids=st.lists(ids, min_size=NUM_TOP, max_size=NUM_TOP).map(tuple),
    top_logits=st.lists(numbers, min_size=NUM_TOP, max_size=NUM_TOP).map(tuple),
    logsumexp=numbers,
    margin=numbers,
    greedy=ids,
)
rows = st.builds(
    RowReport,
    session=ids,
    worker=st.integers(0, 15),
    token_id=st.none() | ids,
    summary=st.none() | summaries,
    failed=st.booleans(),
)
news = st.builds(
    StepReport,
    step=st.integers(0, 2**62),
    command=st.integers(0, 2**62),
    state=st.integers(0, 2**32 - 1),
    reports=st.lists(rows, max_size=20).map(tuple),
)
SIMPLE = StepReport(step=3, command=9, state=77, reports=(RowReport(1, 0, 5),))


def read(data: bytes, **other: int) -> StepReport:
    due = {"epoch": 2, "step": 3, "rank": 1, "state": 77, "num_tokens": 4}
    return unpack_header(data, **{**due, **other})


@given(news, st.integers(0, 2**62), st.integers(0, 63), st.integers(0, 2**31))
def test_what_is_sent_arrives_and_fits_its_slot(
    sent: StepReport, epoch: int, rank: int, num_tokens: int
) -> None:
    data = pack_header(sent, epoch, rank, num_tokens)
    recorded = sum(report.summary is not None for report in sent.reports)
    slot = header_bytes(len(sent.reports), recorded)
    assert len(data) <= slot
    got = unpack_header(
        data.ljust(slot + 100, b"\0"),
        epoch=epoch,
        step=sent.step,
        rank=rank,
        state=sent.state,
        num_tokens=num_tokens,
    )
    assert got == sent


@given(news, st.data())
def test_every_damage_is_found(sent: StepReport, data: st.DataObject) -> None:
    header = bytearray(pack_header(sent, 2, 1, 4))
    bit = data.draw(st.integers(0, 8 * len(header) - 1))
    header[bit // 8] ^= 1 << bit % 8
    with pytest.raises(PeersLostError, match="Shard 1 sent"):
        read(bytes(header).ljust(len(header) + 100, b"\0"), step=sent.step, state=sent.state)


@pytest.mark.parametrize(
    ("due", "sentence"),
    [
        ({"epoch": 3}, "Shard 1 sent epoch 2, but 3 was expected"),
        ({"step": 4}, "Shard 1 sent step 3, but 4 was expected"),
        ({"rank": 2}, "Shard 2 sent rank 1, but 2 was expected"),
        ({"num_tokens": 5}, "Shard 1 sent number of new tokens 4, but 5 was expected"),
        ({"state": 78}, "Shard 1 disagrees about the sessions before step 3"),
    ],
)
def test_a_header_that_was_not_due_says_who_sent_what(due: dict[str, int], sentence: str) -> None:
    data = pack_header(SIMPLE, 2, 1, 4)
    assert read(data) == SIMPLE
    with pytest.raises(ExchangeError, match=sentence):
        read(data, **due)


def test_another_version_and_noise_are_refused() -> None:
    other = msgpack.packb([VERSION + 1, "anything"])
    with pytest.raises(ExchangeError, match=f"speaks version {VERSION + 1} of the wire format"):
        read(msgpack.packb(crc32(other)) + other)
    for noise in (b"", b"\xc1" * 40, msgpack.packb("text"), msgpack.packb([VERSION, 2])):
        with pytest.raises(ExchangeError, match="Shard 1 sent"):
            read(noise)

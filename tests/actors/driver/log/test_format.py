"""Log files are read to their last whole frame, and damage before it is found."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hogwild_dist.actors.driver.log import format as log_format
from hogwild_dist.actors.driver.log.format import frame, header, read
from hogwild_dist.actors.errors import LogError

NAME = "000001.log"
some_payloads = st.lists(st.binary(max_size=60), max_size=6)


def written(payloads: list[bytes], *, whole: bool = False) -> bytes:
    return header(whole=whole) + b"".join(map(frame, payloads))


def begins_of(payloads: list[bytes]) -> list[int]:
    """The offsets of the frames, and of the end."""
    return [len(written(payloads[:count])) for count in range(len(payloads) + 1)]


@given(some_payloads, st.booleans())
def test_payloads_come_back(payloads: list[bytes], whole: bool) -> None:
    data = written(payloads, whole=whole)
    contents = read(data, NAME)
    assert (contents.whole, contents.payloads) == (whole, payloads)
    assert contents.num_valid == len(data)


@given(some_payloads, st.data())
def test_a_cut_file_loses_the_frames_behind_the_cut_alone(
    payloads: list[bytes], data: st.DataObject
) -> None:
    begins = begins_of(payloads)
    cut = data.draw(st.integers(0, begins[-1]))
    num_zeros = data.draw(st.sampled_from([0, 1, 11, 12, 13, 5000]))
    contents = read(written(payloads)[:cut] + b"\0" * num_zeros, NAME)
    kept = max((count for count, begin in enumerate(begins) if begin <= cut), default=0)
    zeros_complete_a_frame = contents.payloads == payloads[: kept + 1]  # its own were cut off
    assert contents.payloads == payloads[:kept] or (num_zeros and zeros_complete_a_frame)
    assert contents.num_valid in {0, *begins}


@given(st.lists(st.binary(max_size=60), min_size=2, max_size=6), st.data())
def test_damage_before_the_last_frame_is_found(payloads: list[bytes], data: st.DataObject) -> None:
    begins = begins_of(payloads)
    damaged = bytearray(written(payloads))
    at = data.draw(st.integers(begins[0], begins[-2] - 1))
    damaged[at] ^= data.draw(st.integers(1, 255))
    begin = max(begin for begin in begins if begin <= at)
    sentence = f"000001.log is damaged at byte {begin}; restore the log from a copy, or begin a new"
    with pytest.raises(LogError, match=sentence):
        read(bytes(damaged), NAME)


@given(st.lists(st.binary(max_size=60), min_size=1, max_size=4), st.data())
def test_a_last_frame_that_was_not_synced_may_be_anything(
    payloads: list[bytes], data: st.DataObject
) -> None:
    *_, begin, end = begins_of(payloads)
    size = data.draw(st.integers(0, end - begin + 20))
    noise = data.draw(st.binary(min_size=size, max_size=size))
    contents = read(written(payloads)[:begin] + noise, NAME)
    assert contents.payloads == payloads[:-1]
    assert contents.num_valid == begin


@pytest.mark.parametrize("length", [0, 1, 2**31, 2**32 - 1])
def test_a_damaged_length_hides_no_frames(length: int) -> None:
    payloads = [b"first", b"second", b"third"]
    data = bytearray(written(payloads))
    begin = begins_of(payloads)[1]
    data[begin : begin + 4] = length.to_bytes(4, "little")
    with pytest.raises(LogError, match=f"damaged at byte {begin}"):
        read(bytes(data), NAME)


@given(st.integers(0, len(header()) - 1), st.integers(1, 255))
@example(8, 2)
def test_damage_of_the_header_is_found(at: int, bits: int) -> None:
    data = bytearray(written([b"one"]))
    data[at] ^= bits
    with pytest.raises(LogError, match=r"000001.log (is damaged|has version|is no log file)"):
        read(bytes(data), NAME)


def test_another_version_and_other_files_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(LogError, match=r"000001.log is no log file .* begins with b'\{\"time\":'"):
        read(b'{"time": "now", "more": "of it"}', NAME)
    with pytest.raises(LogError, match="is no log file"):
        read(b"short", NAME)
    with monkeypatch.context() as patched:
        patched.setattr(log_format, "VERSION", 7)
        data = written([b"one"])
    with pytest.raises(LogError, match=r"has version 7 of the log format and .* reads version 1"):
        read(data, NAME)


def test_a_payload_that_is_too_long_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_format, "MOST_BYTES", 3)
    assert frame(b"abc").endswith(b"abc")
    with pytest.raises(LogError, match="has 4 bytes and can have 3; keep fewer sessions"):
        frame(b"abcd")

"""The wire format of headers: msgpack with a version, in a slot whose size every rank computes.

A header begins with its checksum, and names its sender, epoch and step, so that a receiver detects
every damage and disagreement and names its kind: another version, a rank in the wrong place, an
unexpected step, or diverged sessions.
"""

from typing import Any
from zlib import crc32

import msgpack

from hogwild_dist.errors import ExchangeError, PeersLostError
from hogwild_dist.exchange.base import LogitsSummary, RowReport, StepReport

VERSION = 2
"""Version of the header; shards of different versions refuse each other."""

FIXED_BYTES = 64
"""Upper bound of the bytes of a header without rows."""

ROW_BYTES = 24
"""Upper bound of the bytes of a row."""

SUMMARY_BYTES = 160
"""Upper bound of the bytes of a recorded row's summary: 8 ids and 11 numbers."""


def header_bytes(num_rows: int, num_recorded: int) -> int:
    """Return the size of a header's slot, in bytes.

    Args:
        num_rows: number of rows that the sender reports.
        num_recorded: number of these rows with a summary.
    """
    return FIXED_BYTES + ROW_BYTES * num_rows + SUMMARY_BYTES * num_recorded


def pack_header(report: StepReport, epoch: int, rank: int, num_tokens: int) -> bytes:
    """Return a packed header.

    Args:
        report: report of the sending rank.
        epoch: epoch of the group.
        rank: rank of the sender.
        num_tokens: number of tokens whose K and V follow.
    """
    rows = [
        [row.session, row.worker, row.token_id, _pack_summary(row.summary), row.failed]
        for row in report.reports
    ]
    fields = [VERSION, epoch, report.step, rank, num_tokens, report.command, report.state, rows]
    packed: bytes = msgpack.packb(fields)
    checksum: bytes = msgpack.packb(crc32(packed))
    return checksum + packed


def unpack_header(
    data: bytes, *, epoch: int, step: int, rank: int, state: int, num_tokens: int
) -> StepReport:
    """Read a header and check that it is the expected one.

    Args:
        data: bytes of a slot; bytes after the header are ignored.
        epoch: epoch of the group.
        step: number of the step that is being exchanged.
        rank: rank of the sender.
        state: fingerprint of the sessions on this rank.
        num_tokens: number of tokens that this rank expects from the sender.

    Raises:
        PeersLostError: the header is damaged, or not the expected one; the message names sender and
            difference.
        ExchangeError: the sender speaks another version.
    """
    fields = _read(data, rank)
    if fields[0] != VERSION:
        raise ExchangeError(
            f"Shard {rank} speaks version {fields[0]} of the wire format and this one {VERSION}; "
            "install the same hogwild-dist on every node."
        )
    _, *sent, command, their_state, rows = fields
    for what, theirs, ours in zip(
        ("epoch", "step", "rank", "number of new tokens"),
        sent,
        (epoch, step, rank, num_tokens),
        strict=True,
    ):
        if theirs != ours:
            raise PeersLostError(
                f"Shard {rank} sent {what} {theirs}, but {ours} was expected (epoch {epoch}, step "
                f"{step}); start the group again."
            )
    if their_state != state:
        raise PeersLostError(
            f"Shard {rank} disagrees about the sessions before step {step} of epoch {epoch} "
            f"(fingerprint {their_state}, here {state}); start the group again."
        )
    reports = tuple(
        RowReport(session, worker, token, _unpack_summary(summary), failed)
        for session, worker, token, summary, failed in rows
    )
    return StepReport(step, command, their_state, reports)


def _read(data: bytes, rank: int) -> list[Any]:
    unpacker = msgpack.Unpacker(max_buffer_size=len(data))
    unpacker.feed(data)
    try:
        checksum = unpacker.unpack()
        begin = unpacker.tell()
        fields: list[Any] = unpacker.unpack()
        intact = checksum == crc32(data[begin : unpacker.tell()])
    except (ValueError, msgpack.OutOfData) as error:
        raise PeersLostError(
            f"Shard {rank} sent a header that cannot be read: {error!r}."
        ) from error
    if not intact or not isinstance(fields, list) or not fields:
        raise PeersLostError(f"Shard {rank} sent a damaged header: {fields!r:.80}.")
    return fields


def _pack_summary(summary: LogitsSummary | None) -> list[Any] | None:
    if summary is None:
        return None
    return [
        summary.top_ids,
        summary.top_logits,
        summary.logsumexp,
        summary.margin,
        summary.greedy,
    ]


def _unpack_summary(fields: list[Any] | None) -> LogitsSummary | None:
    if fields is None:
        return None
    top_ids, top_logits, logsumexp, margin, greedy = fields
    return LogitsSummary(tuple(top_ids), tuple(top_logits), logsumexp, margin, greedy)

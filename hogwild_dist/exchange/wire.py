"""Headers on the wire: msgpack, with a version, in a slot whose size every rank can compute.

A header names its sender, its epoch and its step, so that a disagreement is found on arrival and
can be told apart: a version that differs, a rank in the wrong place, a step that is not due, or
sessions that have run apart.
"""

from typing import Any

import msgpack

from hogwild_dist.errors import ExchangeError
from hogwild_dist.exchange.base import LogitsSummary, RowReport, StepReport

VERSION = 1
"""Of the header. Shards of different versions refuse each other."""

FIXED_BYTES = 64
"""Upper bound for a header without rows."""

ROW_BYTES = 24
"""Upper bound for a row."""

SUMMARY_BYTES = 160
"""Upper bound for the summary of a recorded row: 8 ids and 11 numbers."""


def header_bytes(num_rows: int, num_recorded: int) -> int:
    """Size of a header's slot.

    Args:
        num_rows: rows that the sender reports.
        num_recorded: how many of them carry a summary.
    """
    return FIXED_BYTES + ROW_BYTES * num_rows + SUMMARY_BYTES * num_recorded


def pack_header(report: StepReport, epoch: int, rank: int, num_tokens: int) -> bytes:
    """Write a header.

    Args:
        report: what the rank says.
        epoch: of its group.
        rank: the sender.
        num_tokens: whose K and V follow.
    """
    rows = [
        [report.session, report.worker, report.token_id, _pack_summary(report.summary)]
        for report in report.reports
    ]
    fields = [VERSION, epoch, report.step, rank, num_tokens, report.command, report.state, rows]
    packed: bytes = msgpack.packb(fields)
    return packed


def unpack_header(
    data: bytes, *, epoch: int, step: int, rank: int, state: int, num_tokens: int
) -> StepReport:
    """Read a header and check that it is the one that was due.

    Args:
        data: a slot; what follows the header in it is ignored.
        epoch: of the group.
        step: that is being exchanged.
        rank: whose slot it is.
        state: fingerprint of the sessions on this rank.
        num_tokens: that this rank expects from the sender.

    Raises:
        ExchangeError: says who sent what.
    """
    fields = _read(data, rank)
    if fields[0] != VERSION:
        raise ExchangeError(
            f"Shard {rank} speaks version {fields[0]} of the wire format and this one {VERSION}; "
            "install the same hogwild-dist on every node."
        )
    _, *said, command, their_state, rows = fields
    for what, theirs, ours in zip(
        ("epoch", "step", "rank", "number of new tokens"),
        said,
        (epoch, step, rank, num_tokens),
        strict=True,
    ):
        if theirs != ours:
            raise ExchangeError(
                f"Shard {rank} sent {what} {theirs} where {ours} was due (epoch {epoch}, step "
                f"{step}); the group has to be formed anew."
            )
    if their_state != state:
        raise ExchangeError(
            f"Shard {rank} disagrees about the sessions before step {step} of epoch {epoch} "
            f"(fingerprint {their_state}, here {state}); the group has to be formed anew."
        )
    reports = tuple(
        RowReport(session, worker, token, _unpack_summary(summary))
        for session, worker, token, summary in rows
    )
    return StepReport(step, command, their_state, reports)


def _read(data: bytes, rank: int) -> list[Any]:
    unpacker = msgpack.Unpacker(max_buffer_size=len(data))
    unpacker.feed(data)
    try:
        fields = unpacker.unpack()
    except (ValueError, msgpack.OutOfData) as error:
        raise ExchangeError(
            f"Shard {rank} sent a header that cannot be read: {error!r}."
        ) from error
    if (
        not isinstance(fields, list)
        or len(fields) < 1
        or (fields[0] == VERSION and len(fields) != 8)
    ):
        raise ExchangeError(f"Shard {rank} sent something that is not a header: {fields!r:.80}.")
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

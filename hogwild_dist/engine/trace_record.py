"""Entries of a trace for a step and for the end; docs/traces.md names their fields."""

from typing import Any

from hogwild_dist.engine.scheduler.step import SessionStep
from hogwild_dist.exchange.base import LogitsSummary
from hogwild_dist.session.changes import change_to_json
from hogwild_dist.session.events import Event, Text
from hogwild_dist.session.session import Session


def step_record(step: SessionStep, seconds: float) -> dict[str, Any]:
    """Return the trace entry of a recorded session's step, right after the step was applied.

    Args:
        step: the step, with a summary of the logits in each report.
        seconds: duration of the step.
    """
    summaries = [_summary(report.summary) for report in step.reports]
    workers = [feed.worker.index for feed in step.feeds]
    record: dict[str, Any] = {
        "input_ids": [list(feed.row.token_ids) for feed in step.feeds],
        "top_ids": [list(one.top_ids) for one in summaries],
        "top_logits": [[round(value, 6) for value in one.top_logits] for one in summaries],
        "logsumexp": [round(one.logsumexp, 6) for one in summaries],
        "margin": [round(one.margin, 6) for one in summaries],
        "greedy": [one.greedy for one in summaries],
        "new": [report.token_id for report in step.reports],
        "block_len": step.block_lengths,
        "since_s1": step.session.history.since_check,
        "seconds": round(seconds, 6),
    }
    if workers != list(range(len(step.session.spec.workers))):
        record["active"] = workers
    for phase, changes in step.session.changes.items():
        if changes:
            record[phase] = [change_to_json(change) for change in changes]
            changes.clear()
    events = [_event(event) for event in step.events if not isinstance(event, Text)]
    if events:
        record["events"] = events
    return record


def final_record(session: Session) -> dict[str, Any]:
    """Return the fields that end a trace."""
    failure = {} if session.failure is None else {"error": str(session.failure)}
    return {
        "final": {
            "names": [worker.spec.name for worker in session.workers],
            "block_ids": session.blocks.token_ids(),
            "pending": [worker.pending for worker in session.workers],
            "text": [worker.text for worker in session.workers],
            "finish": [worker.finish_reason for worker in session.workers],
            "reason": session.end_reason,
            **failure,
        },
        "history": session.history.ids,
        "current": [worker.paragraph_ids for worker in session.workers],
    }


def _summary(summary: LogitsSummary | None) -> LogitsSummary:
    assert summary is not None, "the session is not recorded"
    return summary


def _event(event: Event) -> dict[str, Any]:
    """Return an event as JSON, under the field names of trace format 1."""
    fields = event.to_json()
    if fields["type"] == "paragraph_end":
        fields["step_tokens"] = fields.pop("token_ids")
        fields["s1"] = fields.pop("asked")
    return fields

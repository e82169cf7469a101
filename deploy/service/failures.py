"""Failures that nobody expected: one line in the log, and one sentence for the client.

Neither holds the exception's message, which may contain a client's text.
"""

import logging
import traceback

from hogwild_dist.errors import HogwildError

log = logging.getLogger("hogwild_dist.service")


def report_failure(error: Exception, request_id: str) -> str:
    """Log where a request failed, and return the sentence for its client."""
    log.error("request failed", extra={"request": request_id, **_where(error)})
    return f"The service failed; its log describes the failure of request {request_id}."


def sentence_of(error: Exception, request_id: str) -> str:
    """Return the sentence for the client; an error that nobody expected is logged."""
    return str(error) if isinstance(error, HogwildError) else report_failure(error, request_id)


def report_background(error: Exception) -> None:
    """Log where work failed that no request waits for."""
    log.error("background work failed", extra=_where(error))


def _where(error: Exception) -> dict[str, str]:
    frames = "".join(traceback.format_tb(error.__traceback__))
    return {"error": type(error).__name__, "traceback": frames}

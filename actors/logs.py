"""Structured logs: one JSON object a line, on an actor's standard error, which Ray keeps."""

import json
import logging
from datetime import UTC, datetime

LOGGER = "hogwild_dist"
"""The logger above all of this project's."""

_STANDARD = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "taskName"}


class JsonLines(logging.Formatter):
    """Formats a record as a line of JSON.

    Args:
        **fields: of this process, added to every line; a record's own (`extra=`) come behind them.
    """

    def __init__(self, **fields: object) -> None:
        super().__init__()
        self._fields = fields

    def format(self, record: logging.LogRecord) -> str:
        """One line."""
        entry = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            **self._fields,
            **{key: value for key, value in vars(record).items() if key not in _STANDARD},
            "message": record.getMessage(),
        }
        if record.exc_info:
            entry["traceback"] = self.formatException(record.exc_info)
        return json.dumps(entry, ensure_ascii=False, default=str)


def write_structured(**fields: object) -> None:
    """Let this process's logs of this project be lines of JSON; a second call replaces the fields.

    Args:
        **fields: that every line names, such as shard and epoch.
    """
    handler = logging.StreamHandler()
    handler.setFormatter(JsonLines(**fields))
    logger = logging.getLogger(LOGGER)
    logger.handlers = [handler]
    logger.setLevel(logging.INFO)
    logger.propagate = False

"""Structured logs: one JSON object per line on an actor's standard error, which Ray keeps."""

import json
import logging
from datetime import UTC, datetime

LOGGER = "hogwild_dist"
"""Parent of all loggers of this project."""

_STANDARD = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "taskName"}


class JsonLines(logging.Formatter):
    """Log formatter that writes each record as one line of JSON.

    Args:
        **fields: fields of this process, added to every line before the record's own (`extra=`).
    """

    def __init__(self, **fields: object) -> None:
        super().__init__()
        self._fields = fields

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as one line of JSON."""
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
    """Write this project's logs in this process as JSON; a second call replaces the fields.

    Args:
        **fields: fields of every line, such as shard and epoch.
    """
    handler = logging.StreamHandler()
    handler.setFormatter(JsonLines(**fields))
    logger = logging.getLogger(LOGGER)
    logger.handlers = [handler]
    logger.setLevel(logging.INFO)
    logger.propagate = False

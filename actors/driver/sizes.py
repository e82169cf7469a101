"""Sizes of what a driver keeps in memory."""

from collections.abc import Mapping, Sequence
from typing import Any

from hogwild_dist.engine.updates import Update
from hogwild_dist.session.events import Text

UPDATE_BYTES, EVENT_BYTES, TOKEN_BYTES = 500, 250, 40
"""Bytes of an update without its events, of an event, and of a token in one; measured."""

VALUE_BYTES = 50
"""Bytes of a value in a trace record; measured, with its share of the lists that it is in."""


def bytes_of(update: Update) -> int:
    """Return about how many bytes of memory an update takes."""
    texts = [event for event in update.events if isinstance(event, Text)]
    num_tokens = sum(len(event.token_ids) for event in texts)
    num_values = num_values_in(update.record) + num_values_in(update.final)
    return (
        UPDATE_BYTES
        + EVENT_BYTES * len(update.events)
        + TOKEN_BYTES * num_tokens
        + VALUE_BYTES * num_values
    )


def num_values_in(data: Any) -> int:
    """Return the number of values in nested lists and dictionaries, keys included."""
    if data is None:
        return 0
    if isinstance(data, Mapping):
        return len(data) + sum(map(num_values_in, data.values()))
    if isinstance(data, Sequence) and not isinstance(data, str):
        return 1 + sum(map(num_values_in, data))
    return 1

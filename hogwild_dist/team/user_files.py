"""What pydantic finds wrong with a file, in our own words."""

from collections.abc import Sequence
from typing import Any, Protocol

from pydantic_core import ErrorDetails

KINDS = {
    "string": "a text",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "list": "a list",
    "tuple": "a list",
    "dict": "a table",
    "model": "a table",
}
"""Beginning of an error's type -> what was wanted."""

LIMITS = {
    "greater_than_equal": "{ge} or more",
    "greater_than": "more than {gt}",
    "less_than_equal": "{le} or less",
    "less_than": "less than {lt}",
    "too_short": "{min_length} or more of them",
    "too_long": "{max_length} or fewer of them",
    "string_too_short": "a text of {min_length} or more characters",
    "string_too_long": "a text of {max_length} or fewer characters",
    "string_pattern_mismatch": "a text that matches {pattern}",
}
"""Type of an error -> what was wanted."""


class Invalid(Protocol):
    """What pydantic raises, or FastAPI in its place."""

    def errors(self) -> Sequence[Any]:
        """All faults, as pydantic's `ErrorDetails`."""


def first_fault(error: Invalid, data: Any) -> tuple[str, str]:
    """The place of the first fault, and what is wrong there.

    Args:
        error: what validation raised.
        data: what was validated.

    Returns:
        The keys that lead to the place, with dots between them, and a sentence's end.
    """
    errors = error.errors()
    place = _place(errors[0], data)
    # A value of several allowed kinds has a fault for each.
    same = [one for one in errors if _place(one, data) == place]
    wanted = [kind for one in same if (kind := _wanted(one)) is not None]
    if wanted:
        return place, f"it must be {' or '.join(dict.fromkeys(wanted))}"
    return place, _sentence(errors[0])


def _place(error: ErrorDetails, data: Any) -> str:
    """The keys that are in the data; pydantic also names which of several kinds it tried."""
    found: list[str] = []
    for part in error["loc"]:
        try:
            data = data[part]
        except (LookupError, TypeError):
            if error["type"] != "missing":
                continue
        found.append(str(part))
    return ".".join(found)


def _wanted(error: ErrorDetails) -> str | None:
    """What the value must be, where that can be said in a word."""
    about, kind = error.get("ctx", {}), error["type"]
    if kind in ("literal_error", "enum"):
        return str(about["expected"])
    if kind in LIMITS:
        return LIMITS[kind].format(**about)
    if kind.endswith(("_type", "_parsing", "_from_float")):
        return KINDS.get(kind.split("_")[0])
    return None


def _sentence(error: ErrorDetails) -> str:
    match error["type"]:
        case "extra_forbidden":
            return "there is no such key"
        case "json_invalid":
            return "it is not JSON"
        case "missing":
            return "it is missing"
        case "value_error":
            return str(error["ctx"]["error"])
    return error["msg"][:1].lower() + error["msg"][1:]

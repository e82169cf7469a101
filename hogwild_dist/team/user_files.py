"""Files that users write: reading them, and naming their first fault in a sentence."""

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, Protocol

from pydantic_core import ErrorDetails

from hogwild_dist.errors import ConfigError

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
"""Start of an error's type -> the expected kind of value."""

LIMITS = {
    "greater_than_equal": "{ge} or more",
    "greater_than": "more than {gt}",
    "less_than_equal": "{le} or less",
    "less_than": "less than {lt}",
    "too_short": "{min_length} or more of them",
    "too_long": "{max_length} or fewer of them",
    "string_too_short": "a text of {min_length} or more characters",
    "string_too_long": "a text of {max_length} or fewer characters",
    "finite_number": "a finite number",
    "int_parsing_size": "a whole number of fewer digits",
    "string_pattern_mismatch": "a text that matches {pattern}",
}
"""Type of an error -> the expected value."""


def read_toml(what: str, name: str, known: Collection[str]) -> str:
    """Return the text of a user's TOML file.

    Args:
        what: kind of the file, in a word, for errors.
        name: path of the file.
        known: built-in names that could be used in its place.

    Raises:
        ConfigError: the file does not exist, or is not UTF-8 text.
    """
    path = Path(name)
    if len(name) > 255 or not path.is_file():
        if len(name) <= 255 and (path.suffix == ".toml" or len(path.parts) > 1):
            fault = f"The {what} file {name!r} does not exist"
        else:
            fault = f"Unknown {what} {name[:80]!r}"
        raise ConfigError(f"{fault}; use {', '.join(known)} or a .toml file.")
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"The {what} file {name!r} is not UTF-8 text; convert it, or name another one."
        ) from error
    except OSError as error:
        raise ConfigError(
            f"The {what} file {name!r} cannot be read: {error.strerror}; name another one."
        ) from error


class Invalid(Protocol):
    """A validation error of pydantic, or FastAPI's in its place."""

    def errors(self) -> Sequence[Any]:
        """Return all faults, as pydantic's `ErrorDetails`."""


def first_fault(error: Invalid, data: Any) -> tuple[str, str]:
    """Return the place of the first fault, and what is wrong there.

    Args:
        error: the validation error.
        data: the validated data.

    Returns:
        The keys that lead to the fault, joined by dots, and the end of a sentence.
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
    """Return the keys that are in the data; pydantic also names the kinds that it tried."""
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
    """Return what the value must be, if a few words can say it."""
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

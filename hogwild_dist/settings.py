"""Dataclass fields that users set: as a command's options and as a file's keys.

A dataclass of settings may hold others. Users see one flat list of names.
"""

from collections.abc import Iterator, Mapping
from dataclasses import Field, field, fields, is_dataclass
from typing import Any, TypeVar

T = TypeVar("T")


def setting(default: T, description: str) -> T:
    """Declare a dataclass field by its default and the phrase that describes it to users."""
    return field(default=default, metadata={"help": description})


def description(kind: Any, name: str) -> str:
    """Return the phrase that describes a setting."""
    (found,) = [one for one in flat_fields(kind) if one.name == name]
    return str(found.metadata["help"])


def flat_fields(kind: Any) -> Iterator[Field[Any]]:
    """Yield the fields of a dataclass, and those of its nested dataclasses in their place."""
    for one in fields(kind):
        if is_dataclass(one.type):
            yield from flat_fields(one.type)
        else:
            yield one


def from_flat(kind: type[T], values: Mapping[str, Any]) -> T:
    """Make a dataclass of settings from flat values.

    Args:
        kind: class to make.
        values: settings by name; missing ones keep their defaults, other names are ignored.

    Raises:
        ConfigError: a value is out of range.
    """
    made: T = _make(kind, arguments_from_flat(kind, values))
    return made


def arguments_from_flat(kind: Any, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return a dataclass's arguments, with a dictionary in place of each nested dataclass."""
    return {
        one.name: arguments_from_flat(one.type, values)
        if is_dataclass(one.type)
        else values[one.name]
        for one in fields(kind)
        if is_dataclass(one.type) or one.name in values
    }


def _make(kind: Any, arguments: Mapping[str, Any]) -> Any:
    kinds = {one.name: one.type for one in fields(kind) if is_dataclass(one.type)}
    made = {name: _make(nested, arguments[name]) for name, nested in kinds.items()}
    return kind(**{**arguments, **made})

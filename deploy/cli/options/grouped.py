"""Options in groups: a command takes a dataclass, and its user an option for each field."""

import inspect
from collections.abc import Callable
from dataclasses import MISSING, Field, dataclass, is_dataclass
from functools import wraps
from inspect import Parameter
from typing import Annotated, Any, Optional, get_args, get_origin

import typer

from hogwild_dist.settings import flat_fields, from_flat


@dataclass(frozen=True, slots=True)
class Given:
    """Mark of a command's parameter that takes the options the user gave, as a dictionary.

    Attributes:
        kind: dataclass whose fields are the options.
        without: fields that are no options of this command.
    """

    kind: type
    without: tuple[str, ...] = ()


def grouped(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command an option for each field of its parameters that are dataclasses.

    The fields of nested dataclasses are options too. A parameter of type
    `Annotated[dict[str, Any], Given(kind)]` takes the options of `kind` that the user gave.

    Args:
        command: function that typer could call but for these parameters.

    Returns:
        A function that typer can call; it makes the dataclasses and calls the command.
    """
    signature = inspect.signature(command, eval_str=True)
    options: list[Parameter] = []
    makers: dict[str, Callable[[dict[str, Any]], Any]] = {}
    for name, parameter in signature.parameters.items():
        given = _given(parameter.annotation)
        if given is not None:
            found = _given_options(given)
            makers[name] = _keep_given([option.name for option in found])
            options += found
        elif is_dataclass(parameter.annotation):
            options += _options(parameter.annotation)
            makers[name] = _make(parameter.annotation)
        else:
            options.append(parameter.replace(kind=Parameter.KEYWORD_ONLY))

    @wraps(command)
    def called(**values: Any) -> None:
        made = {name: make(values) for name, make in makers.items()}
        rest = {name: values[name] for name in signature.parameters if name not in makers}
        command(**rest, **made)

    called.__signature__ = signature.replace(parameters=options)  # type: ignore[attr-defined]
    called.__annotations__ = {option.name: option.annotation for option in options}
    return called


def _make(kind: Any) -> Callable[[dict[str, Any]], Any]:
    return lambda values: from_flat(kind, values)


def _keep_given(names: list[str]) -> Callable[[dict[str, Any]], Any]:
    return lambda values: {name: values[name] for name in names if values[name] is not None}


def _given(annotation: Any) -> Given | None:
    """Return the mark of an annotation, if it has one."""
    if get_origin(annotation) is not Annotated:
        return None
    return next((one for one in get_args(annotation) if isinstance(one, Given)), None)


def _options(kind: Any) -> list[Parameter]:
    """Return a parameter for each field of a dataclass and of its nested dataclasses."""
    return [
        Parameter(
            one.name,
            Parameter.KEYWORD_ONLY,
            default=Parameter.empty if one.default is MISSING else one.default,
            annotation=_with_help(one.type, one),
        )
        for one in flat_fields(kind)
    ]


def _given_options(given: Given) -> list[Parameter]:
    """Return the parameters of a dataclass, each of them None if the user leaves it out."""
    return [
        Parameter(
            one.name,
            Parameter.KEYWORD_ONLY,
            default=None,
            annotation=_with_help(Optional[one.type], one),  # noqa: UP045 - a type at run time
        )
        for one in flat_fields(given.kind)
        if one.name not in given.without
    ]


def _with_help(annotation: Any, one: Field[Any]) -> Any:
    """Return an annotation that has the help text of a setting."""
    if "help" not in one.metadata:
        return annotation
    return Annotated[annotation, typer.Option(help=one.metadata["help"])]

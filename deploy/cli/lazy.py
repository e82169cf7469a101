"""Commands that are imported when they are called: most need torch, which takes seconds."""

import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperGroup
from typer.main import get_group

COMMANDS = f"{__package__}.commands"
"""Package of the commands."""

OPTIONS: dict[str, Any] = {
    "no_args_is_help": True,
    "add_completion": False,
    "pretty_exceptions_enable": False,
    "rich_markup_mode": None,
}
"""Settings of every app and group."""


@dataclass(frozen=True, slots=True)
class Stub:
    """A command that is not imported yet.

    Attributes:
        place: module in `commands` and the name of its function or app: `run:run_command`.
        about: sentence that describes the command.
    """

    place: str
    about: str


def lazy_app(stubs: Mapping[str, Stub], text: str) -> typer.Typer:
    """Return an app whose commands are imported when they are called.

    Args:
        stubs: commands by name.
        text: help text of the app.
    """

    class Group(TyperGroup):
        def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
            name, command, rest = super().resolve_command(ctx, args)
            if name is not None:
                command = _imported(name, stubs[name].place)
            return name, command, rest

    app = typer.Typer(cls=Group, help=text, **OPTIONS)
    for name, stub in stubs.items():
        app.command(name, help=stub.about)(_not_imported)
    return app


def _not_imported() -> None:
    """Stand for a command in the list of commands."""


def _imported(name: str, place: str) -> Any:
    """Import the command at a place and return it under its name."""
    module, _, attribute = place.partition(":")
    with _interruptible():
        found = getattr(import_module(f"{COMMANDS}.{module}"), attribute)
        _silence()
    app = typer.Typer(**OPTIONS)
    app.callback()(_not_imported)
    if isinstance(found, typer.Typer):
        app.add_typer(found, name=name)
    else:
        app.command(name)(found)
    command = get_group(app).commands[name]
    _capitalize_arguments(command)
    return command


def _capitalize_arguments(command: Any) -> None:
    """Write the arguments of a command and its subcommands in capitals, as help texts do."""
    for parameter in command.params:
        if parameter.param_type_name == "argument":
            parameter.metavar = parameter.name.upper()
    for subcommand in getattr(command, "commands", {}).values():
        _capitalize_arguments(subcommand)


@contextmanager
def _interruptible() -> Iterator[None]:
    """Let Ctrl-C end the program at once and silently, even inside a library's import."""
    handler = signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)


def _silence() -> None:
    """Turn off the libraries' progress bars and warnings."""
    from huggingface_hub.utils import logging as hub_logging  # noqa: PLC0415
    from transformers.utils import logging as transformers_logging  # noqa: PLC0415

    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    transformers_logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    hub_logging.set_verbosity_error()  # type: ignore[no-untyped-call]

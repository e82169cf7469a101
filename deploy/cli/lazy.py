"""Commands that are imported when they are called: most bring torch, which takes seconds."""

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
"""The package of the commands."""

OPTIONS: dict[str, Any] = {
    "no_args_is_help": True,
    "add_completion": False,
    "pretty_exceptions_enable": False,
    "rich_markup_mode": None,
}
"""Of all that can be called."""


@dataclass(frozen=True, slots=True)
class Stub:
    """A command that is not imported yet.

    Attributes:
        place: module in `commands`, and name of its function or of its group: `run:run_command`.
        about: what it does, in a sentence.
    """

    place: str
    about: str


def lazy_app(stubs: Mapping[str, Stub], text: str) -> typer.Typer:
    """An app whose commands are imported when they are called.

    Args:
        stubs: by name.
        text: of its help.
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
    """Stands for a command in the list of commands."""


def _imported(name: str, place: str) -> Any:
    """The command at a place, as a part of ours."""
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
    return get_group(app).commands[name]


@contextmanager
def _interruptible() -> Iterator[None]:
    """Ctrl-C ends the block at once and without a word, also in the midst of a library."""
    handler = signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)


def _silence() -> None:
    """Keep the libraries' progress and warnings from between a command's own words."""
    from huggingface_hub.utils import logging as hub_logging  # noqa: PLC0415
    from transformers.utils import logging as transformers_logging  # noqa: PLC0415

    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    transformers_logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    hub_logging.set_verbosity_error()  # type: ignore[no-untyped-call]

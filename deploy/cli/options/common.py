"""Single options that several commands share, and the parser of lists of numbers."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from hogwild_dist.errors import ConfigError
from hogwild_dist.run.load import LoadSettings
from hogwild_dist.settings import description

Model = Annotated[str, typer.Option(help=description(LoadSettings, "model"))]
Device = Annotated[str | None, typer.Option(help=description(LoadSettings, "device"))]
Dtype = Annotated[str | None, typer.Option(help=description(LoadSettings, "dtype"))]
Shards = Annotated[int | None, typer.Option(help="Number of Ray actors that share the workers.")]
Address = Annotated[
    str | None, typer.Option(help="Ray cluster: auto or HOST:PORT; a local one starts if left out.")
]
Seed = Annotated[int, typer.Option(help="Random seed; the same seed gives the same text.")]
Prompts = Annotated[Path | None, typer.Option(help="Folder of your own templates.")]
Person = Annotated[
    Literal["first", "second"] | None,
    typer.Option(help="Person of the rules: `we` (first) or `you` (second)."),
]
PromptAs = Annotated[
    Literal["system", "user"] | None, typer.Option(help="Message that carries the rules.")
]
Examples = Annotated[
    bool | None, typer.Option("--examples/--no-examples", help="Show examples of good teamwork.")
]


def numbers(option: str, text: str, example: str = "64,128") -> tuple[int, ...]:
    """Return the whole numbers of a comma-separated list.

    Args:
        option: name of the option, for the error.
        text: value of the option.
        example: valid value, for the error.

    Raises:
        ConfigError: a part of the list is not a whole number.
    """
    try:
        return tuple(int(part) for part in text.split(",") if part.strip())
    except ValueError as error:
        raise ConfigError(
            f"--{option} is {text!r}; give whole numbers separated by commas: {example}."
        ) from error

"""Options that several commands share."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from hogwild_dist.errors import ConfigError
from hogwild_dist.run.load import LoadSettings
from hogwild_dist.settings import description

Model = Annotated[str, typer.Option(help=description(LoadSettings, "model"))]
Device = Annotated[str | None, typer.Option(help=description(LoadSettings, "device"))]
Dtype = Annotated[str | None, typer.Option(help=description(LoadSettings, "dtype"))]
Shards = Annotated[int | None, typer.Option(help="Spread the workers over this many Ray actors.")]
Address = Annotated[
    str | None, typer.Option(help="A Ray cluster: auto or HOST:PORT. Without it, one is started.")
]
Seed = Annotated[int, typer.Option(help="Same seed, same text.")]
Prompts = Annotated[Path | None, typer.Option(help="A folder of templates of your own.")]
Person = Annotated[
    Literal["first", "second"] | None,
    typer.Option(help="The rules speak as `we` (first) or to `you` (second)."),
]
PromptAs = Annotated[
    Literal["system", "user"] | None, typer.Option(help="The message that carries the rules.")
]
Examples = Annotated[
    bool | None, typer.Option("--examples/--no-examples", help="Show examples of good teamwork.")
]


def numbers(option: str, text: str, example: str = "64,128") -> tuple[int, ...]:
    """Whole numbers between commas.

    Args:
        option: that was given.
        text: what was given.
        example: of what may be given.

    Raises:
        ConfigError: something else is there.
    """
    try:
        return tuple(int(part) for part in text.split(",") if part.strip())
    except ValueError as error:
        raise ConfigError(
            f"--{option} is {text!r}; give whole numbers between commas: {example}."
        ) from error

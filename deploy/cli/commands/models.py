"""`hogwild models`: list, fetch and find the models of the cache."""

from pathlib import Path
from typing import Annotated

import typer
from rich.filesize import decimal
from rich.table import Column, Table

from hogwild_dist.deploy.cli.output import OutputConsole
from hogwild_dist.deploy.cli.progress import fetch_with_progress
from hogwild_dist.errors import ModelError
from hogwild_dist.model.hub import DEMO_MODEL, list_models

app = typer.Typer(help="List, fetch and find models.")


@app.callback(invoke_without_command=True)
def models(context: typer.Context) -> None:
    """List the cached models; the subcommands fetch and find them."""
    if context.invoked_subcommand is None:
        show_models()


def show_models() -> None:
    """Print the cached models as a table."""
    table = Table("name", "size", "state", Column("folder", overflow="fold"))
    for model in list_models():
        state = "complete" if model.complete else "incomplete"
        table.add_row(model.name, decimal(model.size), state, str(model.path))
    if table.rows:
        OutputConsole().print(table)
    else:
        print("No model is cached yet; `hogwild models fetch` fetches the demo model.")


@app.command()
def fetch(
    name: Annotated[str, typer.Argument(help="The demo model or a .gguf file.")] = DEMO_MODEL,
) -> None:
    """Fetch a model into the cache, or convert a .gguf file into it."""
    found = fetch_with_progress(name)
    if isinstance(found, Path):
        print(found)
    else:
        print(f"{found} is a hub id: transformers downloads it when it is first used.")


@app.command()
def path(name: Annotated[str, typer.Argument(help="Name of a cached model.")]) -> None:
    """Print the folder of a cached model."""
    for model in list_models():
        if model.name == name and model.complete:
            print(model.path)
            return
    raise ModelError(
        f"No model {name!r} is cached; `hogwild models` lists the cached ones, and "
        "`hogwild models fetch` adds one."
    )

"""`hogwild prompts`: show and export the prompt templates."""

from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Annotated

import typer

from hogwild_dist.deploy.cli.options import common as options
from hogwild_dist.deploy.cli.options.grouped import grouped
from hogwild_dist.deploy.cli.options.team import PromptOptions, TeamOptions
from hogwild_dist.deploy.cli.output import OutputConsole
from hogwild_dist.deploy.cli.sources import show_source, show_text
from hogwild_dist.errors import ConfigError
from hogwild_dist.model.hub import DEMO_MODEL, resolve_model
from hogwild_dist.model.loader import load_tokenizer
from hogwild_dist.team.prompts import load_prompts
from hogwild_dist.team.prompts.templates import default_folder, files

app = typer.Typer(help="Show and export the prompt templates.", no_args_is_help=True)


@app.command("show")
@grouped
def show(
    problem: Annotated[
        str | None, typer.Argument(help="Problem to fill into the templates.")
    ] = None,
    *,
    team: TeamOptions,
    prompts: PromptOptions,
    model: options.Model = DEMO_MODEL,
) -> None:
    """Print the templates, or the texts that they give for PROBLEM.

    With a PROBLEM, the text of every block is printed as the model reads it.
    """
    console = OutputConsole()
    if problem is None:
        for path, text in files(_folder(prompts.prompts)):
            console.rule(path, align="left")
            language = "toml" if path.endswith(".toml") else "jinja"
            show_source(text, language)
        return
    workers = team.make(team.plan(), prompts)
    blocks, spec = workers.texts_and_spec(problem, load_tokenizer(resolve_model(model)))
    labels = {worker.view[-1]: f"{worker.name}'s text" for worker in spec.workers}
    for worker in spec.workers:
        seen = ", ".join(labels.get(block, block) for block in worker.view)
        show_text(f"{worker.name} sees: {seen}")
    for name, text in blocks.items():
        console.rule(labels.get(name, name), align="left")
        show_text(text)


@app.command("export")
def export(
    folder: Annotated[Path, typer.Argument(help="Folder to create.")],
) -> None:
    """Copy all templates to FOLDER.

    Edit them and use them with --prompts FOLDER, which needs only the files that differ.
    """
    if folder.exists():
        raise ConfigError(
            f"{str(folder)!r} exists; name a new folder, so that nothing is overwritten."
        )
    try:
        for path, text in files(default_folder()):
            place = folder / path
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigError(
            f"{str(folder)!r} cannot be written: {error.strerror}; choose another folder."
        ) from error
    print(f"{folder}: edit templates, delete those you do not change, and use --prompts {folder}")


def _folder(prompts: Path | None) -> Traversable:
    """Return the user's folder, or the package's."""
    if prompts is None:
        return default_folder()
    load_prompts("combined", prompts)  # raises if it is invalid
    return prompts

"""`hogwild check`: can this model share its cache?"""

from typing import Annotated

import typer
from rich.table import Table

from hogwild_dist.deploy.cli.options import common as options
from hogwild_dist.deploy.cli.output import OutputConsole
from hogwild_dist.deploy.cli.progress import fetch_with_progress
from hogwild_dist.model.loader import load_tokenizer, read_model
from hogwild_dist.model.self_check import CheckReport, check_model
from hogwild_dist.team.prompts.chat_frame import chat_frames


def check_command(
    model: Annotated[str, typer.Argument(help="Cached name, hub id, directory or .gguf file.")],
    dtype: options.Dtype = None,
    device: options.Device = None,
) -> None:
    """Check whether MODEL can share its cache.

    Exit code 0 if it can, 2 with the reason if it cannot.

    A text encoded as several blocks must give the same logits as in one piece, both with the
    model's weights and with a small random copy that has a short window and context. `hogwild run`
    makes the same comparisons whenever it loads a model.
    """
    check(model, dtype=dtype, device=device)


def check(model_name: str, *, dtype: str | None = None, device: str | None = None) -> None:
    """Print the comparisons and the verdict.

    Raises:
        ModelError: the model cannot be found or loaded, cannot share blocks, or has a chat template
            that cannot be used.
    """
    path = fetch_with_progress(model_name)
    report = check_model(read_model(path, name=model_name, device=device, dtype=dtype))
    OutputConsole().print(_table(report))
    if report.refusal is not None:
        raise report.refusal
    tokenizer = load_tokenizer(path)
    if tokenizer.chat_template is None:
        print(f"{model_name} has no chat template, so prompts are plain text.")
    else:
        chat_frames(tokenizer)
    print(f"{model_name} can share blocks.")


def _table(report: CheckReport) -> Table:
    table = Table("compared", "difference", "tolerance", "verdict")
    for done in report.comparisons:
        verdict = "ok" if done.passed else "DIFFERS"
        table.add_row(done.what, f"{done.difference:.1e}", f"{done.tolerance:.0e}", verdict)
    return table

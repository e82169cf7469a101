"""Printing files and texts: as they are in a pipe, coloured or cleaned in a terminal."""

import sys

from rich.syntax import Syntax

from hogwild_dist.deploy.cli.output import OutputConsole
from hogwild_dist.deploy.view.text import harmless


def show_source(text: str, language: str) -> None:
    """Print a file so that its text can be copied or saved.

    Args:
        text: content of the file.
        language: language of the highlighting.
    """
    console = OutputConsole()
    if console.is_terminal:
        console.print(Syntax(text.rstrip("\n"), language, word_wrap=True))
    else:
        sys.stdout.write(text.rstrip("\n") + "\n")


def show_text(text: str) -> None:
    """Print a text; on a terminal, without control sequences."""
    sys.stdout.write((harmless(text) if sys.stdout.isatty() else text) + "\n")

"""Showing a file or a text of ours: as it is, and a file coloured in a terminal."""

import sys

from rich.console import Console
from rich.syntax import Syntax

from hogwild_dist.deploy.view.text import harmless


def show_source(text: str, language: str) -> None:
    """Print a text that people may copy or save.

    Args:
        text: of the file.
        language: for the colours.
    """
    console = Console()
    if console.is_terminal:
        console.print(Syntax(text.rstrip("\n"), language, word_wrap=True))
    else:
        sys.stdout.write(text.rstrip("\n") + "\n")


def show_text(text: str) -> None:
    """Print a text as it is; on a terminal, without control sequences."""
    sys.stdout.write((harmless(text) if sys.stdout.isatty() else text) + "\n")

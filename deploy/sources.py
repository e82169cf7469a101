"""Showing a file of ours: coloured in a terminal, and elsewhere exactly as it is."""

import sys

from rich.console import Console
from rich.syntax import Syntax


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

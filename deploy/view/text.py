"""Text of models, problems and files, made safe to draw on a terminal."""

from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.text import Text

STRIDE = 4096
"""Number of characters by which the cut at the start of a very long line moves, so that its line
breaks stay in place while text is added."""

INJECTED = "dim"
"""Style of text that a worker did not choose."""

_BIDI = (*range(0x202A, 0x202F), *range(0x2066, 0x206A))
_HARMLESS = str.maketrans(
    dict.fromkeys((*range(0x80, 0xA0), *_BIDI), "\N{REPLACEMENT CHARACTER}")
    | {code: chr(0x2400 + code) for code in range(0x20)}
    | {0x7F: "\N{SYMBOL FOR DELETE}", 0x2028: "\n", 0x2029: "\n"}
    | {"\n": "\n", "\r": "", "\t": "    "}
)


def harmless(text: str) -> str:
    """Return the text with visible signs in place of control characters.

    Line ends are kept; tabs become spaces.
    """
    return text.translate(_HARMLESS).encode("utf-8", "replace").decode("utf-8")


@dataclass(frozen=True, slots=True)
class Piece:
    """Printable text of one origin: chosen by the worker or not."""

    text: str
    chosen: bool


def joined(pieces: Sequence[Piece], style: str) -> Text:
    """Return pieces as one text, without blank lines around it.

    Args:
        pieces: text of a worker.
        style: style of the chosen pieces.
    """
    text = Text()
    for piece in pieces:
        added = piece.text if text else piece.text.lstrip("\n")
        text.append(added, style if piece.chosen else INJECTED)
    text.rstrip()
    return text


def first_lines(console: Console, text: Text, width: int, count: int) -> Text:
    """Return at most `count` lines of a text; an ellipsis marks that more follow."""
    lines = text[: width * (count + 1)].wrap(console, width, overflow="fold")
    if len(lines) > count:
        last = lines[count - 1]
        last.truncate(width - 1)
        last.append("…")
    return Text("\n").join(lines[:count])


def last_lines(console: Console, text: Text, width: int, count: int) -> list[Text]:
    """Return at most `count` lines from the end of a text."""
    if count < 1 or not text:
        return []
    unseen = max(0, len(text) - width * (count + 1))
    start = max(text.plain.rfind("\n", 0, unseen) + 1, unseen // STRIDE * STRIDE)
    return list(text[start:].wrap(console, width, overflow="fold"))[-count:]


def last_cells(text: Text, width: int) -> Text:
    """Return the end of a text as one line, at most `width` cells wide."""
    line = Text(" ").join(text[-width:].split())
    while line.cell_len > width:
        line = line[1:]
    return line

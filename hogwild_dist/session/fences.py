"""Fenced code blocks of a Markdown text that is still being written."""

import re
from dataclasses import dataclass, field

_TAB = 4
_QUOTED = re.compile(r"[ ]{0,3}>[ ]?")
_ITEMS = re.compile(r"(?:[ ]*(?:[-*+]|\d{1,9}[.)])(?=[ ]))*[ ]*")
"""The marks of list items before a fence."""
_LABEL = re.compile(r"\*\*[^*]+\*\*[ ]*")
"""A bold text before a fence, such as the prefix of a paragraph."""
_FENCE = re.compile(r"(?P<run>`{3,}(?=[^`]*$)|~{3,})(?P<info>.*)")
_MARKDOWN = ("markdown", "md")


@dataclass(kw_only=True, slots=True)
class CodeBlock:
    """A fenced code block.

    Attributes:
        run: signs of the opening fence.
        info: what follows them, such as the language.
        column: column of the opening fence.
        depth: number of quotations around it.
        lines: lines of the content, with their indentation.
        closed_at: offset after the closing fence, or None while the block is open.
    """

    run: str
    info: str
    column: int
    depth: int
    lines: list[str] = field(default_factory=list)
    closed_at: int | None = None

    @property
    def content(self) -> str:
        """The text between the fences, without the indentation that both share."""
        first = next((line for line in self.lines if line.strip()), None)
        shared = self.column if first is None else min(self.column, _indent(first))
        text = "\n".join(_dedented(line, shared) for line in self.lines)
        return f"{text}\n" if self.lines and self.closed_at else text


def code_blocks(text: str) -> list[CodeBlock]:
    """Return the fenced code blocks of a text, in their order.

    As in CommonMark, a block is closed by at least as many of its own signs, alone on a line, and
    other fences may stand inside. Fences in list items and quotations count. Unlike there, a fence
    may be indented by any amount, because the list item around it may be in an earlier paragraph.
    """
    blocks: list[CodeBlock] = []
    offset = 0
    for full in text.split("\n"):
        block = blocks[-1] if blocks and blocks[-1].closed_at is None else None
        depth, line = _unquoted(full, block.depth if block else None)
        if block is None:
            opened = _opened(_indented(line), depth)
            blocks += [opened] if opened else []
        elif length := _closing(line, block):
            block.closed_at = offset + len(full) - len(line) + length
        else:
            block.lines.append(line)
        offset += len(full) + 1
    return blocks


def program(block: CodeBlock) -> str:
    """Return the content of a block, or of the last block in it if it is Markdown itself."""
    first = next((line for line in block.lines if line.strip()), "")
    if block.info.lower().startswith(_MARKDOWN) or _FENCE.match(first):
        inner = [one for one in code_blocks(block.content) if one.content.strip()]
        if inner:
            return program(inner[-1])
    return block.content


def _unquoted(line: str, most: int | None) -> tuple[int, str]:
    """Return the number of marks of quotations before a line, at most `most`, and the rest."""
    depth = 0
    while depth != most and (mark := _QUOTED.match(line)):
        depth, line = depth + 1, line[mark.end() :]
    return depth, line


def _opened(line: str, depth: int) -> CodeBlock | None:
    """Return the block that a line opens."""
    marks = _ITEMS.match(line)
    column = marks.end() if marks else 0
    label = _LABEL.match(line, column)
    found = _FENCE.match(line, label.end() if label else column)
    if found is None:
        return None
    return CodeBlock(run=found["run"], info=found["info"].strip(), column=column, depth=depth)


def _closing(line: str, block: CodeBlock) -> int:
    """Return the length of a line up to the end of its closing fence, or 0 if it has none."""
    signs = line.strip()
    alone = len(signs) >= len(block.run) and set(signs) == set(block.run)
    if not alone or _indent(line) > block.column + 3:
        return 0
    return len(line) - len(line.lstrip()) + len(block.run)


def _indented(line: str) -> str:
    """Return a line with spaces in place of the tabs at its start."""
    rest = line.lstrip(" \t")
    return line[: len(line) - len(rest)].expandtabs(_TAB) + rest


def _indent(line: str) -> int:
    """Return the column of the first sign of a line that is not blank."""
    indented = _indented(line)
    return len(indented) - len(indented.lstrip(" "))


def _dedented(line: str, columns: int) -> str:
    """Return a line with at most that many columns of blanks less; a tab may be split."""
    column = 0
    for index, sign in enumerate(line):
        if column >= columns or sign not in " \t":
            return " " * (column - columns) + line[index:]
        column += 1 if sign == " " else _TAB - column % _TAB
    return " " * (column - columns)

"""Fenced code blocks of a Markdown text that is still being written."""

import re
from dataclasses import dataclass, field, replace

_TAB = 4
_QUOTED = re.compile(r"[ ]{0,3}>[ ]?")
_ITEMS = re.compile(r"(?:[ ]*(?:[-*+]|\d{1,9}[.)])(?=[ ]))*[ ]*")
"""The marks of list items before a fence."""
_LABEL = re.compile(r"\*\*[^*]+\*\*[ ]*")
"""A bold text before a fence, such as the prefix of a paragraph."""
_FENCE = re.compile(r"(?P<run>`{3,}(?=[^`]*$)|~{3,})(?P<info>.*)")
_MARKDOWN = ("markdown", "md")
_MAX_CLOSING = 1000
"""Most characters of a line that closes a block."""
_MAX_NESTED = 8
"""Most blocks of Markdown inside each other that are looked into for a program."""


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


class FenceReader:
    """Reads the code blocks of a text that grows; each whole line is read once.

    As in CommonMark, a block is closed by at least as many of its own signs, alone on a line, and
    other fences may stand inside. Fences in list items and quotations count. Unlike there, a fence
    may be indented by any amount, because the list item around it may be in an earlier paragraph,
    and a line of more than 1000 characters closes nothing.
    """

    def __init__(self) -> None:
        self.blocks: list[CodeBlock] = []
        """Blocks that the whole lines open, in their order."""
        self._start = 0
        """Offset of the first line that has not been read."""

    @property
    def open_block(self) -> CodeBlock | None:
        """The block that no line has closed yet, or None."""
        block = self.blocks[-1] if self.blocks else None
        return block if block and block.closed_at is None else None

    def read(self, text: str, end: int | None = None) -> None:
        """Read the lines of a text that end before `end`; what was read before has not changed."""
        while (stop := text.find("\n", self._start, end)) >= 0:
            self._read_line(text[self._start : stop])
            self._start = stop + 1

    def closed_by_rest(self, text: str) -> CodeBlock | None:
        """Return the block as closed by the unfinished last line of a text, if that closes it."""
        block = self.open_block
        if block is None or len(text) - self._start > _MAX_CLOSING:
            return None
        closed_at = self._closed_at(text[self._start :], block)
        return None if closed_at is None else replace(block, closed_at=closed_at)

    def _read_line(self, full: str) -> None:
        block = self.open_block
        if block is None:
            opened = _opened(full)
            self.blocks += [opened] if opened else []
        elif (closed_at := self._closed_at(full, block)) is not None:
            block.closed_at = closed_at
        else:
            block.lines.append(_unquoted(full, block.depth)[1])

    def _closed_at(self, full: str, block: CodeBlock) -> int | None:
        """Return the offset after the closing fence of a line, or None if it closes no block."""
        if len(full) > _MAX_CLOSING:
            return None
        _, line = _unquoted(full, block.depth)
        length = _closing(line, block)
        return self._start + len(full) - len(line) + length if length else None


def code_blocks(text: str) -> list[CodeBlock]:
    """Return the fenced code blocks of a whole text, in their order; see `FenceReader`."""
    reader = FenceReader()
    reader.read(f"{text}\n")
    return reader.blocks


def program(block: CodeBlock) -> str:
    """Return the content of a block, or of the last block in it if it is Markdown itself."""
    for _ in range(_MAX_NESTED):
        first = next((line for line in block.lines if line.strip()), "")
        if not block.info.lower().startswith(_MARKDOWN) and not _FENCE.match(first):
            break
        inner = [one for one in code_blocks(block.content) if one.content.strip()]
        if not inner:
            break
        block = inner[-1]
    return block.content


def _unquoted(line: str, most: int | None) -> tuple[int, str]:
    """Return the number of marks of quotations before a line, at most `most`, and the rest."""
    depth, start = 0, 0
    while depth != most and (mark := _QUOTED.match(line, start)):
        depth, start = depth + 1, mark.end()
    return depth, line[start:]


def _opened(full: str) -> CodeBlock | None:
    """Return the block that a line opens."""
    depth, line = _unquoted(full, None)
    line = _indented(line)
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

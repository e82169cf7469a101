"""Text that knows which parts of it people typed, and which are markup."""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby
from typing import Self


@dataclass(frozen=True, slots=True)
class PromptText:
    """A text in pieces; only in markup does the text of a control token mean that token.

    Attributes:
        pieces: pairs of a text and whether it was typed.
    """

    pieces: tuple[tuple[str, bool], ...] = ()

    @classmethod
    def markup(cls, text: str) -> Self:
        """Return a text of a template, in which control tokens have their effect."""
        return cls(((text, False),))

    @classmethod
    def typed(cls, text: str) -> Self:
        """Return a text that somebody typed, in which control tokens are ordinary text."""
        return cls(((text, True),))

    @classmethod
    def join(cls, texts: Iterable[Self], separator: str = "") -> Self:
        """Return texts one after the other, with a separator of markup between them."""
        between = ((separator, False),) if separator else ()
        pieces: list[tuple[str, bool]] = []
        for index, text in enumerate(texts):
            pieces += (*(between if index else ()), *text.pieces)
        return cls(tuple(pieces))

    def __str__(self) -> str:
        return "".join(text for text, _ in self.pieces)

    def __bool__(self) -> bool:
        return any(text for text, _ in self.pieces)

    def __add__(self, other: Self) -> Self:
        return type(self)(self.pieces + other.pieces)

    def lstrip(self) -> Self:
        """Return the text without whitespace at its start."""
        return self._from(len(str(self)) - len(str(self).lstrip()))

    def rstrip(self) -> Self:
        """Return the text without whitespace at its end."""
        return self._until(len(str(self).rstrip()))

    def cut(self, position: int) -> tuple[Self, Self]:
        """Return the text before a character and the text from it on."""
        return self._until(position), self._from(position)

    def typed_at(self, position: int) -> bool:
        """Return whether a character was typed."""
        for text, typed in self.pieces:
            if position < len(text):
                return typed
            position -= len(text)
        return False

    def spans(self) -> tuple[tuple[int, int], ...]:
        """Return start and stop of each run of typed characters."""
        found, start = [], 0
        for typed, run in groupby(self.pieces, key=lambda piece: piece[1]):
            stop = start + sum(len(text) for text, _ in run)
            if typed and stop > start:
                found.append((start, stop))
            start = stop
        return tuple(found)

    def _until(self, position: int) -> Self:
        pieces = []
        for text, typed in self.pieces:
            pieces.append((text[:position], typed))
            position = max(0, position - len(text))
        return type(self)(tuple(piece for piece in pieces if piece[0]))

    def _from(self, position: int) -> Self:
        pieces = []
        for text, typed in self.pieces:
            pieces.append((text[position:], typed))
            position = max(0, position - len(text))
        return type(self)(tuple(piece for piece in pieces if piece[0]))

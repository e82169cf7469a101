"""Text of tokens that arrive one by one."""

from collections.abc import Container, Iterable, Sequence
from typing import Any

from tokenizers.decoders import DecodeStream


class TextDecoder:
    """Turns the tokens of one text into characters; special tokens add none.

    Args:
        backend: backend of the model's fast tokenizer.
        special: tokens that are no text.
        context: tokens of a text that comes before. Without them, some tokenizers drop the space
            before the first word.
    """

    def __init__(
        self, backend: Any, special: Container[int] = (), context: Sequence[int] = ()
    ) -> None:
        self._backend = backend
        self._special = special
        self._context = list(context)
        self._ids: list[int] = []
        self._text = ""
        self._stream = self._new_stream()

    def __getstate__(self) -> dict[str, Any]:
        """Return the state without the stream, which the library cannot copy."""
        return {name: value for name, value in vars(self).items() if name != "_stream"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        ids, self._ids = self._ids, []
        self._stream = self._new_stream()
        for token in ids:
            self._step(token)

    def add(self, token_ids: Iterable[int]) -> str:
        """Return the text that new tokens add; a character appears with its last token."""
        new = "".join(self._step(token) for token in token_ids if token not in self._special)
        self._text += new
        return new

    def rest(self) -> str:
        """Return what is left: the bytes of an incomplete character, decoded as they are."""
        before = self._backend.decode(self._context, skip_special_tokens=False)
        whole = self._backend.decode([*self._context, *self._ids], skip_special_tokens=False)
        shown = before + self._text
        return whole[len(shown) :] if whole.startswith(shown) else ""

    def _step(self, token: int) -> str:
        self._ids.append(token)
        try:
            return self._stream.step(self._backend, token) or ""
        except Exception as error:
            # The library has no error class for bytes that do not form a character.
            if "Invalid prefix" not in str(error):
                raise
            self._stream = self._new_stream()
            return self._stream.step(self._backend, token) or ""

    def _new_stream(self) -> DecodeStream:
        return DecodeStream(ids=self._context, skip_special_tokens=False)

"""The view for programs: one JSON event per line."""

import json
from types import TracebackType
from typing import Self

from rich.console import Console

from hogwild_dist.session.events import Event

_ESCAPED = str.maketrans(
    {
        code: f"\\u{code:04x}"
        for code in (*range(0x7F, 0xA0), 0x2028, 0x2029, *range(0xD800, 0xE000))
    }
)
"""Characters that JSON allows but that control terminals, end a line for some readers, or do not
exist in UTF-8."""


class JsonView:
    """View that prints events as JSON lines.

    Args:
        console: console to write to.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._ascii = not console.encoding.startswith("utf")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Do nothing: every line is printed already."""

    def handle(self, event: Event) -> None:
        """Print one event."""
        line = json.dumps(event.to_json(), ensure_ascii=self._ascii).translate(_ESCAPED)
        self._console.out(line, highlight=False)

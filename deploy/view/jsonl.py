"""The view for programs: one event a line, as JSON."""

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
"""What JSON need not escape, and what terminals act on, some readers take for a line's end, or
UTF-8 cannot hold."""


class JsonView:
    """Prints events as JSON lines.

    Args:
        console: where to.
    """

    def __init__(self, console: Console) -> None:
        self._console = console

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Every line is printed already."""

    def handle(self, event: Event) -> None:
        """Print one event."""
        line = json.dumps(event.to_json(), ensure_ascii=False).translate(_ESCAPED)
        self._console.out(line, highlight=False)

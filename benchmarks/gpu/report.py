"""The results as Markdown."""

from collections.abc import Mapping, Sequence
from typing import Any


def markdown(parts: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    """Return a page with a table for each part; what has not run, or failed, says so."""
    return "\n".join(line for name, rows in parts.items() for line in _part(name, rows)) + "\n"


def _part(name: str, rows: Sequence[Mapping[str, Any]]) -> list[str]:
    found = [row for row in rows if "ended" not in row and "error" not in row]
    lines = [f"## {name}", ""]
    if found:
        heads = list(found[0])
        lines += [f"| {' | '.join(heads)} |", "|" + "---|" * len(heads)]
        lines += [f"| {' | '.join(_cell(row.get(head)) for head in heads)} |" for row in found]
        lines.append("")
    lines += [f"Failed: {row['error']}\n" for row in rows if "error" in row]
    if not rows:
        lines.append("Not run.\n")
    elif not any("ended" in row or "error" in row for row in rows):
        lines.append("Not run to its end.\n")
    return lines


def _cell(value: object) -> str:
    if value is None:
        return "–"
    return f"{value:.4g}" if isinstance(value, float) else str(value)

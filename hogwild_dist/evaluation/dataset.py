"""`read_items`: questions from a JSONL file."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hogwild_dist.errors import ConfigError, check_positive
from hogwild_dist.evaluation.grading import GraderError
from hogwild_dist.evaluation.programs import preamble, statements
from hogwild_dist.evaluation.unit_tests import with_call
from hogwild_dist.team.tokenizer_utils import check_text

QUESTIONS = ("question", "problem", "prompt")
ANSWERS = ("answer", "target", "tests", "test")
"""Field names that are tried in order if none is given."""
SETUPS = ("test_imports", "test_setup_code")
"""Fields of statements that the tests of MBPP rely on."""


@dataclass(frozen=True, slots=True)
class Item:
    """One question with its known answer.

    Attributes:
        line: line number in the file, from 1.
        question: text of the question.
        answer: known answer or unit tests, for the grader.
        preamble: statements to run before a program: what its question and its tests import.
    """

    line: int
    question: str
    answer: str
    preamble: tuple[str, ...] = ()


def read_items(
    path: str | Path,
    *,
    question: str | None = None,
    answer: str | None = None,
    limit: int | None = None,
    check: Callable[[str], None] | None = None,
) -> tuple[list[Item], list[str]]:
    """Read a dataset.

    Args:
        path: path of the JSONL file.
        question: field of the question; None tries the usual names.
        answer: field of the answer; None tries the usual names.
        limit: largest number of items; None reads all.
        check: raises a `GraderError` if a known answer cannot be graded against.

    Returns:
        The items, and one sentence for each skipped line.

    Raises:
        ConfigError: the limit is below 1, or the file cannot be read or has no item.
    """
    check_positive("limit", limit)
    try:
        # JSON strings may contain other line separators.
        lines = Path(path).read_text(encoding="utf-8-sig").split("\n")
    except OSError as error:
        raise ConfigError(f"Dataset {str(path)!r} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"Dataset {str(path)!r} is not UTF-8 ({error}); convert it first."
        ) from error
    items: list[Item] = []
    skipped: list[str] = []
    for number, line in enumerate(lines, start=1):
        if len(items) == limit:
            break
        if line.strip():
            try:
                items.append(_item(number, line, question, answer, check))
            except ConfigError as error:
                skipped.append(str(error))
    if not items:
        raise ConfigError(
            f"Dataset {str(path)!r} holds no question: {skipped[0] if skipped else 'it is empty.'}"
        )
    return items, skipped


def _item(
    number: int,
    line: str,
    question: str | None,
    answer: str | None,
    check: Callable[[str], None] | None,
) -> Item:
    try:
        fields = json.loads(line)
    except (ValueError, RecursionError) as error:  # RecursionError: nested too deeply
        raise ConfigError(f"Line {number} is not JSON: {error}.") from error
    if not isinstance(fields, dict):
        raise ConfigError(
            f"Line {number} is of type {type(fields).__name__}; it must be a JSON object."
        )
    question_text = _field(number, fields, (question,) if question else QUESTIONS, "question")
    answer_text = _field(number, fields, (answer,) if answer else ANSWERS, "answer")
    entry_point = fields.get("entry_point")
    try:
        item = Item(
            number,
            question_text,
            with_call(answer_text, entry_point),
            preamble(question_text, entry_point)
            + tuple(one for name in SETUPS for one in statements(fields.get(name))),
        )
    except ConfigError as error:
        raise ConfigError(f"Line {number} cannot be tested: {error}") from error
    if check is not None:
        try:
            check(item.answer)
        except GraderError as error:
            raise ConfigError(f"Line {number} cannot be graded: {error}.") from error
    return item


def _field(number: int, fields: dict[str, Any], names: tuple[str, ...], what: str) -> str:
    for name in names:
        value = _joined(fields.get(name))
        if isinstance(value, str | int | float) and str(value).strip():
            check_text(f"The {what} of line {number}", str(value))
            return str(value)
    raise ConfigError(
        f"Line {number} has no {what} under {' or '.join(map(repr, names))}; it has "
        f"{', '.join(map(repr, fields)) or 'nothing'}. Name the field with --{what}-field."
    )


def _joined(value: object) -> object:
    """Return a list of texts (the asserts of MBPP) as one text; other values are unchanged."""
    if isinstance(value, list) and all(isinstance(line, str) for line in value):
        return "\n".join(value)
    return value

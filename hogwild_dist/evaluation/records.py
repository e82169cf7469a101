"""Results on disk: one JSON line for each run, so that an interrupted evaluation goes on."""

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from hogwild_dist.errors import ConfigError


@dataclass(frozen=True, kw_only=True, slots=True)
class Record:
    """One team on one question with one seed.

    Attributes:
        team: its name.
        seed: of the run.
        line: of the question in the dataset.
        known: what is right.
        answers: the team's answer at each budget, and in the end.
        right: whether each is right; None where the grader failed.
        tokens: chosen by all workers.
        forwards: steps of the session, finishers' included.
        seconds: of stepping.
        redundancy: share of 4-grams of words that another worker had written before.
        texts: worker -> all that it wrote.
        error: what went wrong with the run or the grader, if anything.
    """

    team: str
    seed: int
    line: int
    known: str
    answers: Sequence[str | None] = ()
    right: Sequence[bool | None] = ()
    tokens: int = 0
    forwards: int = 0
    seconds: float = 0.0
    redundancy: float = 0.0
    texts: dict[str, str] = field(default_factory=dict)
    error: str | None = None

    @property
    def key(self) -> tuple[str, int, int]:
        """What was run."""
        return self.team, self.seed, self.line


class Records:
    """The results of an evaluation.

    Args:
        path: of the file; what is in it already is kept.
        settings: of the evaluation; a file that began with others is refused.

    Raises:
        ConfigError: the file cannot be used.
    """

    def __init__(self, path: Path, settings: dict[str, object]) -> None:
        self.path = path
        self.all: list[Record] = []
        try:
            text = path.read_text(encoding="utf-8") if path.exists() else ""
            whole = text[: text.rfind("\n") + 1]
            if whole:
                self._read(whole, settings)
                os.truncate(path, len(whole.encode()))
            else:
                path.write_text(json.dumps(settings) + "\n", encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"Results {str(path)!r} cannot be used: {error}.") from error

    def add(self, record: Record) -> None:
        """Keep one more."""
        self.all.append(record)
        try:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(asdict(record), ensure_ascii=False) + "\n")
        except OSError as error:
            raise ConfigError(
                f"Results {str(self.path)!r} cannot be written further: {error.strerror}; what is "
                "there is kept, and the same command goes on from it."
            ) from error

    def _read(self, text: str, settings: dict[str, object]) -> None:
        first, *lines = text.splitlines()
        try:
            began = json.loads(first)
            self.all = [Record(**json.loads(line)) for line in lines]
        except (ValueError, TypeError) as error:
            raise ConfigError(
                f"{str(self.path)!r} does not hold results of an evaluation ({error}); name "
                "another file with --out."
            ) from error
        changed = [name for name in settings if began.get(name) != settings[name]]
        if changed:
            raise ConfigError(
                f"{str(self.path)!r} began with {changed[0]} {began.get(changed[0])!r} and now it "
                f"is {settings[changed[0]]!r}; name another file with --out."
            )

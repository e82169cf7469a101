"""Results on disk: one JSON line for each run, so that an interrupted evaluation goes on."""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any, Self

from hogwild_dist.errors import ConfigError
from hogwild_dist.evaluation.passages import Passage


@dataclass(frozen=True, kw_only=True, slots=True)
class Record:
    """One team on one question with one seed.

    Attributes:
        team: its name.
        seed: of the run.
        line: of the question in the dataset.
        question: its text.
        known: what is right.
        answers: the team's answer at each budget, and in the end.
        right: whether each is right; None where the grader failed.
        tokens: chosen by all workers; finishers' are not counted.
        forwards: steps of the team; those in which finishers wrote are not counted.
        seconds: of stepping.
        redundancy: worker -> share of its word 4-grams that another wrote in an earlier step.
        transcript: all that was written.
        error: what went wrong with the run or the grader, if anything.
    """

    team: str
    seed: int
    line: int
    question: str
    known: str
    answers: tuple[str | None, ...] = ()
    right: tuple[bool | None, ...] = ()
    tokens: int = 0
    forwards: int = 0
    seconds: float = 0.0
    redundancy: Mapping[str, float] = field(default_factory=dict)
    transcript: tuple[Passage, ...] = ()
    error: str | None = None

    @property
    def key(self) -> tuple[str, int, int]:
        """What was run."""
        return self.team, self.seed, self.line

    @property
    def ran(self) -> bool:
        """Whether the run came to its end; a later evaluation runs it again where it did not."""
        return bool(self.right)

    @property
    def mean_redundancy(self) -> float:
        """Of the workers."""
        return fmean(self.redundancy.values()) if self.redundancy else 0.0

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Self:
        """From what `asdict` gave.

        Raises:
            TypeError: it is something else.
        """
        data["answers"] = tuple(data.get("answers", ()))
        data["right"] = tuple(data.get("right", ()))
        data["transcript"] = tuple(Passage(**one) for one in data.get("transcript", ()))
        return cls(**data)


class Records:
    """The results of an evaluation; of runs that failed and were run again, the last.

    Args:
        path: of the file; what is in it already is kept.
        settings: of the evaluation; a file that began with others is refused. None takes those
            of the file, which must be there.

    Raises:
        ConfigError: the file cannot be used.
    """

    def __init__(self, path: Path, settings: Mapping[str, object] | None = None) -> None:
        self.path = path
        self._by_key: dict[tuple[str, int, int], Record] = {}
        try:
            text = path.read_text(encoding="utf-8") if settings is None or path.exists() else ""
            whole = text[: text.rfind("\n") + 1]
            if whole:
                self.settings = self._read(whole, settings)
            elif settings is not None:
                self.settings = settings
                path.write_text(json.dumps(settings) + "\n", encoding="utf-8")
            else:
                raise ConfigError(
                    f"Results {str(path)!r} are empty; make some with `hogwild eval`."
                )
            if whole and settings is not None:
                os.truncate(path, len(whole.encode()))
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"Results {str(path)!r} cannot be used: {error}.") from error

    @property
    def all(self) -> list[Record]:
        """One for each run, in the order in which they began to be run."""
        return list(self._by_key.values())

    @property
    def teams(self) -> list[str]:
        """Names in the order in which they were first run."""
        return list(dict.fromkeys(record.team for record in self.all))

    @property
    def budgets(self) -> tuple[int, ...]:
        """Of the evaluation."""
        budgets = self.settings.get("budgets")
        return tuple(budgets) if isinstance(budgets, list | tuple) else ()

    def add(self, record: Record) -> None:
        """Keep one more."""
        self._by_key[record.key] = record
        try:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(asdict(record), ensure_ascii=False) + "\n")
        except OSError as error:
            raise ConfigError(
                f"Results {str(self.path)!r} cannot be written further: {error.strerror}; what is "
                "there is kept, and the same command goes on from it."
            ) from error

    def _read(self, text: str, wanted: Mapping[str, object] | None) -> Mapping[str, object]:
        settings = wanted or {}
        first, *lines = text.rstrip("\n").split("\n")
        try:
            began: dict[str, object] = json.loads(first)
            for line in lines:
                record = Record.from_json(json.loads(line))
                self._by_key[record.key] = record
            changed = [name for name in settings if began.get(name) != settings[name]]
        except (ValueError, TypeError, AttributeError) as error:
            raise ConfigError(
                f"{str(self.path)!r} does not hold results of an evaluation ({error}); name "
                "another file."
            ) from error
        if changed:
            raise ConfigError(
                f"{str(self.path)!r} began with {changed[0]} {began.get(changed[0])!r} and now it "
                f"is {settings[changed[0]]!r}; name another file with --out."
            )
        return began

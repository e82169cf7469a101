"""Results on disk: one JSON line for each run, so that an interrupted evaluation goes on."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any

from pydantic import TypeAdapter, ValidationError

from hogwild_dist.errors import ConfigError
from hogwild_dist.evaluation.passages import Passage

FORMAT = 1
"""Of the file: its first line says it beside the settings."""


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
        redundancy: worker -> share of its word 4-grams that another wrote in an earlier step,
            in team order.
        transcript: all that was written.
        made_of: fingerprint of the team, its prompts and its limits.
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
    made_of: str = ""
    error: str | None = None

    @property
    def key(self) -> tuple[str, int, int]:
        """What was run."""
        return self.team, self.seed, self.line

    @property
    def ran(self) -> bool:
        """Whether the run came to its end."""
        return bool(self.right)

    @property
    def done(self) -> bool:
        """Whether all of it was graded; a later evaluation runs it again where it was not."""
        return self.ran and None not in self.right

    @property
    def mean_redundancy(self) -> float:
        """Of the workers."""
        return fmean(self.redundancy.values()) if self.redundancy else 0.0


_RECORD = TypeAdapter(Record)
_SETTINGS = TypeAdapter(dict[str, Any])


class Records:
    """The results of an evaluation; of runs that were run again, the last.

    The file is begun with its first record. Half a line at its end, from an interruption, is cut
    off when the next record is added.

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
            data = path.read_bytes() if settings is None or path.exists() else b""
        except OSError as error:
            raise ConfigError(
                f"Results {str(path)!r} cannot be used: {error.strerror}; name another file."
            ) from error
        self._size = len(data)
        whole = data[: data.rfind(b"\n") + 1]
        self._whole_size = len(whole)
        # as they will be read again
        self.settings: Mapping[str, Any] = json.loads(_line(settings or {}))
        if whole:
            wanted, self.settings = self.settings, self._read(whole)
            self._check_settings(wanted)
        elif not _line(self._header).startswith(data):
            raise self._not_results("has no whole line")
        elif settings is None:
            raise ConfigError(f"Results {str(path)!r} are empty; make some with `hogwild eval`.")

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
        return tuple(self.settings["budgets"])

    def check_writable(self) -> None:
        """Refuse a place where nothing can be written, before anything is run.

        Raises:
            ConfigError: it is one.
        """
        existed = self.path.exists()
        try:
            with self.path.open("ab"):
                pass
            if not existed:
                self.path.unlink()
        except OSError as error:
            raise ConfigError(
                f"Results {str(self.path)!r} cannot be written: {error.strerror}; name another "
                "file with --out."
            ) from error

    def check_team(self, name: str, made_of: str) -> None:
        """Refuse a team that is not the one that was run under this name.

        Raises:
            ConfigError: it is not.
        """
        if any(record.team == name and record.made_of != made_of for record in self.all):
            raise ConfigError(
                f"{str(self.path)!r} holds runs of another team {name!r}: its file, its workers or "
                "its prompts have changed; name another file with --out."
            )

    def add(self, record: Record) -> None:
        """Keep one more.

        Raises:
            ConfigError: it cannot be written, or somebody else has written to the file.
        """
        self._by_key[record.key] = record
        new = b"" if self._whole_size else _line(self._header)
        new += _line(asdict(record))
        try:
            with self.path.open("ab") as file:
                if file.tell() != self._size:
                    raise ConfigError(
                        f"Results {str(self.path)!r} were changed by somebody else meanwhile; let "
                        "one evaluation at a time write to them."
                    )
                file.truncate(self._whole_size)
                file.write(new)
        except OSError as error:
            raise ConfigError(
                f"Results {str(self.path)!r} cannot be written further: {error.strerror}; what is "
                "there is kept, and the same command goes on from it."
            ) from error
        self._whole_size += len(new)
        self._size = self._whole_size

    @property
    def _header(self) -> Mapping[str, object]:
        return {"evaluation": FORMAT, **self.settings}

    def _read(self, whole: bytes) -> dict[str, Any]:
        """Take in the records; returns the settings."""
        first, *lines = whole.removesuffix(b"\n").split(b"\n")
        try:
            settings = _SETTINGS.validate_json(first)
        except ValidationError:
            settings = {}
        if settings.pop("evaluation", None) != FORMAT or not _are_budgets(settings.get("budgets")):
            raise self._not_results("begins with something else")
        for number, line in enumerate(lines, start=2):
            try:
                record = _RECORD.validate_json(line, strict=True)
            except ValidationError as error:
                raise self._not_results(f"line {number} is no record of a run") from error
            num_answers = len(settings["budgets"]) + 1 if record.right else 0
            if not len(record.right) == len(record.answers) == num_answers:
                raise self._not_results(f"line {number} has answers for other budgets")
            self._by_key[record.key] = record
        return settings

    def _check_settings(self, wanted: Mapping[str, object]) -> None:
        for name, value in wanted.items():
            if self.settings.get(name) != value:
                raise ConfigError(
                    f"{str(self.path)!r} began with {name} {self.settings.get(name)!r} and now it "
                    f"is {value!r}; name another file with --out."
                )

    def _not_results(self, why: str) -> ConfigError:
        return ConfigError(
            f"{str(self.path)!r} does not hold results of an evaluation ({why}); name another file."
        )


def _line(data: Mapping[str, object]) -> bytes:
    """A line of the file; half a character, which no reader takes, becomes a question mark."""
    return json.dumps(data, ensure_ascii=False).encode("utf-8", "replace") + b"\n"


def _are_budgets(value: object) -> bool:
    return isinstance(value, list) and all(type(budget) is int for budget in value)

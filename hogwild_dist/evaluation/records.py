"""Results on disk: one JSON line for each run, so that an interrupted evaluation can continue."""

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
"""Version of the file format; the first line of a file has it with the settings."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Record:
    """The result of one team on one question with one seed.

    Attributes:
        team: name of the team.
        seed: seed of the run.
        line: line of the question in the dataset.
        question: text of the question.
        known: known answer or unit tests.
        answers: the team's answer at each budget and at the end.
        right: whether each answer is right; None if the grader failed.
        tokens: number of tokens chosen by the workers, without the finishers'.
        forwards: number of the team's steps, without those in which finishers wrote.
        seconds: time spent in steps, in seconds.
        redundancy: worker -> share of its word 4-grams that another worker wrote in an earlier
            step, in team order.
        transcript: everything that was written.
        made_of: fingerprint of the team, its prompts and its limits.
        error: why the run or its grading failed, or None.
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
        """Team, seed and line, which identify a run."""
        return self.team, self.seed, self.line

    @property
    def ran(self) -> bool:
        """Whether the run was completed."""
        return bool(self.right)

    @property
    def done(self) -> bool:
        """Whether every answer was graded; otherwise, a later evaluation repeats the run."""
        return self.ran and None not in self.right

    @property
    def mean_redundancy(self) -> float:
        """Mean redundancy of the workers."""
        return fmean(self.redundancy.values()) if self.redundancy else 0.0


_RECORD = TypeAdapter(Record)
_SETTINGS = TypeAdapter(dict[str, Any])


class Records:
    """The results of an evaluation; a repeated run replaces the earlier one.

    The file is created with the first record. An incomplete last line, left by an interruption, is
    removed when the next record is added.

    Args:
        path: path of the file; existing results are kept.
        settings: settings of the evaluation, which must equal those of an existing file. None
            takes the settings of the file, which must exist.

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
        # in the form in which they are read back
        self.settings: Mapping[str, Any] = json.loads(_line(settings or {}))
        if whole:
            wanted, self.settings = self.settings, self._read(whole)
            self._check_settings(wanted)
        elif not _line(self._header).startswith(data):
            raise self._not_results("its first line is incomplete")
        elif settings is None:
            raise ConfigError(f"Results file {str(path)!r} is empty; fill it with `hogwild eval`.")

    @property
    def all(self) -> list[Record]:
        """The records in the order in which the runs were first made, one for each run."""
        return list(self._by_key.values())

    @property
    def teams(self) -> list[str]:
        """The teams' names in the order in which they were first run."""
        return list(dict.fromkeys(record.team for record in self.all))

    @property
    def budgets(self) -> tuple[int, ...]:
        """The budgets of the evaluation, in steps."""
        return tuple(self.settings["budgets"])

    def check_writable(self) -> None:
        """Refuse a path that cannot be written, before anything is run.

        Raises:
            ConfigError: the file cannot be written.
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
        """Refuse a team that differs from the recorded team of the same name.

        Raises:
            ConfigError: the fingerprints differ.
        """
        if any(record.team == name and record.made_of != made_of for record in self.all):
            raise ConfigError(
                f"{str(self.path)!r} has runs of another team {name!r}: its file, its workers or "
                "its prompts have changed; name another file with --out."
            )

    def add(self, record: Record) -> None:
        """Add a record and write it to the file.

        Raises:
            ConfigError: the file cannot be written, or another process has changed it.
        """
        self._by_key[record.key] = record
        new = b"" if self._whole_size else _line(self._header)
        new += _line(asdict(record))
        try:
            with self.path.open("ab") as file:
                if file.tell() != self._size:
                    raise ConfigError(
                        f"Results {str(self.path)!r} were changed by another process; let one "
                        "evaluation at a time write to the file."
                    )
                file.truncate(self._whole_size)
                file.write(new)
        except OSError as error:
            raise ConfigError(
                f"Results {str(self.path)!r} cannot be extended: {error.strerror}; earlier "
                "results are kept, and the same command continues from them."
            ) from error
        self._whole_size += len(new)
        self._size = self._whole_size

    @property
    def _header(self) -> Mapping[str, object]:
        return {"evaluation": FORMAT, **self.settings}

    def _read(self, whole: bytes) -> dict[str, Any]:
        """Read the records and return the settings."""
        first, *lines = whole.removesuffix(b"\n").split(b"\n")
        try:
            settings = _SETTINGS.validate_json(first)
        except ValidationError:
            settings = {}
        if settings.pop("evaluation", None) != FORMAT or not _are_budgets(settings.get("budgets")):
            raise self._not_results("its first line is not the header of results")
        for number, line in enumerate(lines, start=2):
            try:
                record = _RECORD.validate_json(line, strict=True)
            except ValidationError as error:
                raise self._not_results(f"line {number} is not a record of a run") from error
            num_answers = len(settings["budgets"]) + 1 if record.right else 0
            if not len(record.right) == len(record.answers) == num_answers:
                raise self._not_results(f"line {number} has answers at other budgets")
            self._by_key[record.key] = record
        return settings

    def _check_settings(self, wanted: Mapping[str, object]) -> None:
        for name, value in wanted.items():
            if self.settings.get(name) != value:
                raise ConfigError(
                    f"{str(self.path)!r} began with {name} {self.settings.get(name)!r}, but now it "
                    f"is {value!r}; name another file with --out."
                )

    def _not_results(self, why: str) -> ConfigError:
        return ConfigError(
            f"{str(self.path)!r} does not contain results of an evaluation ({why}); name another "
            "file."
        )


def _line(data: Mapping[str, object]) -> bytes:
    """Return a line of the file; a lone surrogate, which UTF-8 cannot encode, becomes `?`."""
    return json.dumps(data, ensure_ascii=False).encode("utf-8", "replace") + b"\n"


def _are_budgets(value: object) -> bool:
    return isinstance(value, list) and all(type(budget) is int for budget in value)

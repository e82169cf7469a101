"""Team files: TOML that is checked and made into a `Team`."""

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from hogwild_dist.config import SamplingConfig
from hogwild_dist.errors import ConfigError
from hogwild_dist.session.spec import MAX_WORKERS
from hogwild_dist.team.layout import Layout, layout_from, load_layout
from hogwild_dist.team.team import Team, default_names
from hogwild_dist.team.tokenizer_utils import check_text
from hogwild_dist.team.user_files import first_fault, read_toml
from hogwild_dist.team.worker_profile import WorkerProfile

TEAMS = ("peers", "coordinator", "solver-critic", "thinker-writer", "debate", "independent")
"""Names of the built-in teams."""


Whole = Annotated[int, Field(strict=True)]
Number = Annotated[float, Field(strict=True)]
Truth = Annotated[bool, Field(strict=True)]
"""Numbers and booleans of a file; text is refused, even if it spells one."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class _Sampling(_Part):
    """The fields of `SamplingConfig` that a file may set."""

    temperature: Number = 0.0
    top_p: Number = 1.0
    top_k: Whole = 0
    min_p: Number = 0.0
    repetition_penalty: Number = 1.0


class _Others(_Part):
    """The profile of workers that the file does not name."""

    role: str = ""
    brief: str = ""
    sampling: _Sampling | None = None
    max_tokens: Whole | None = None


class _Worker(_Others):
    name: str
    first: str | None = None


class _Finish(_Part):
    by: tuple[str, ...] = ()
    vote: Truth = False


class TeamFile(_Part):
    """The content of a team file.

    Attributes:
        about: description of the team in a sentence.
        layout: name of a built-in layout, or a table with the keys of a layout file.
        workers: workers with roles of their own, first in the team.
        size: number of workers if the user gives none; by default two, or all named workers.
        others: profile of the other workers.
        until: workers whose stop ends the team; empty means all.
        finish: workers that may announce the answer, and whether the team votes.
    """

    about: str = ""
    layout: str | dict[str, Any] = "combined"
    workers: tuple[_Worker, ...] = ()
    size: Whole = Field(
        default_factory=lambda given: max(2, len(given["workers"])), ge=1, le=MAX_WORKERS
    )
    others: _Others = _Others()
    until: tuple[str, ...] = ()
    finish: _Finish = _Finish()

    @property
    def all_named(self) -> bool:
        """Whether the team can have only the workers that the file names."""
        describes_others = "others" in self.model_fields_set or self.size > len(self.workers)
        return bool(self.workers) and not describes_others


@dataclass(frozen=True, slots=True)
class TeamPlan:
    """A team file that has been read, from which teams of different sizes are made.

    Attributes:
        name: name of the team.
        file: content of the file.
        layout: layout of the team.
    """

    name: str
    file: TeamFile
    layout: Layout

    def team(self, count: int | None = None, names: Sequence[str] = ()) -> Team:
        """Return a team of some size; the workers that the file names come first.

        Args:
            count: number of workers; None takes the file's size.
            names: names of the other workers; empty takes default names.

        Raises:
            ConfigError: the team would have fewer workers than the file names, or more than the
                file describes.
        """
        special = [worker.name for worker in self.file.workers]
        if names:
            count = min(MAX_WORKERS, len(special) + len(names))
        count = self.file.size if count is None else count
        default_names(count)  # refuses impossible sizes
        if count < len(special):
            raise ConfigError(
                f"The team {self.name!r} has {len(special)} roles ({', '.join(special)}) and "
                f"{count} workers were requested; request {len(special)} or more."
            )
        if count > len(special) and self.file.all_named:
            raise ConfigError(
                f"The team {self.name!r} has {len(special)} roles ({', '.join(special)}) and no "
                f"[others], and {count} workers were requested; request {len(special)}, or add "
                "[others] in a file of your own."
            )
        free = [name for name in default_names(MAX_WORKERS) if name not in special]
        rest = list(names) or free[: count - len(special)]
        members = {worker.name: _member(worker) for worker in self.file.workers}
        members |= {name: _member(self.file.others) for name in rest}
        team = Team(
            names=(*special, *rest),
            members={name: member for name, member in members.items() if member != WorkerProfile()},
            layout=self.layout,
            until=self.file.until,
        )
        team.check()
        for name in self.file.finish.by:
            if name not in team.names:
                raise ConfigError(
                    f"The team {self.name!r} lets {name!r} answer ([finish] by), who is not in it; "
                    f"its workers are {', '.join(team.names)}."
                )
        return team


def load_team(name_or_file: str) -> TeamPlan:
    """Return a built-in team by name, or one from a TOML file.

    Raises:
        ConfigError: the name or file does not exist, or the file is not a team.
    """
    try:
        if name_or_file in TEAMS:
            text = team_text(name_or_file)
        else:
            text = read_toml("team", name_or_file, TEAMS)
        data = tomllib.loads(text)
        file = TeamFile.model_validate(data)
    except ValidationError as error:
        place, fault = first_fault(error, data)
        raise ConfigError(
            f"Team {name_or_file!r} has a bad {place!r}: {fault}; `hogwild teams show "
            "coordinator` prints one that works."
        ) from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"Team {name_or_file!r} cannot be used: {error}.") from error
    for worker in (*file.workers, file.others):
        try:
            _member(worker)
        except ConfigError as error:
            who = f"worker {worker.name!r}" if isinstance(worker, _Worker) else "[others]"
            raise ConfigError(f"Team {name_or_file!r} has a bad {who}: {error}") from error
    name = name_or_file if name_or_file in TEAMS else Path(name_or_file).stem
    check_text("A team's name", name)
    layout = file.layout
    if isinstance(layout, str):
        return TeamPlan(name, file, load_layout(layout))
    return TeamPlan(name, file, layout_from(layout, name, f"The layout of team {name_or_file!r}"))


def team_text(name: str) -> str:
    """Return the text of a built-in team's file."""
    return (resources.files(__package__) / f"{name}.toml").read_text(encoding="utf-8")


def _member(entry: _Others) -> WorkerProfile:
    sampling = None
    if entry.sampling is not None:
        sampling = replace(SamplingConfig(), **entry.sampling.model_dump())
    first = entry.first if isinstance(entry, _Worker) else None
    return WorkerProfile(
        role=entry.role,
        brief=entry.brief,
        first=first,
        sampling=sampling,
        max_tokens=entry.max_tokens,
    )

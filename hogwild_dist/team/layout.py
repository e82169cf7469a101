"""Layouts: which blocks each worker sees, in which order, and where finished paragraphs go.

A layout is data. The items of a view are names of shared blocks (`common`, `header`, `separator`,
or others that the prompts define) and:

- ``others``: the blocks of all other workers that may be seen, in team order;
- ``worker:NAME``: the block of one worker;
- ``brief``: the text that only this worker reads; omitted if it has none;
- ``own``: the block that the worker writes, always last.
"""

import tomllib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from hogwild_dist.errors import ConfigError
from hogwild_dist.session.spec import block_name, expand_view
from hogwild_dist.team.user_files import read_toml


@dataclass(frozen=True, kw_only=True, slots=True)
class Rule:
    """The view of a worker, and the place of its finished paragraphs."""

    view: tuple[str, ...]
    seen: bool = True
    """Whether ``others`` in the other workers' views includes this worker."""

    paragraphs_to: str | None = None
    """Shared block that finished paragraphs move to; None leaves the text in its block."""

    def __post_init__(self) -> None:
        if not self.view or self.view[-1] != "own" or self.view.count("own") > 1:
            raise ConfigError(
                f"The view {list(self.view)} must end with 'own', the block that the worker writes."
            )
        target = self.paragraphs_to or "common"
        if target in {"own", "others", "brief"} or target.startswith("worker:"):
            raise ConfigError(
                f"Paragraphs cannot move to {target!r}, which workers write; name a shared block."
            )


@dataclass(frozen=True, kw_only=True, slots=True)
class Layout:
    """A rule for all workers, and rules for single workers by name."""

    name: str
    everyone: Rule
    workers: Mapping[str, Rule] = field(default_factory=dict)

    def rule(self, worker: str) -> Rule:
        """Return the rule for a worker."""
        return self.workers.get(worker, self.everyone)

    def views(self, names: Sequence[str], briefed: Collection[str] = ()) -> list[tuple[str, ...]]:
        """Return the block names of each worker's view; worker i writes ``w{i}``.

        Args:
            names: names of the workers.
            briefed: names of the workers that have a brief.

        Raises:
            ConfigError: the layout names a worker that is not in the team, or a block twice.
        """
        for worker in self.workers:
            if worker not in names:
                raise ConfigError(
                    f"Layout {self.name!r} has a rule for {worker!r}, who is not in the team of "
                    f"{', '.join(names)}; add the worker with --worker {worker}."
                )
        return [self._view(index, names, briefed) for index in range(len(names))]

    def shared_blocks(self, names: Sequence[str], briefed: Collection[str] = ()) -> list[str]:
        """Return the names of the shared blocks that these workers use, in order of use."""
        own = {block_name(index) for index in range(len(names))}
        used = [name for view in self.views(names, briefed) for name in view if name not in own]
        used += [self.rule(name).paragraphs_to or "" for name in names]
        return [name for name in dict.fromkeys(used) if name]

    def newcomers_at(self, names: Sequence[str], briefed: Collection[str] = ()) -> list[int | None]:
        """Return the place in each worker's view where a newcomer's block is inserted.

        That is after ``others``; None if the worker does not see newcomers.
        """
        places: list[int | None] = []
        for index, name in enumerate(names):
            items = self.rule(name).view
            sees = "others" in items and self.everyone.seen
            upto = items[: items.index("others") + 1] if sees else ()
            places.append(len(self._expand(upto, index, names, briefed)) if sees else None)
        return places

    def _view(self, index: int, names: Sequence[str], briefed: Collection[str]) -> tuple[str, ...]:
        view = self._expand(self.rule(names[index]).view, index, names, briefed)
        if len(set(view)) < len(view):
            raise ConfigError(
                f"Layout {self.name!r} shows {names[index]!r} a block twice: {list(view)}."
            )
        return view

    def _expand(
        self, items: Sequence[str], index: int, names: Sequence[str], briefed: Collection[str]
    ) -> tuple[str, ...]:
        """Return the block names of some items of a worker's view."""
        brief = brief_name(index) if names[index] in briefed else None
        named = [brief if item == "brief" else item for item in items]
        return expand_view(
            [item for item in named if item is not None],
            own=block_name(index),
            others=[
                block_name(other)
                for other, name in enumerate(names)
                if other != index and self.rule(name).seen
            ],
            block_of=lambda worker: self._block_of(worker, names),
        )

    def _block_of(self, worker: str, names: Sequence[str]) -> str:
        if worker not in names:
            raise ConfigError(
                f"Layout {self.name!r} shows the block of {worker!r}, who is not in the team of "
                f"{', '.join(names)}."
            )
        return block_name(names.index(worker))


def brief_name(worker: int) -> str:
    """Return the name of the block that holds a worker's brief."""
    return f"brief{worker}"


LAYOUTS: Mapping[str, Layout] = {
    layout.name: layout
    for layout in (
        Layout(
            name="contiguous",
            everyone=Rule(view=("common", "others", "brief", "separator", "own")),
        ),
        Layout(
            name="interleaved",
            everyone=Rule(view=("common", "brief", "own"), paragraphs_to="common"),
        ),
        Layout(
            name="combined",
            everyone=Rule(
                view=("common", "header", "others", "brief", "separator", "own"),
                paragraphs_to="common",
            ),
        ),
        Layout(
            name="independent",
            everyone=Rule(view=("common", "brief", "own")),
        ),
    )
}
"""The layouts of the paper (its figure 2), and `independent`, in which no worker sees another."""


def load_layout(name_or_file: str) -> Layout:
    """Return a built-in layout by name, or one from a TOML file.

    Raises:
        ConfigError: the name or file does not exist, or the file is not a layout.
    """
    if name_or_file in LAYOUTS:
        return LAYOUTS[name_or_file]
    text = read_toml("layout", name_or_file, LAYOUTS)
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"Layout file {name_or_file!r} cannot be used: {error}.") from error
    return layout_from(data, Path(name_or_file).stem, f"Layout file {name_or_file!r}")


def layout_from(data: Mapping[str, Any], name: str, label: str) -> Layout:
    """Return the layout that a layout file describes.

    Args:
        data: the file's keys: `everyone`, and optionally `name` and `workers`.
        name: name of the layout if the data has none.
        label: name of the data in errors.

    Raises:
        ConfigError: a key is missing, unknown or of the wrong kind.
    """
    try:
        return Layout(
            name=data.get("name", name),
            everyone=_rule(data["everyone"]),
            workers={worker: _rule(rule) for worker, rule in data.get("workers", {}).items()},
        )
    except (TypeError, AttributeError, ValueError) as error:  # ConfigError is a ValueError
        raise ConfigError(f"{label} cannot be used: {str(error).rstrip('.')}.") from error
    except KeyError as error:
        raise ConfigError(f"{label} has no {error}; it needs [everyone] with a view.") from error


def _rule(data: Mapping[str, Any]) -> Rule:
    known = [one.name for one in fields(Rule)]
    for key in data:
        if key not in known:
            raise TypeError(f"a rule has no {key!r}, but {', '.join(known)}")
    target = data.get("paragraphs_to")
    if not all(isinstance(item, str) for item in data["view"]) or not isinstance(
        target, str | None
    ):
        raise TypeError("a view is a list of names, and paragraphs_to is one name")
    return Rule(**{**data, "view": tuple(data["view"])})

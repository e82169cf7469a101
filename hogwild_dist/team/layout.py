"""Layouts: who sees which blocks in which order, and what happens at a paragraph's end.

A layout is data. Items of a view are the names of shared blocks (`common`, `header`,
`separator`, or what a prompts file defines) and:

- ``others``: the blocks of all other workers that may be seen, in team order;
- ``worker:NAME``: one worker's block;
- ``brief``: what this worker alone is told, left out where that is nothing;
- ``own``: the block that the worker writes, always last.
"""

import tomllib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from hogwild_dist.errors import ConfigError
from hogwild_dist.session.spec import block_name
from hogwild_dist.team.toml_file import read_toml


@dataclass(frozen=True, kw_only=True, slots=True)
class Rule:
    """What one worker sees and what becomes of its text."""

    view: tuple[str, ...]
    seen: bool = True
    """Whether ``others`` in the views of the rest includes this worker."""

    paragraphs_to: str | None = None
    """Shared block that its finished paragraphs move to; None: its text stays where it is."""

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
    """A rule for everybody, and rules for workers by name."""

    name: str
    everyone: Rule
    workers: Mapping[str, Rule] = field(default_factory=dict)

    def rule(self, worker: str) -> Rule:
        """The rule for a worker."""
        return self.workers.get(worker, self.everyone)

    def views(self, names: Sequence[str], briefed: Collection[str] = ()) -> list[tuple[str, ...]]:
        """Block names of each worker's view; worker i writes ``w{i}``.

        Args:
            names: of the workers.
            briefed: those who are told something alone.

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
        """Names of the shared blocks that a team of these workers uses, in order of use."""
        own = {block_name(index) for index in range(len(names))}
        used = [name for view in self.views(names, briefed) for name in view if name not in own]
        used += [self.rule(name).paragraphs_to or "" for name in names]
        return [name for name in dict.fromkeys(used) if name]

    def _view(self, index: int, names: Sequence[str], briefed: Collection[str]) -> tuple[str, ...]:
        view: list[str] = []
        for item in self.rule(names[index]).view:
            if item == "own":
                view.append(block_name(index))
            elif item == "others":
                view += [
                    block_name(other)
                    for other, name in enumerate(names)
                    if other != index and self.rule(name).seen
                ]
            elif item == "brief":
                view += [brief_name(index)] if names[index] in briefed else []
            elif item.startswith("worker:"):
                view.append(self._block_of(item.removeprefix("worker:"), names))
            else:
                view.append(item)
        if len(set(view)) < len(view):
            raise ConfigError(f"Layout {self.name!r} shows {names[index]!r} a block twice: {view}.")
        return tuple(view)

    def _block_of(self, worker: str, names: Sequence[str]) -> str:
        if worker not in names:
            raise ConfigError(
                f"Layout {self.name!r} shows the block of {worker!r}, who is not in the team of "
                f"{', '.join(names)}."
            )
        return block_name(names.index(worker))


def brief_name(worker: int) -> str:
    """Name of the block that a worker alone sees."""
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
"""The layouts of the paper (its figure 2), and `independent`: nobody sees anybody."""


def load_layout(name_or_file: str) -> Layout:
    """A built-in layout by name, or one from a TOML file.

    Raises:
        ConfigError: no such name or file, or the file cannot be used.
    """
    if name_or_file in LAYOUTS:
        return LAYOUTS[name_or_file]
    text = read_toml("layout", name_or_file, LAYOUTS)
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"Layout file {name_or_file!r} cannot be used: {error}.") from error
    return layout_from(data, Path(name_or_file).stem, f"Layout file {name_or_file!r}")


def layout_from(data: Mapping[str, Any], name: str, label: str = "The layout") -> Layout:
    """A layout from the keys of a layout file.

    Args:
        data: with `everyone`, and perhaps `name` and `workers`.
        name: where the data has none.
        label: what it is called in error messages.

    Raises:
        ConfigError: it lacks something or holds something else.
    """
    try:
        return Layout(
            name=data.get("name", name),
            everyone=_rule(data["everyone"]),
            workers={worker: _rule(rule) for worker, rule in data.get("workers", {}).items()},
        )
    except ConfigError:
        raise
    except (TypeError, AttributeError, ValueError) as error:
        raise ConfigError(f"{label} cannot be used: {error}.") from error
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

"""Prompts: a folder of Jinja2 templates for a team's texts.

A folder holds `prompts.toml` and templates. Templates in `layouts/NAME/` replace the general ones
for that layout. A user's folder may omit files; the package's are used in their place.
"""

import json
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, Literal, Self

import jinja2
from jinja2 import meta
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from hogwild_dist.errors import ConfigError
from hogwild_dist.model.prompt_text import PromptText
from hogwild_dist.team.prompts.bounded_templates import BoundedEnvironment
from hogwild_dist.team.user_files import first_fault

SUFFIX = ".jinja"
SETTINGS = "prompts.toml"


class Tag(str):
    """A value of a template that is markup, such as a reasoning tag."""

    __slots__ = ()


class Redundancy(BaseModel):
    """When the redundancy question is asked.

    Attributes:
        every: number of tokens between two questions; 0 never asks.
        counted: whether tokens count for the team or for each worker.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    every: int = Field(default=256, ge=0)
    counted: Literal["team", "worker"] = "team"


class PromptSettings(BaseModel):
    """The content of `prompts.toml`; the default file explains each key."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    person: Literal["first", "second"] = "second"
    examples: bool = False
    message: Literal["system", "user"] = "system"
    thinking: Literal["auto", "on", "off"] = "auto"
    forbid: tuple[str, ...] = ()
    redundancy: Redundancy = Redundancy()


@dataclass(frozen=True, kw_only=True, slots=True)
class Prompts:
    """The templates of one folder, for one layout.

    Attributes:
        templates: name without suffix (`first`, `blocks/separator`) -> source.
        settings: content of `prompts.toml`.
        label: name of the folder, for errors.
    """

    templates: Mapping[str, str]
    settings: PromptSettings = field(default_factory=PromptSettings)
    label: str = "default"

    def render(self, name: str, **values: Any) -> PromptText:
        """Return a filled-in template, or an empty text if none has this name.

        What the template itself says is markup, and so are values of the class `Tag`; all other
        values count as typed by people.

        Raises:
            ConfigError: the template is malformed, uses an unknown variable, or writes or repeats
                too much.
        """
        if name not in self.templates:
            return PromptText()
        values |= {"person": self.settings.person, "examples": self.settings.examples}
        marks = _unused_marks(json.dumps([*self.templates.values(), values], ensure_ascii=False))
        environment = _environment(self.templates, marks)
        try:
            rendered = environment.get_template(name + SUFFIX).render(**values)
        except jinja2.TemplateNotFound as error:
            raise ConfigError(
                f"The prompt template '{name}{SUFFIX}' of {self.label!r} includes {str(error)!r}, "
                "which is not in the folder; add it, or include one that is."
            ) from error
        except Exception as error:  # a template may raise anything
            fault = str(error).rstrip(".") or type(error).__name__
            if isinstance(error, jinja2.TemplateSyntaxError):
                fault = f"{fault} in line {error.lineno}"
            elif isinstance(error, jinja2.UndefinedError):
                fault = f"{fault}; it may use {', '.join(sorted(values))}"
            raise ConfigError(
                f"The prompt template '{name}{SUFFIX}' of {self.label!r} cannot be filled in: "
                f"{fault}."
            ) from error
        try:
            return _read_marks(rendered, marks)
        except ValueError as error:
            raise ConfigError(
                f"The prompt template '{name}{SUFFIX}' of {self.label!r} changes text that is "
                "filled in already, so that it is not known who typed it; apply filters to values, "
                "not to parts of the template."
            ) from error

    def with_settings(self, **changes: Any) -> Self:
        """Return the same templates with some settings changed; None keeps a setting."""
        wanted = {name: value for name, value in changes.items() if value is not None}
        changed = _settings({**self.settings.model_dump(), **wanted}, "A prompt option")
        return replace(self, settings=changed)


def load_prompts(layout: str, folder: str | Path | None = None) -> Prompts:
    """Read a folder of templates.

    Args:
        layout: name of the layout, whose own templates replace the general ones.
        folder: folder of the templates; None reads the package's.

    Raises:
        ConfigError: the folder cannot be read, or contains a file that nothing uses.
    """
    own = _Folder(default_folder(), "default")
    templates = own.templates(layout)
    settings = own.settings()
    label = "default"
    if folder is not None:
        label = str(folder)
        if not Path(folder).is_dir():
            raise ConfigError(
                f"Prompts {label!r} is not a folder; make one with `hogwild prompts export DIR`."
            )
        user = _Folder(Path(folder), label)
        changed = user.templates(layout)
        _check_used(changed, templates, label)
        templates |= changed
        settings |= user.settings()
    place = f"{SETTINGS} of prompts {label!r}"
    return Prompts(templates=templates, settings=_settings(settings, place), label=label)


def default_folder() -> Traversable:
    """Return the folder of the package's templates."""
    return resources.files(__package__) / "default"


def files(folder: Traversable, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield path and text of every template and of the settings, sorted by path."""
    for entry in sorted(folder.iterdir(), key=lambda entry: entry.name):
        if entry.is_dir():
            yield from files(entry, f"{prefix}{entry.name}/")
        elif entry.name.endswith(SUFFIX) or entry.name == SETTINGS:
            yield prefix + entry.name, entry.read_text(encoding="utf-8")


@dataclass(frozen=True, slots=True)
class _Folder:
    """One folder of templates, read with one-sentence errors."""

    root: Traversable
    label: str

    def templates(self, layout: str) -> dict[str, str]:
        """Return template name -> source, with the layout's own in place of general ones."""
        general, own = {}, {}
        place = f"layouts/{layout}/"
        for path, text in self._files():
            if not path.endswith(SUFFIX):
                continue
            name = path.removesuffix(SUFFIX)
            if name.startswith(place):
                own[name.removeprefix(place)] = text
            elif not name.startswith("layouts/"):
                general[name] = text
        return general | own

    def settings(self) -> dict[str, Any]:
        """Return the content of `prompts.toml`."""
        try:
            return tomllib.loads(dict(self._files()).get(SETTINGS, ""))
        except tomllib.TOMLDecodeError as error:
            raise ConfigError(
                f"{SETTINGS} of prompts {self.label!r} is not TOML: {error}."
            ) from error

    def _files(self) -> list[tuple[str, str]]:
        try:
            return list(files(self.root))
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"Prompts {self.label!r} cannot be read: {error}.") from error


def _settings(values: Mapping[str, Any], label: str) -> PromptSettings:
    try:
        return PromptSettings.model_validate(values)
    except ValidationError as error:
        place, fault = first_fault(error, values)
        known = f"; known are {', '.join(PromptSettings.model_fields)}"
        unknown = place.split(".")[0] not in PromptSettings.model_fields
        raise ConfigError(
            f"{label} has a bad {place!r}: {fault}{known if unknown else ''}."
        ) from error


def _environment(
    templates: Mapping[str, str], marks: tuple[str, str] = ("", "")
) -> BoundedEnvironment:
    """Return an environment that puts marks around the values that people typed.

    A value may hold marks, if a part of the template was rendered into it; they are replaced.
    """

    def mark(value: object) -> object:
        if isinstance(value, Tag):
            return value
        text = str(value).replace(marks[0], "").replace(marks[1], "")
        return f"{marks[0]}{text}{marks[1]}"

    return BoundedEnvironment(
        write=mark,
        loader=jinja2.DictLoader({name + SUFFIX: text for name, text in templates.items()}),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _unused_marks(text: str) -> tuple[str, str]:
    """Return two private-use characters that a text does not contain."""
    unused = (chr(code) for code in range(0xF0000, 0x10FFFE) if chr(code) not in text)
    return next(unused), next(unused)


def _read_marks(rendered: str, marks: tuple[str, str]) -> PromptText:
    """Return a rendered template without its marks.

    Raises:
        ValueError: a mark is missing, or the marks are not in their order.
    """
    *pairs, rest = rendered.split(marks[1])
    pieces: list[tuple[str, bool]] = []
    for pair in pairs:
        said, typed = pair.split(marks[0])
        pieces += ((said, False), (typed, True))
    if marks[0] in rest:
        raise ValueError("a mark is not closed")
    return PromptText(tuple(piece for piece in (*pieces, (rest, False)) if piece[0]))


def _check_used(changed: Mapping[str, str], known: Mapping[str, str], label: str) -> None:
    """Refuse a template that nothing refers to, which is probably misspelled."""
    for name in changed:
        blocks = name.startswith("blocks/")
        if name not in known and not blocks and name + SUFFIX not in _included(changed, label):
            raise ConfigError(
                f"Prompts {label!r} contains '{name}{SUFFIX}', which nothing uses; known templates "
                f"are {', '.join(sorted(known))}, and blocks/NAME for a layout's own blocks."
            )


def _included(templates: Mapping[str, str], label: str) -> set[str]:
    """Return the names that templates include; all names if one is computed."""
    environment = _environment(templates)
    found: set[str] = set()
    for name, text in templates.items():
        try:
            names: Sequence[str | None] = list(
                meta.find_referenced_templates(environment.parse(text))
            )
        except Exception as error:  # such as RecursionError, of expressions in expressions
            raise ConfigError(
                f"The prompt template '{name}{SUFFIX}' of {label!r} is malformed: "
                f"{str(error).rstrip('.')}."
            ) from error
        found |= {other for other in names if other is not None}
        if None in names:
            found |= {other + SUFFIX for other in templates}
    return found

"""Prompt files: TOML whose texts are Jinja2 templates, the language of chat templates."""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2
from jinja2.sandbox import SandboxedEnvironment
from transformers import PreTrainedTokenizerBase

from hogwild_dist.errors import ConfigError
from hogwild_dist.spec import RedundancyCheck


@dataclass(frozen=True, kw_only=True, slots=True)
class Prompts:
    """The templates of one file, for one layout.

    Attributes:
        system: first message.
        user: second message.
        paragraph_prefix: begins each paragraph.
        blocks: texts of the shared blocks, by name.
        first: begins each worker's text.
        redundancy: the question, or None.
    """

    system: str
    user: str
    paragraph_prefix: str
    blocks: Mapping[str, str]
    first: str
    redundancy: RedundancyCheck | None

    def prefix(self) -> str:
        """The paragraph prefix with ``{worker}`` and ``{index}`` left open."""
        return render(self.paragraph_prefix, worker="{worker}", index="{index}")

    def block(self, name: str, problem: str, names: Sequence[str]) -> str:
        """Text of a shared block; empty where the file has none of that name."""
        return render(self.blocks.get(name, ""), problem=problem, names=list(names))

    def first_text(self, worker: str, problem: str, names: Sequence[str]) -> str:
        """What a worker's own text begins with."""
        return render(self.first, worker=worker, problem=problem, names=list(names))

    def chat(self, tokenizer: PreTrainedTokenizerBase, problem: str, names: Sequence[str]) -> str:
        """The chat template up to the beginning of the answer.

        Models without a chat template get the two messages as plain text.
        """
        system = render(self.system, problem=problem, names=list(names)).strip()
        user = render(self.user, problem=problem, names=list(names))
        if tokenizer.chat_template is None:
            return "\n\n".join(filter(None, (system, user))) + "\n\n"
        messages = [{"role": "system", "content": system}, {"role": "user", "content": user}]
        merged = [{"role": "user", "content": f"{system}\n\n{user}"}]
        try:
            return _apply(tokenizer, messages if system else messages[1:])
        except jinja2.TemplateError:  # how templates refuse a system role
            return _apply(tokenizer, merged)


def load_prompts(layout: str, path: str | Path | None = None) -> Prompts:
    """Read a prompts file; None reads the one that comes with the package.

    Args:
        layout: name of the layout, whose own texts replace the general ones.
        path: a TOML file.

    Raises:
        ConfigError: the file cannot be read or lacks a text.
    """
    label = str(path or "default.toml")
    try:
        if path is None:
            text = (resources.files(__package__) / "default.toml").read_text(encoding="utf-8")
        else:
            text = Path(path).read_text(encoding="utf-8")
        data = tomllib.loads(text)
        own = data.get("layouts", {}).get(layout, {})
        check = own.get("redundancy", data.get("redundancy"))
        return Prompts(
            system=data.get("system", ""),
            user=data["user"],
            paragraph_prefix=data["paragraph_prefix"],
            blocks={**data["blocks"], **own.get("blocks", {})},
            first=own.get("worker", {}).get("first", data["worker"]["first"]),
            redundancy=RedundancyCheck(**check) if check else None,
        )
    except KeyError as error:
        raise ConfigError(
            f"Prompts file {label!r} has no {error}; copy the default file and change that."
        ) from error
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError, TypeError, AttributeError) as e:
        raise ConfigError(f"Prompts file {label!r} cannot be used: {e}.") from e


def render(template: str, **values: Any) -> str:
    """Fill in one template.

    Raises:
        ConfigError: it is malformed or uses a variable that is not there.
    """
    environment = SandboxedEnvironment(undefined=jinja2.StrictUndefined, keep_trailing_newline=True)
    try:
        return environment.from_string(template).render(**values)
    except (jinja2.TemplateError, TypeError, ValueError, ArithmeticError) as error:
        start = template.strip()[:40]
        raise ConfigError(
            f"The prompt template {start!r} cannot be filled in: {error}; it may use "
            f"{', '.join(sorted(values))}."
        ) from error


def _apply(tokenizer: PreTrainedTokenizerBase, messages: list[dict[str, str]]) -> str:
    text: Any = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    return str(text)

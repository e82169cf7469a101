"""From a problem and a team to a session's spec."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from transformers import PreTrainedTokenizerBase

from hogwild_dist.config import SamplingConfig
from hogwild_dist.errors import ConfigError
from hogwild_dist.layout import LAYOUTS, Layout
from hogwild_dist.prompts import Prompts, load_prompts
from hogwild_dist.spec import MAX_WORKERS, SessionSpec, WorkerSpec

NAMES = (
    "Alice", "Bob", "Carol", "Dave", "Erin", "Frank", "Grace", "Heidi",
    "Ivan", "Judy", "Kevin", "Laura", "Mallory", "Niaj", "Olivia", "Peggy",
)  # fmt: skip
"""Default names of workers."""


def default_names(count: int) -> tuple[str, ...]:
    """The first `count` default names.

    Raises:
        ConfigError: the count is not from 1 to 16.
    """
    if not 1 <= count <= MAX_WORKERS:
        raise ConfigError(f"{count} workers were asked for; a team has 1 to {MAX_WORKERS}.")
    return NAMES[:count]


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """When workers and sessions stop. None is no limit but the model's context."""

    max_tokens: int | None = 256
    """Chosen tokens of each worker."""

    max_total_tokens: int | None = None
    """Chosen tokens of all workers together."""

    stop_strings: tuple[str, ...] = ()
    """A worker whose text contains one stops."""

    def __post_init__(self) -> None:
        for name, value in (
            ("max_tokens", self.max_tokens),
            ("max_total_tokens", self.max_total_tokens),
        ):
            if value is not None and value < 1:
                raise ConfigError(f"{name} is {value}; it must be at least 1.")
        if "" in self.stop_strings:
            raise ConfigError("A stop string is empty; leave it out or give it text.")


@dataclass(frozen=True, kw_only=True, slots=True)
class Team:
    """Who works on a problem, and how.

    Attributes:
        names: of the workers.
        layout: who sees what.
        prompts: None takes the default file's.
        sampling: of everybody.
        limits: of everybody.
        seed: of the random choices.
    """

    names: tuple[str, ...]
    layout: Layout = LAYOUTS["combined"]
    prompts: Prompts | None = None
    sampling: SamplingConfig = field(default_factory=SamplingConfig)
    limits: Limits = field(default_factory=Limits)
    seed: int = 0

    def spec(
        self,
        problem: str,
        tokenizer: PreTrainedTokenizerBase,
        *,
        end_ids: frozenset[int] = frozenset(),
    ) -> SessionSpec:
        """Write the spec of a session on `problem`; see `texts_and_spec`.

        Raises:
            ConfigError: no problem text, or names, layout and prompts do not fit together.
        """
        return self.texts_and_spec(problem, tokenizer, end_ids=end_ids)[1]

    def texts_and_spec(
        self,
        problem: str,
        tokenizer: PreTrainedTokenizerBase,
        *,
        end_ids: frozenset[int] = frozenset(),
    ) -> tuple[dict[str, str], SessionSpec]:
        """The spec, and the text of each block it starts from.

        Args:
            problem: what to work on.
            tokenizer: of the model.
            end_ids: end-of-text tokens that the model names beside the tokenizer's.
        """
        if not problem.strip():
            raise ConfigError("The problem is empty; say what the team should work on.")
        self.check()
        _check_text("The problem", problem)
        prompts = self.prompts or load_prompts(self.layout.name)
        texts = self._shared_texts(problem, prompts, tokenizer)
        shared = {name: tuple(_encode(tokenizer, text)) for name, text in texts.items()}
        workers = []
        for name, view in zip(self.names, self.layout.views(self.names), strict=True):
            texts[view[-1]] = prompts.first_text(name, problem, self.names)
            workers.append(
                WorkerSpec(
                    name=name,
                    view=view,
                    first_input=tuple(_encode(tokenizer, texts[view[-1]])),
                    sampling=self._sampling(name, {*_special_ids(tokenizer), *end_ids}),
                    paragraphs_to=self.layout.rule(name).paragraphs_to,
                    max_tokens=self.limits.max_tokens,
                )
            )
        return texts, SessionSpec(
            workers=tuple(workers),
            shared=shared,
            seed=self.seed,
            paragraph_prefix=prompts.prefix(),
            redundancy=prompts.redundancy,
            stop_strings=self.limits.stop_strings,
            end_ids=_end_ids(tokenizer) | end_ids,
            max_total_tokens=self.limits.max_total_tokens,
        )

    def _shared_texts(
        self, problem: str, prompts: Prompts, tokenizer: PreTrainedTokenizerBase
    ) -> dict[str, str]:
        """Texts of the shared blocks; a block without text must be one that paragraphs move to."""
        filled_later = {self.layout.rule(name).paragraphs_to for name in self.names}
        texts = {}
        for name in self.layout.shared_blocks(self.names):
            text = prompts.block(name, problem, self.names)
            if name == "common":
                text = prompts.chat(tokenizer, problem, self.names) + text
            if name not in prompts.blocks and not text and name not in filled_later:
                raise ConfigError(
                    f"Layout {self.layout.name!r} shows the block {name!r}, which is neither in "
                    "the prompts file's [blocks] nor a place that paragraphs move to."
                )
            texts[name] = text
        return texts

    def _sampling(self, worker: str, special_ids: set[int]) -> SamplingConfig:
        """The worker's sampling: who writes paragraph after paragraph may not end the text.

        As in the reference, begin- and end-of-text are forbidden then, so that nobody leaves the
        team early.
        """
        if self.layout.rule(worker).paragraphs_to is None:
            return self.sampling
        forbidden = {*self.sampling.forbidden_ids, *special_ids}
        return replace(self.sampling, forbidden_ids=tuple(sorted(forbidden)))

    def check(self) -> None:
        """Check all that can be checked without a model.

        Raises:
            ConfigError: names, limits or layout cannot be used.
        """
        if not 1 <= len(self.names) <= MAX_WORKERS:
            raise ConfigError(
                f"A team of {len(self.names)} was asked for; it has 1 to {MAX_WORKERS} workers."
            )
        repeated = [name for name in self.names if self.names.count(name) > 1]
        if repeated:
            raise ConfigError(
                f"Two workers are called {repeated[0]!r}; give every worker a name of its own."
            )
        self.layout.views(self.names)
        for name in self.names:
            _check_text("A worker's name", name)
            if not name.strip() or any(sign in name for sign in "\n{}"):
                raise ConfigError(
                    f"A worker is called {name!r}; a name is one line of text without braces."
                )


def _check_text(what: str, text: str) -> None:
    """Refuse what no tokenizer takes: halves of characters, from bytes that were not UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ConfigError(
            f"{what} holds {text[error.start : error.end]!a}, which is no character; it must be "
            "UTF-8."
        ) from error


def _encode(tokenizer: Any, text: str) -> list[int]:
    ids: list[int] = tokenizer.encode(text, add_special_tokens=False)
    return ids


def _end_ids(tokenizer: PreTrainedTokenizerBase) -> frozenset[int]:
    return frozenset(() if tokenizer.eos_token_id is None else (tokenizer.eos_token_id,))


def _special_ids(tokenizer: PreTrainedTokenizerBase) -> tuple[int, ...]:
    """Begin- and end-of-text tokens."""
    ids: Sequence[int | None] = (tokenizer.bos_token_id, tokenizer.eos_token_id)
    return tuple(token for token in ids if token is not None)

"""What can be set: frozen dataclasses that refuse bad values with one sentence."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from hogwild_dist.errors import ConfigError
from hogwild_dist.settings import setting


class Visibility(Enum):
    """When a worker sees the others' newest token. Its own tokens it always sees."""

    SAME_STEP = "same-step"
    """At each layer a worker attends to what the others feed in this very step (paper, exact)."""

    NEXT_STEP = "next-step"
    """The others' newest tokens are seen one step later."""

    OVERLAPPED = "overlapped"
    """They are seen two steps later: what a step brought travels while the next one computes."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SamplingConfig:
    """How the next token is chosen. The defaults choose the likeliest token."""

    temperature: float = 0.0
    """0 is greedy; else logits are divided by it."""

    top_p: float = 1.0
    top_k: int = 0
    """0 keeps all."""

    min_p: float = 0.0
    repetition_penalty: float = 1.0
    """Over all tokens in the worker's view, as transformers does it; 1 is none."""

    forbidden_ids: tuple[int, ...] = ()
    """Tokens that are never chosen."""

    logit_bias: Mapping[int, float] = field(default_factory=dict)
    """Added to the logits of single tokens."""

    def __post_init__(self) -> None:
        for token in (*self.forbidden_ids, *self.logit_bias):
            if token < 0:
                raise ConfigError(f"Token id {token} is negative; a token has an id of 0 or more.")
        for name, value, good in (
            ("temperature", self.temperature, self.temperature >= 0),
            ("top_p", self.top_p, 0 < self.top_p <= 1),
            ("top_k", self.top_k, self.top_k >= 0),
            ("min_p", self.min_p, 0 <= self.min_p <= 1),
            ("repetition_penalty", self.repetition_penalty, self.repetition_penalty > 0),
        ):
            if not good:
                allowed = {
                    "temperature": "0 or more",
                    "top_p": "above 0 and at most 1",
                    "top_k": "0 (off) or more",
                    "min_p": "from 0 to 1",
                    "repetition_penalty": "above 0 (1 is none)",
                }[name]
                raise ConfigError(f"{name} is {value}; it must be {allowed}.")


MAX_TOKENS = 1 << 40
"""Far more than any memory holds, and few enough to multiply with."""


@dataclass(frozen=True, kw_only=True, slots=True)
class EngineConfig:
    """What an engine keeps for its whole life."""

    visibility: Visibility = setting(
        Visibility.SAME_STEP, "When a worker sees the others' newest token."
    )
    cache_tokens: int = setting(65_536, "Size of the KV cache in tokens, over all sessions.")
    max_step_tokens: int = setting(2_048, "Most new tokens of a session in one step.")
    """New tokens of a session in one forward. Longer first texts span several steps, and a token
    sees those of its peers' new tokens that are fed in the same step or before. A session that no
    longer fits into a step with others sits it out, and comes first in the next; under `overlapped`
    visibility, where nobody knows what the peers feed, none sits out."""

    prefill_chunk: int = setting(512, "Most prompt tokens in one forward pass.")
    """For blocks that are encoded alone: the prompt and the separators."""

    attention: str | None = setting(
        None, "cpu-flash, matmul or module:function; picked if left out."
    )
    """Name of an attention kernel (`attention.registry`), or ``module:function`` for your own; None
    picks the fastest known one for the device."""

    def __post_init__(self) -> None:
        for name in ("cache_tokens", "max_step_tokens", "prefill_chunk"):
            value = getattr(self, name)
            if value < 1:
                raise ConfigError(f"{name} is {value}; it must be at least 1.")
            if value > MAX_TOKENS:
                raise ConfigError(f"{name} is {value}; it must be at most {MAX_TOKENS}.")

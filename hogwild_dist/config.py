"""Settings as frozen dataclasses, which refuse bad values in one sentence."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from hogwild_dist.errors import ConfigError, check_positive
from hogwild_dist.settings import setting


class Visibility(Enum):
    """When a worker sees the others' newest tokens; it always sees its own."""

    SAME_STEP = "same-step"
    """In the same step, layer by layer, exactly as in the paper."""

    NEXT_STEP = "next-step"
    """One step later."""

    OVERLAPPED = "overlapped"
    """Two steps later: a step is exchanged while the next one computes."""


class ExchangeBackend(Enum):
    """Library that carries K and V between shards."""

    GLOO = "gloo"
    """Over TCP, from the CPU's memory; from and to GPUs, too."""

    NCCL = "nccl"
    """From GPU to GPU; each shard needs one of its own."""


MAX_TOP_K = 1 << 31
"""More tokens than any vocabulary has."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SamplingConfig:
    """How the next token is chosen; the defaults choose the likeliest token.

    Scores stay finite with every value that is allowed.

    Raises:
        ConfigError: a number is out of range, or not a number.
    """

    temperature: float = 0.0
    """0 is greedy; otherwise logits are divided by it."""

    top_p: float = 1.0
    top_k: int = 0
    """0 keeps all tokens."""

    min_p: float = 0.0
    repetition_penalty: float = 1.0
    """Applies to all tokens in the worker's view, as in transformers; 1 is no penalty."""

    forbidden_ids: tuple[int, ...] = ()
    """Ids of tokens that are never chosen."""

    logit_bias: Mapping[int, float] = field(default_factory=dict)
    """Token id -> number that is added to its logit."""

    def __post_init__(self) -> None:
        for token in (*self.forbidden_ids, *self.logit_bias):
            if not isinstance(token, int) or token < 0:
                raise ConfigError(f"Token id {token} is no id of a token; ids are 0 or more.")
        for name, value, good, allowed in (
            (
                "temperature",
                self.temperature,
                self.temperature == 0 or 1e-10 <= self.temperature <= 1e10,
                "0 (greedy) or from 1e-10 to 1e10",
            ),
            ("top_p", self.top_p, 0 < self.top_p <= 1, "above 0 and at most 1"),
            (
                "top_k",
                self.top_k,
                isinstance(self.top_k, int) and 0 <= self.top_k <= MAX_TOP_K,
                f"a whole number from 0 (off) to {MAX_TOP_K}",
            ),
            ("min_p", self.min_p, 0 <= self.min_p <= 1, "from 0 to 1"),
            (
                "repetition_penalty",
                self.repetition_penalty,
                1e-3 <= self.repetition_penalty <= 1e3,
                "from 0.001 to 1000 (1 is none)",
            ),
            *(
                (f"logit_bias of token {token}", bias, -1e6 <= bias <= 1e6, "from -1e6 to 1e6")
                for token, bias in self.logit_bias.items()
            ),
        ):
            if not good:
                raise ConfigError(f"{name} is {value}; it must be {allowed}.")


MAX_TOKENS = 1 << 40
"""More tokens than any memory holds, few enough for arithmetic in 64 bits."""


@dataclass(frozen=True, kw_only=True, slots=True)
class EngineConfig:
    """Settings that an engine keeps for its life."""

    visibility: Visibility = setting(
        Visibility.SAME_STEP, "When a worker sees the others' newest token."
    )
    cache_tokens: int = setting(65_536, "Size of the KV cache in tokens, over all sessions.")
    max_step_tokens: int = setting(2_048, "Most new tokens of a session in one step.")
    """Longer first texts span several steps, in which a token sees only those new tokens of the
    others that are fed in the same step or earlier. A session that does not fit into a step with
    others skips it and comes first in the next. Under `overlapped` visibility no session is
    skipped, since what the peers feed is not known in time."""

    prefill_chunk: int = setting(512, "Most prompt tokens in one forward pass.")
    """Applies to texts that no worker writes, such as prompts and separators."""

    attention: str | None = setting(
        None,
        "cpu-flash, triton, matmul, tables (slow: the reference of triton) or module:function; "
        "picked if left out.",
    )
    """Name of an attention kernel (`attention.registry`), or ``module:function`` for your own; None
    picks the fastest known one for device and dtype."""

    exchange_backend: ExchangeBackend | None = setting(
        None, "Library that carries K and V between shards; picked if left out."
    )
    """None picks NCCL between GPUs and gloo between CPUs; a single process needs none."""

    graphs: bool = setting(True, "Run decode steps as CUDA graphs on a GPU.")
    """Decode steps of attention kernels that are driven by tables (`triton`, `tables`) run from
    fixed buffers: on a GPU as CUDA graphs, on a CPU as plain calls."""

    def __post_init__(self) -> None:
        for name in ("cache_tokens", "max_step_tokens", "prefill_chunk"):
            value = getattr(self, name)
            check_positive(name, value)
            if value > MAX_TOKENS:
                raise ConfigError(f"{name} is {value}; it must be at most {MAX_TOKENS}.")

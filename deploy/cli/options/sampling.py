"""Options of sampling and of limits."""

from dataclasses import dataclass, replace
from typing import Annotated

import typer

from hogwild_dist import Limits, SamplingConfig


@dataclass(frozen=True, kw_only=True, slots=True)
class SamplingOptions:
    """How the next token is chosen; what is left out is as the model recommends, else greedy."""

    temperature: Annotated[
        float | None, typer.Option(help="0 always picks the likeliest token.")
    ] = None
    top_p: Annotated[
        float | None, typer.Option(help="Keep the likeliest tokens of this total probability.")
    ] = None
    top_k: Annotated[int | None, typer.Option(help="Keep this many tokens; 0 keeps all.")] = None
    min_p: Annotated[
        float | None, typer.Option(help="Drop tokens below this share of the likeliest one.")
    ] = None
    repetition_penalty: Annotated[
        float | None, typer.Option(help="Above 1 discourages repetition.")
    ] = None
    forbid: Annotated[
        list[int] | None, typer.Option(help="Token id that is never chosen; repeat for more.")
    ] = None

    def config(self, recommended: SamplingConfig | None = None) -> SamplingConfig:
        """Return the sampling configuration.

        Args:
            recommended: sampling of what the options leave out; None is greedy.

        Raises:
            ConfigError: a number is out of range.
        """
        base = recommended or SamplingConfig()
        return replace(
            base,
            temperature=base.temperature if self.temperature is None else self.temperature,
            top_p=base.top_p if self.top_p is None else self.top_p,
            top_k=base.top_k if self.top_k is None else self.top_k,
            min_p=base.min_p if self.min_p is None else self.min_p,
            repetition_penalty=(
                base.repetition_penalty
                if self.repetition_penalty is None
                else self.repetition_penalty
            ),
            forbidden_ids=tuple(self.forbid or ()),
        )

    def recorded(self) -> dict[str, object]:
        """Return option -> value of a greedy model, as results of an evaluation record it."""
        config = self.config()
        return {
            "temperature": config.temperature,
            "top_p": config.top_p,
            "top_k": config.top_k,
            "min_p": config.min_p,
            "repetition_penalty": config.repetition_penalty,
            "forbid": self.forbid,
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class LimitOptions:
    """When workers and sessions stop."""

    max_tokens: Annotated[int, typer.Option(help="Most tokens of each worker.")] = 256
    max_total_tokens: Annotated[
        int | None, typer.Option(help="Most tokens of all workers together.")
    ] = None
    stop: Annotated[
        list[str] | None,
        typer.Option(help="Text that stops its worker; repeat for more."),
    ] = None

    def limits(self) -> Limits:
        """Return the limits.

        Raises:
            ConfigError: a number is out of range.
        """
        return Limits(
            max_tokens=self.max_tokens,
            max_total_tokens=self.max_total_tokens,
            stop_strings=tuple(self.stop or ()),
        )

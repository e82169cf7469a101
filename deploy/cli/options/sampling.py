"""Options of sampling and of limits."""

from dataclasses import dataclass
from typing import Annotated

import typer

from hogwild_dist import Limits, SamplingConfig


@dataclass(frozen=True, kw_only=True, slots=True)
class SamplingOptions:
    """How the next token is chosen."""

    temperature: Annotated[float, typer.Option(help="0 always picks the likeliest token.")] = 0.0
    top_p: Annotated[
        float, typer.Option(help="Keep the likeliest tokens of this total probability.")
    ] = 1.0
    top_k: Annotated[int, typer.Option(help="Keep this many tokens; 0 keeps all.")] = 0
    min_p: Annotated[
        float, typer.Option(help="Drop tokens below this share of the likeliest one.")
    ] = 0.0
    repetition_penalty: Annotated[float, typer.Option(help="Above 1 discourages repetition.")] = 1.0
    forbid: Annotated[
        list[int] | None, typer.Option(help="Token id that is never chosen; repeat for more.")
    ] = None

    def config(self) -> SamplingConfig:
        """Return the sampling configuration.

        Raises:
            ConfigError: a number is out of range.
        """
        return SamplingConfig(
            temperature=self.temperature,
            top_p=self.top_p,
            top_k=self.top_k,
            min_p=self.min_p,
            repetition_penalty=self.repetition_penalty,
            forbidden_ids=tuple(self.forbid or ()),
        )


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

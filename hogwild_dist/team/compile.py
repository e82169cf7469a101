"""From a team and a problem to the specification of a session."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from transformers import PreTrainedTokenizerBase

from hogwild_dist.config import SamplingConfig
from hogwild_dist.errors import ConfigError
from hogwild_dist.session.spec import AnswerRule, FinisherSpec, SessionSpec, WorkerSpec
from hogwild_dist.team.answer_policy import FINISHER, AnswerPolicy, finisher_view
from hogwild_dist.team.prompts import load_prompts
from hogwild_dist.team.texts import TeamTexts
from hogwild_dist.team.tokenizer_utils import (
    check_text,
    own_end_ids,
    single_tokens,
    special_ids,
)

if TYPE_CHECKING:
    from hogwild_dist.team.team import Team


def compile_session(
    team: "Team",
    problem: str,
    tokenizer: PreTrainedTokenizerBase,
    end_ids: frozenset[int] = frozenset(),
) -> tuple[dict[str, str], SessionSpec]:
    """Return the text of each block that a session starts from, and its specification.

    Args:
        team: the team that works on the problem.
        problem: text of the problem.
        tokenizer: tokenizer of the model.
        end_ids: end-of-text tokens that the model names in addition to the tokenizer's.

    Raises:
        ConfigError: the problem is empty, or names, layout and prompts do not fit together.
    """
    if not problem.strip():
        raise ConfigError("The problem is empty; say what the team should work on.")
    team.check()
    check_text("The problem", problem)
    prompts = team.prompts or load_prompts(team.layout.name)
    form = None if team.answer_policy is None else team.answer_policy.form.kind.value
    texts = TeamTexts(team.names, team.members, team.layout, problem, prompts, tokenizer, form)
    blocks = texts.shared()
    shared = {name: texts.encode(name, text) for name, text in blocks.items()}
    forbidden = {*special_ids(tokenizer), *end_ids}
    forbidden |= single_tokens(tokenizer, (*prompts.settings.forbid, texts.thinking.end))
    workers = _workers(team, texts, forbidden)
    blocks |= {worker.view[-1]: texts.first(worker.name) for worker in workers}
    answer_text = tuple(texts.encoder.go_on(texts.finisher()))
    return {name: str(text) for name, text in blocks.items()}, SessionSpec(
        workers=workers,
        shared=shared,
        shared_prefixes=texts.shared_prefixes(shared),
        seed=team.seed,
        paragraph_prefix=texts.prefix(),
        redundancy=texts.redundancy(),
        whole_code=True,
        stop_strings=team.limits.stop_strings,
        end_ids=frozenset(own_end_ids(tokenizer)) | end_ids,
        max_total_tokens=team.limits.max_total_tokens,
        until=tuple(team.names.index(name) for name in team.until),
        answer_rule=_answer_rule(team, team.answer_policy, workers, answer_text),
    )


def _workers(team: "Team", texts: TeamTexts, forbidden: set[int]) -> tuple[WorkerSpec, ...]:
    """Return the specification of each worker, in team order."""
    views = team.layout.views(team.names, texts.briefed)
    newcomers_at = team.layout.newcomers_at(team.names, texts.briefed)
    return tuple(
        WorkerSpec(
            name=name,
            view=view,
            first_input=texts.encode(view[-1], texts.first(name)),
            sampling=_sampling(team, name, forbidden),
            paragraphs_to=team.layout.rule(name).paragraphs_to,
            seen=team.layout.rule(name).seen,
            newcomers_at=place,
            max_tokens=team.member(name).max_tokens or team.limits.max_tokens,
        )
        for name, view, place in zip(team.names, views, newcomers_at, strict=True)
    )


def _sampling(team: "Team", worker: str, forbidden: set[int]) -> SamplingConfig:
    """Return a worker's sampling; a worker that writes paragraphs may not end its text.

    As in the reference implementation, it may choose neither begin- nor end-of-text, so that it
    does not leave the team early, and no headings, which would end sections of the prompt.
    """
    sampling = team.member(worker).sampling or team.sampling
    if team.layout.rule(worker).paragraphs_to is None:
        return sampling
    return replace(sampling, forbidden_ids=tuple(sorted({*sampling.forbidden_ids, *forbidden})))


def _answer_rule(
    team: "Team",
    policy: AnswerPolicy | None,
    workers: Sequence[WorkerSpec],
    text: tuple[int, ...],
) -> AnswerRule | None:
    """Return the session's rule for the team's answer.

    Args:
        team: the team.
        policy: the team's answer policy; None asks for no answer.
        workers: specifications of the workers.
        text: first tokens of a stated answer.
    """
    if policy is None:
        return None
    if not policy.finisher_tokens:
        finishers = []
    elif policy.vote:
        finishers = [
            _finisher(policy, f"{FINISHER} of {worker.name}", worker.view, text, index)
            for index, worker in enumerate(workers)
        ]
    else:
        view = finisher_view(team.layout, team.names)
        finishers = [_finisher(policy, FINISHER, view, text, None)]
    return AnswerRule(
        form=policy.form,
        by=tuple(team.names.index(name) for name in policy.by),
        each=policy.vote,
        finishers=tuple(finishers),
        budgets=policy.budgets,
    )


def _finisher(
    policy: AnswerPolicy, name: str, view: tuple[str, ...], text: tuple[int, ...], of: int | None
) -> FinisherSpec:
    """Return a worker that states the team's answer, or the answer of the worker `of`."""
    return FinisherSpec(
        of=of,
        spec=WorkerSpec(
            name=name,
            view=(*view, f"finisher{of or 0}"),
            first_input=text,
            sampling=policy.finisher_sampling or SamplingConfig(),
            max_tokens=policy.finisher_tokens,
            newcomers_at=None if policy.vote else len(view),
        ),
    )

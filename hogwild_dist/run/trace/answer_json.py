"""How a trace keeps the way to an answer."""

from collections.abc import Mapping
from typing import Any

from hogwild_dist.config import SamplingConfig
from hogwild_dist.run.trace.sampling_json import sampling_from_json, sampling_to_json
from hogwild_dist.session.answers import AnswerForm, FormKind
from hogwild_dist.session.spec import AnswerRule, FinisherSpec, WorkerSpec


def answer_rule_to_json(rule: AnswerRule) -> dict[str, Any]:
    """The field `params.finish` of a trace."""
    return {
        "form": rule.form.kind.value,
        "pattern": rule.form.pattern,
        "by": list(rule.by),
        "each": rule.each,
        "budgets": list(rule.budgets),
        "finishers": [
            {
                "of": one.of,
                "name": one.spec.name,
                "view": list(one.spec.view),
                "first_input": list(one.spec.first_input),
                "max_tokens": one.spec.max_tokens,
                "sampling": sampling_to_json(one.spec.sampling),
                "newcomers_at": one.spec.newcomers_at,
            }
            for one in rule.finishers
        ],
    }


def answer_rule_from_json(fields: Mapping[str, Any]) -> AnswerRule:
    """The rule that a trace was recorded with."""
    return AnswerRule(
        form=AnswerForm(kind=FormKind(fields["form"]), pattern=fields["pattern"]),
        by=tuple(fields["by"]),
        each=fields["each"],
        budgets=tuple(fields["budgets"]),
        finishers=tuple(
            FinisherSpec(
                of=one["of"],
                spec=WorkerSpec(
                    name=one["name"],
                    view=tuple(one["view"]),
                    first_input=tuple(one["first_input"]),
                    max_tokens=one["max_tokens"],
                    sampling=sampling_from_json(one["sampling"])
                    if one.get("sampling")
                    else SamplingConfig(),
                    newcomers_at=one.get("newcomers_at"),
                ),
            )
            for one in fields["finishers"]
        ),
    )

"""The JSON of a session's spec in a trace, in both directions.

Format 1 is that of the reference implementation's recordings. Format 2 adds `visibility`,
`sampling`, the session's limits, and events that name their target block. docs/traces.md lists the
fields.
"""

from collections.abc import Mapping
from typing import Any

from hogwild_dist.config import EngineConfig, SamplingConfig
from hogwild_dist.errors import ConfigError
from hogwild_dist.session.answers import AnswerForm, FormKind
from hogwild_dist.session.spec import (
    AnswerRule,
    FinisherSpec,
    RedundancyCheck,
    SessionSpec,
    WorkerSpec,
)


def header(spec: SessionSpec, config: EngineConfig, about: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a format-2 trace that are known before the first step.

    Args:
        spec: the recorded session.
        config: configuration of the engine.
        about: further fields: `model`, `kind`, `texts` (block name -> text).
    """
    forbidden = list(spec.workers[0].sampling.forbidden_ids)
    return {
        "format": 2,
        "workers": [worker.name for worker in spec.workers],
        "layout": [list(worker.view) for worker in spec.workers],
        "write_to": [worker.view[-1] for worker in spec.workers],
        "prefill": {
            name: {"ids": list(ids), "text": about["texts"].get(name, "")}
            for name, ids in spec.shared.items()
        },
        "forbidden": forbidden,
        "forbid_mode": "suppress" if forbidden else None,
        "visibility": config.visibility.value,
        "max_step_tokens": config.max_step_tokens,
        "sampling": [_sampling_to_json(worker.sampling) for worker in spec.workers],
        "model": about["model"],
        "params": _params_to_json(spec, about),
    }


def spec_from_json(raw: Mapping[str, Any]) -> SessionSpec:
    """Return the spec that a trace of either format was recorded with.

    Raises:
        ConfigError: the fields do not fit together.
    """
    params = raw["params"]
    return SessionSpec(
        workers=tuple(_worker_from_json(raw, index) for index in range(len(raw["workers"]))),
        shared={name: tuple(block["ids"]) for name, block in raw["prefill"].items()},
        seed=params.get("seed", 0),
        paragraph_prefix=params.get("step_prefix", ""),
        redundancy=_redundancy_from_json(params),
        whole_code=params.get("whole_code", False),
        stop_strings=tuple(params.get("stop_strings", ())),
        end_ids=frozenset(params.get("end_ids", ())),
        max_total_tokens=params.get("max_total_tokens"),
        until=tuple(params.get("until", ())),
        answer_rule=_answer_rule_from_json(params["finish"]) if params.get("finish") else None,
    )


def _params_to_json(spec: SessionSpec, about: Mapping[str, Any]) -> dict[str, Any]:
    check = spec.redundancy
    return {
        "kind": about["kind"],
        "first_inputs": [list(worker.first_input) for worker in spec.workers],
        "worker_prompts": [about["texts"].get(worker.view[-1], "") for worker in spec.workers],
        "step_prefix": spec.paragraph_prefix,
        "first_index": [worker.first_paragraph for worker in spec.workers],
        "s1_every": check.every if check else None,
        "s1_message": check.question if check else None,
        "s1_counted": check.counted if check else "team",
        "whole_code": spec.whole_code,
        "paragraphs_to": [worker.paragraphs_to for worker in spec.workers],
        "max_tokens": [worker.max_tokens for worker in spec.workers],
        "seen": [worker.seen for worker in spec.workers],
        "newcomers_at": [worker.newcomers_at for worker in spec.workers],
        "stop_at": _by_index([worker.stop_at_step for worker in spec.workers]),
        "stop_after_step": _by_index([worker.stop_after_paragraph for worker in spec.workers]),
        "seed": spec.seed,
        "stop_strings": list(spec.stop_strings),
        "end_ids": sorted(spec.end_ids),
        "max_total_tokens": spec.max_total_tokens,
        "until": list(spec.until),
        "finish": None if spec.answer_rule is None else _answer_rule_to_json(spec.answer_rule),
    }


def _by_index(values: list[int | None]) -> dict[str, int]:
    """Return the values that are set, under the workers' indices."""
    return {str(index): value for index, value in enumerate(values) if value is not None}


def _worker_from_json(raw: Mapping[str, Any], index: int) -> WorkerSpec:
    """Return the spec of one worker. Format 1 lacks some fields, which take its defaults."""
    params, name, key = raw["params"], raw["workers"][index], str(index)
    view, written = tuple(raw["layout"][index]), raw["write_to"][index]
    if view[-1] != written:
        raise ConfigError(f"{name!r} writes {written!r}, which is not the end of its view.")
    first_paragraph = params.get("first_index", 1)
    return WorkerSpec(
        name=name,
        view=view,
        first_input=_first_input(raw, index),
        sampling=_worker_sampling(raw, index),
        paragraphs_to=_paragraphs_to(raw, index),
        first_paragraph=first_paragraph[index] if raw["format"] == 2 else first_paragraph,
        max_tokens=params["max_tokens"][index] if params.get("max_tokens") else None,
        seen=params["seen"][index] if params.get("seen") else True,
        newcomers_at=params["newcomers_at"][index] if params.get("newcomers_at") else None,
        stop_at_step=(params.get("stop_at") or {}).get(key),
        stop_after_paragraph=(params.get("stop_after_step") or {}).get(key),
    )


def _first_input(raw: Mapping[str, Any], worker: int) -> tuple[int, ...]:
    """Return the tokens that a worker fed first; format 1 has them in the steps alone."""
    first_inputs = raw["params"].get("first_inputs")
    if first_inputs:
        return tuple(first_inputs[worker])
    for step in raw["steps"]:
        active = step.get("active", range(len(raw["workers"])))
        fed = dict(zip(active, step["input_ids"], strict=True))
        if worker in fed:
            return tuple(fed[worker])
    return (0,)  # it never took part


def _paragraphs_to(raw: Mapping[str, Any], worker: int) -> str | None:
    """Return the block that finished paragraphs move to; in format 1 the layout implies it."""
    params = raw["params"]
    if "paragraphs_to" in params:
        target: str | None = params["paragraphs_to"][worker]
        return target
    moves = params["kind"] in ("combined", "interleaved")
    return str(raw["layout"][worker][0]) if moves else None


def _redundancy_from_json(params: Mapping[str, Any]) -> RedundancyCheck | None:
    every = params.get("s1_every")
    if every is None:
        return None
    counted = params.get("s1_counted", "team")
    return RedundancyCheck(every=every, question=params["s1_message"], counted=counted)


def _worker_sampling(raw: Mapping[str, Any], worker: int) -> SamplingConfig:
    """Return a worker's sampling; format 1 has forbidden tokens alone."""
    if "sampling" in raw:
        return _sampling_from_json(raw["sampling"][worker])
    if raw["forbid_mode"] == "minus100":
        return SamplingConfig(logit_bias=dict.fromkeys(raw["forbidden"], -100.0))
    return SamplingConfig(forbidden_ids=tuple(raw["forbidden"]))


def _sampling_to_json(config: SamplingConfig) -> dict[str, Any]:
    fields = {name: getattr(config, name) for name in config.__dataclass_fields__}
    bias = {str(token): value for token, value in config.logit_bias.items()}
    return fields | {"forbidden_ids": list(config.forbidden_ids), "logit_bias": bias}


def _sampling_from_json(fields: Mapping[str, Any]) -> SamplingConfig:
    bias = {int(token): value for token, value in fields["logit_bias"].items()}
    config = {**fields, "forbidden_ids": tuple(fields["forbidden_ids"]), "logit_bias": bias}
    return SamplingConfig(**config)


def _answer_rule_to_json(rule: AnswerRule) -> dict[str, Any]:
    return {
        "form": rule.form.kind.value,
        "pattern": rule.form.pattern,
        "by": list(rule.by),
        "each": rule.each,
        "budgets": list(rule.budgets),
        "finishers": [_finisher_to_json(finisher) for finisher in rule.finishers],
    }


def _answer_rule_from_json(fields: Mapping[str, Any]) -> AnswerRule:
    return AnswerRule(
        form=AnswerForm(kind=FormKind(fields["form"]), pattern=fields["pattern"]),
        by=tuple(fields["by"]),
        each=fields["each"],
        budgets=tuple(fields["budgets"]),
        finishers=tuple(map(_finisher_from_json, fields["finishers"])),
    )


def _finisher_to_json(finisher: FinisherSpec) -> dict[str, Any]:
    return {
        "of": finisher.of,
        "name": finisher.spec.name,
        "view": list(finisher.spec.view),
        "first_input": list(finisher.spec.first_input),
        "max_tokens": finisher.spec.max_tokens,
        "sampling": _sampling_to_json(finisher.spec.sampling),
        "newcomers_at": finisher.spec.newcomers_at,
    }


def _finisher_from_json(fields: Mapping[str, Any]) -> FinisherSpec:
    sampling = fields.get("sampling")
    return FinisherSpec(
        of=fields["of"],
        spec=WorkerSpec(
            name=fields["name"],
            view=tuple(fields["view"]),
            first_input=tuple(fields["first_input"]),
            max_tokens=fields["max_tokens"],
            sampling=_sampling_from_json(sampling) if sampling else SamplingConfig(),
            newcomers_at=fields.get("newcomers_at"),
        ),
    )

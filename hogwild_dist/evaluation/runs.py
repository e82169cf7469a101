"""`evaluate`: one team on one question, run and graded."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, replace

from hogwild_dist.engine.engine import Engine
from hogwild_dist.errors import HogwildError
from hogwild_dist.evaluation.dataset import Item
from hogwild_dist.evaluation.grading import GraderError, GraderPool
from hogwild_dist.evaluation.passages import passages
from hogwild_dist.evaluation.records import Record
from hogwild_dist.evaluation.stats import redundancy
from hogwild_dist.run.backend import Backend
from hogwild_dist.run.run import Result, Run
from hogwild_dist.session.events import Event, Text
from hogwild_dist.team.answer_policy import team_answer
from hogwild_dist.team.team import Team


def evaluate(
    backend: Engine | Backend, item: Item, name: str, team: Team, graders: GraderPool
) -> Record:
    """Run a team on a question, grade its answers, and return the record, also of a failed run.

    Args:
        backend: engine or group of shards that runs the team.
        item: question with its known answer.
        name: name of the team in the results.
        team: team with an `answer_policy`.
        graders: grades the answers.
    """
    record = Record(
        team=name,
        seed=team.seed,
        line=item.line,
        question=item.question,
        known=item.answer,
        made_of=fingerprint(team),
    )
    try:
        with Run(backend, item.question, team) as run:
            events = list(run)
            result = run.result
    except HogwildError as error:
        return replace(record, error=str(error))
    answers = _answers(result, team)
    redundancies = redundancy(_team_pieces(events, len(team.names)))
    right, grading_error = _grade(answers, item, graders)
    return replace(
        record,
        answers=tuple(answers),
        right=tuple(right),
        tokens=sum(result.num_tokens[name] for name in team.names),
        forwards=result.num_steps - _num_finishing_steps(events, len(team.names)),
        seconds=result.seconds,
        redundancy={name: redundancies[name] for name in team.names if name in redundancies},
        transcript=tuple(passages(events, len(team.names))),
        error=grading_error,
    )


def fingerprint(team: Team) -> str:
    """Return a hash of a team, without its seed and the path of its prompts."""
    prompts = None if team.prompts is None else replace(team.prompts, label="")
    fields = asdict(replace(team, seed=0, prompts=prompts))
    text = json.dumps(fields, default=repr, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _answers(result: Result, team: Team) -> list[str | None]:
    policy = team.answer_policy
    assert policy is not None, "an evaluation asks for answers"
    budgets: Sequence[int | None] = [*policy.budgets, None]
    return [team_answer(result.answers, vote=policy.vote, budget=budget) for budget in budgets]


def _grade(
    answers: Sequence[str | None], item: Item, graders: GraderPool
) -> tuple[list[bool | None], str | None]:
    right: list[bool | None] = []
    grading_error = None
    for answer in answers:
        try:
            right.append(graders.grade(answer, item.answer, item.preamble))
        except GraderError as error:
            right.append(None)
            grading_error = f"{answer!r} was not graded: {error}."
    return right, grading_error


def _num_finishing_steps(events: Sequence[Event], num_workers: int) -> int:
    """Return the number of steps in which finishers wrote and the team waited."""
    return len({event.step for event in _chosen(events) if event.worker >= num_workers})


def _team_pieces(events: Sequence[Event], num_workers: int) -> list[tuple[str, str, int]]:
    """Return (name, text, step) of each text that the team's workers chose."""
    return [
        (event.name, event.text, event.step)
        for event in _chosen(events)
        if event.worker < num_workers
    ]


def _chosen(events: Sequence[Event]) -> list[Text]:
    return [event for event in events if isinstance(event, Text) and event.chosen]

"""Changes to a running session, with their texts filled in and encoded."""

from dataclasses import replace

from transformers import PreTrainedTokenizerBase

from hogwild_dist.errors import ConfigError
from hogwild_dist.model.prompt_text import PromptText
from hogwild_dist.session.changes import AddWorker, Interjection
from hogwild_dist.session.spec import WorkerSpec
from hogwild_dist.team.prompts import load_prompts
from hogwild_dist.team.session_request import SessionRequest
from hogwild_dist.team.team import Team
from hogwild_dist.team.texts import TeamTexts
from hogwild_dist.team.tokenizer_utils import check_text
from hogwild_dist.team.worker_profile import WorkerProfile


class ChangeTexts:
    """Makes changes for one session.

    Args:
        origin: request that started the session.
        tokenizer: tokenizer of the model.
    """

    def __init__(self, origin: SessionRequest, tokenizer: PreTrainedTokenizerBase) -> None:
        self._team = origin.team
        self._problem = origin.problem
        self._spec = origin.spec
        self._tokenizer = tokenizer

    def interjection(self, text: str, name: str, target: str | None = None) -> Interjection:
        """Return the change that sends a person's message to the team.

        Args:
            text: text of the message.
            name: name of the person.
            target: shared block that the text is appended to; None takes the one that all workers
                see.

        Raises:
            ConfigError: the text is empty, or all workers see no common block.
        """
        check_text("The message", text + name)
        target = target or self._spec.common_block
        if not text.strip():
            raise ConfigError("The message is empty; write some text.")
        if target is None:
            raise ConfigError(
                f"Layout {self._team.layout.name!r} has no shared block that all workers see, so "
                "no message can reach the whole team; add one to all views."
            )
        texts = self._texts(self._team)
        return _message(texts, name.strip(), texts.interjection(name.strip(), text.strip()), target)

    def add_worker(self, name: str, member: WorkerProfile) -> AddWorker:
        """Return the change that adds a worker by the layout's general rule.

        All workers read the newcomer's role in the history; in a layout without one, it begins the
        newcomer's own text.

        Args:
            name: name of the worker.
            member: profile of the worker.

        Raises:
            ConfigError: the name cannot be used.
        """
        team = replace(
            self._team, names=(name,), members={name: member}, answer_policy=None, until=(),
            layout=replace(self._team.layout, workers={}),
        )  # fmt: skip
        team.check()
        rule = team.layout.everyone
        members = {**self._team.members, name: member}
        everybody = replace(self._team, names=(*self._team.names, name), members=members)
        texts = self._texts(everybody)
        first = texts.first(name)
        if member.brief:
            first = PromptText.join((self._texts(team).brief(name), first), "\n\n")
        announcement = None
        told = texts.joined(name) if member.role else PromptText()
        if told and self._spec.common_block is not None:
            announcement = _message(texts, name, told, self._spec.common_block)
        else:
            first = told + first
        workers = self._spec.workers
        alike = next((w for w in workers if w.paragraphs_to == rule.paragraphs_to), workers[0])
        return AddWorker(
            announcement=announcement,
            role=member.role,
            worker=WorkerSpec(
                name=name,
                view=tuple(item for item in rule.view if item != "brief"),
                first_input=tuple(texts.encoder.go_on(first)),
                sampling=alike.sampling if member.sampling is None else member.sampling,
                paragraphs_to=rule.paragraphs_to,
                max_tokens=member.max_tokens or self._team.limits.max_tokens,
                seen=rule.seen,
            ),
        )

    def _texts(self, team: Team) -> TeamTexts:
        prompts = self._team.prompts or load_prompts(team.layout.name)
        form = (
            None if self._team.answer_policy is None else self._team.answer_policy.form.kind.value
        )
        return TeamTexts(
            team.names, team.members, team.layout, self._problem, prompts, self._tokenizer, form
        )


def _message(texts: TeamTexts, name: str, text: PromptText, target: str) -> Interjection:
    ids = tuple(texts.encoder.go_on(text))
    return Interjection(name=name, text=str(text), token_ids=ids, target=target)

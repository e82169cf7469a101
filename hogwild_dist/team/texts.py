"""The texts that a team's session starts from: templates filled in for one problem."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from transformers import PreTrainedTokenizerBase

from hogwild_dist.errors import ConfigError
from hogwild_dist.session.spec import RedundancyCheck
from hogwild_dist.team.layout import Layout, brief_name
from hogwild_dist.team.prompts import Prompts
from hogwild_dist.team.prompts.chat import Thinking, chat_text, thinking_tags
from hogwild_dist.team.tokenizer_utils import encode, num_alike
from hogwild_dist.team.worker_profile import WorkerProfile

OTHER_PROBLEM = "?"
"""Stands for any other problem, to see what of the texts stays the same."""


@dataclass(slots=True)
class TeamTexts:
    """Texts of one team on one problem.

    Attributes:
        names: of the workers.
        members: what is special about them.
        layout: who sees what.
        problem: on what.
        prompts: the templates.
        tokenizer: of the model.
        form: kind of the answer that is asked for, or None.
        chat: the chat template, up to where the team's text begins.
        thinking: reasoning tags that follow it.
    """

    names: Sequence[str]
    members: Mapping[str, WorkerProfile]
    layout: Layout
    problem: str
    prompts: Prompts
    tokenizer: PreTrainedTokenizerBase
    form: str | None = None
    chat: str = field(init=False)
    thinking: Thinking = field(init=False)

    def __post_init__(self) -> None:
        settings = self.prompts.settings
        instructions = self._render("instructions").strip()
        user = self._render("user")
        self.chat = chat_text(self.tokenizer, instructions, user, settings.message)
        self.thinking = thinking_tags(self.tokenizer, self.chat, settings.thinking)

    @property
    def briefed(self) -> set[str]:
        """Workers who are told something alone."""
        return {name for name in self.names if self._member(name).brief}

    def shared(self) -> dict[str, str]:
        """Texts of the shared blocks by name.

        Raises:
            ConfigError: a block has no text and is no place that paragraphs move to.
        """
        names, layout = self.names, self.layout
        filled_later = {layout.rule(name).paragraphs_to for name in names}
        briefs = {brief_name(index): name for index, name in enumerate(names)}
        texts = {}
        for block in layout.shared_blocks(names, self.briefed):
            if block in briefs:
                texts[block] = self.brief(briefs[block])
                continue
            template = f"blocks/{block}"
            if template not in self.prompts.templates and block not in {*filled_later, "common"}:
                raise ConfigError(
                    f"Layout {layout.name!r} shows the block {block!r}, which is neither in "
                    f"the prompts (blocks/{block}.jinja) nor a place that paragraphs move to."
                )
            texts[block] = self._render(template, **self._tags)
            if block == "common":
                texts[block] = self.chat + texts[block]
        return texts

    def shared_prefixes(self, shared: Mapping[str, Sequence[int]]) -> dict[str, int]:
        """How much of each shared block does not depend on the problem.

        Args:
            shared: name -> tokens of the block.

        Returns:
            Name -> number of its first tokens that teams on other problems begin with too.
        """
        other = replace(self, problem=OTHER_PROBLEM).shared()
        return {
            name: num_alike(ids, encode(self.tokenizer, other[name]))
            for name, ids in shared.items()
        }

    def first(self, worker: str) -> str:
        """What a worker's own text begins with."""
        own = self._member(worker).first
        return self._of_worker("first", worker) if own is None else own

    def brief(self, worker: str) -> str:
        """What a worker alone is told."""
        return self._of_worker("brief", worker)

    def interjection(self, speaker: str, text: str) -> str:
        """What a person says, as the workers read it."""
        return self._render("interjection", speaker=speaker, text=text)

    def prefix(self) -> str:
        """The paragraph prefix with ``{worker}`` and ``{index}`` left open."""
        return self.prompts.render("prefix", worker="{worker}", index="{index}")

    def redundancy(self) -> RedundancyCheck | None:
        """The redundancy question, unless the settings or the prompts leave it out."""
        settings = self.prompts.settings.redundancy
        question = self._render("redundancy")
        if not settings.every or not question:
            return None
        return RedundancyCheck(every=settings.every, question=question, counted=settings.counted)

    def finisher(self) -> str:
        """What the text begins with that states the answer when time is short."""
        return self._render("finisher", **self._tags)

    @property
    def _tags(self) -> dict[str, str]:
        return {"think_open": self.thinking.open, "think_close": self.thinking.close}

    def _of_worker(self, template: str, worker: str) -> str:
        member = self._member(worker)
        return self._render(template, worker=worker, role=member.role, brief=member.brief)

    def _render(self, template: str, **values: Any) -> str:
        roles = {name: self._member(name).role for name in self.names}
        return self.prompts.render(
            template,
            problem=self.problem,
            names=list(self.names),
            roles={name: role for name, role in roles.items() if role},
            layout=self.layout.name,
            form=self.form,
            **values,
        )

    def _member(self, worker: str) -> WorkerProfile:
        return self.members.get(worker, WorkerProfile())

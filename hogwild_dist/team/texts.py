"""The texts that a session starts from: templates filled in for a team and a problem."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from transformers import PreTrainedTokenizerBase

from hogwild_dist.errors import ConfigError
from hogwild_dist.model.prompt_text import PromptText
from hogwild_dist.model.text_encoder import TextEncoder
from hogwild_dist.session.spec import RedundancyCheck
from hogwild_dist.team.layout import Layout, brief_name
from hogwild_dist.team.prompts import Prompts
from hogwild_dist.team.prompts.chat import Thinking, chat_text, thinking_tags
from hogwild_dist.team.prompts.templates import Tag
from hogwild_dist.team.tokenizer_utils import num_alike
from hogwild_dist.team.worker_profile import WorkerProfile

OTHER_PROBLEM = "?"
"""Any other problem, to find which part of the texts does not depend on the problem."""


@dataclass(slots=True)
class TeamTexts:
    """The texts of one team on one problem.

    Attributes:
        names: names of the workers.
        members: worker name -> profile.
        layout: layout of the team.
        problem: text of the problem.
        prompts: templates of the texts.
        tokenizer: tokenizer of the model.
        form: kind of the required answer, or None.
        chat: rendered chat template up to the beginning of the team's text.
        encoder: encodes the texts.
        thinking: reasoning tags that follow the chat template.
    """

    names: Sequence[str]
    members: Mapping[str, WorkerProfile]
    layout: Layout
    problem: str
    prompts: Prompts
    tokenizer: PreTrainedTokenizerBase
    form: str | None = None
    chat: PromptText = field(init=False)
    thinking: Thinking = field(init=False)
    encoder: TextEncoder = field(init=False)

    def __post_init__(self) -> None:
        settings = self.prompts.settings
        instructions = self._render("instructions").lstrip().rstrip()
        user = self._render("user")
        self.chat = chat_text(self.tokenizer, instructions, user, settings.message)
        self.thinking = thinking_tags(self.tokenizer, str(self.chat), settings.thinking)
        self.encoder = TextEncoder(self.tokenizer)

    @property
    def briefed(self) -> set[str]:
        """Names of the workers that have a brief."""
        return {name for name in self.names if self._member(name).brief}

    def shared(self) -> dict[str, PromptText]:
        """Return shared block -> text.

        Raises:
            ConfigError: a block has no template, and no paragraphs move to it.
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
                    f"Layout {layout.name!r} shows the block {block!r}, which has no template "
                    f"(blocks/{block}.jinja) and receives no paragraphs; add the template."
                )
            texts[block] = self._render(template, **self._tags)
            if block == "common":
                texts[block] = self.chat + texts[block]
        return texts

    def encode(self, block: str, text: PromptText) -> tuple[int, ...]:
        """Return the tokens of a block's first text.

        Args:
            block: name of the block; where a view begins with it, the text begins a sequence.
            text: text of the block.
        """
        views = self.layout.views(self.names, self.briefed)
        begins = any(view[0] == block for view in views)
        return tuple(self.encoder.begin(text) if begins else self.encoder.go_on(text))

    def shared_prefixes(self, shared: Mapping[str, Sequence[int]]) -> dict[str, int]:
        """Return how much of each shared block does not depend on the problem.

        Args:
            shared: shared block -> tokens.

        Returns:
            Shared block -> number of first tokens that teams on other problems have too.
        """
        other = replace(self, problem=OTHER_PROBLEM).shared()
        return {
            name: num_alike(ids, self.encode(name, other[name])) for name, ids in shared.items()
        }

    def first(self, worker: str) -> PromptText:
        """Return the beginning of a worker's own text."""
        own = self._member(worker).first
        return self._of_worker("first", worker) if own is None else PromptText.typed(own)

    def brief(self, worker: str) -> PromptText:
        """Return the text that only this worker reads."""
        return self._of_worker("brief", worker)

    def interjection(self, speaker: str, text: str) -> PromptText:
        """Return a person's message as the workers read it."""
        return self._render("interjection", speaker=speaker, text=text)

    def joined(self, worker: str) -> PromptText:
        """Return the message that tells the team a newcomer's role."""
        return self._of_worker("joined", worker)

    def prefix(self) -> str:
        """Return the paragraph prefix with the placeholders ``{worker}`` and ``{index}``."""
        return str(self.prompts.render("prefix", worker="{worker}", index="{index}"))

    def redundancy(self) -> RedundancyCheck | None:
        """Return the redundancy question, or None if settings or prompts omit it."""
        settings = self.prompts.settings.redundancy
        question = str(self._render("redundancy"))
        if not settings.every or not question:
            return None
        return RedundancyCheck(every=settings.every, question=question, counted=settings.counted)

    def finisher(self) -> PromptText:
        """Return the beginning of a stated answer."""
        return self._render("finisher", **self._tags)

    @property
    def _tags(self) -> dict[str, str]:
        return {"think_open": Tag(self.thinking.open), "think_close": Tag(self.thinking.close)}

    def _of_worker(self, template: str, worker: str) -> PromptText:
        member = self._member(worker)
        return self._render(template, worker=worker, role=member.role, brief=member.brief)

    def _render(self, template: str, **values: Any) -> PromptText:
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

"""The text before the team's own: a model's chat template, and its reasoning tags."""

from dataclasses import dataclass
from typing import Literal

from transformers import PreTrainedTokenizerBase

from hogwild_dist.model.prompt_text import PromptText
from hogwild_dist.team.prompts.chat_frame import chat_frames


@dataclass(frozen=True, slots=True)
class Thinking:
    """Tags around the thoughts of a reasoning model; empty for other models.

    Attributes:
        open: text before the team's text; empty if the chat template already ends with it.
        close: text after the team's text.
        end: closing tag, which workers may not write.
    """

    open: str = ""
    close: str = ""
    end: str = ""


def chat_text(
    tokenizer: PreTrainedTokenizerBase,
    instructions: PromptText,
    user: PromptText,
    message: Literal["system", "user"] = "system",
) -> PromptText:
    """Return the rendered chat template up to the beginning of the answer.

    The user's message carries the instructions too if the template writes no system message.
    Models without a chat template get the two messages as plain text.

    Args:
        tokenizer: tokenizer of the model.
        instructions: rules of the team; may be empty.
        user: the user's message.
        message: the message that carries the instructions.

    Raises:
        ModelError: the template cannot be used.
    """
    merged = PromptText.join(filter(None, (instructions, user)), "\n\n")
    if tokenizer.chat_template is None:
        return merged + PromptText.markup("\n\n")
    frames = chat_frames(tokenizer)
    if not instructions or message == "user" or frames.with_system is None:
        return frames.user_only.fill(PromptText(), merged)
    return frames.with_system.fill(instructions, user)


def thinking_tags(
    tokenizer: PreTrainedTokenizerBase, chat: str, setting: Literal["auto", "on", "off"] = "auto"
) -> Thinking:
    """Return the reasoning tags of a model after its chat text.

    Args:
        tokenizer: tokenizer of the model.
        chat: text from `chat_text`; some templates end with the opening tag.
        setting: `auto` looks for the tag in the chat template.
    """
    templates = tokenizer.chat_template
    known = str(templates.values() if isinstance(templates, dict) else templates)
    if setting == "off" or (setting == "auto" and "<think>" not in known):
        return Thinking()
    opened = chat.rstrip().endswith("<think>")
    return Thinking("" if opened else "<think>\n", "\n</think>\n\n", "</think>")

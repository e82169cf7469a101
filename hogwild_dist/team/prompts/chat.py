"""A model's chat template up to the beginning of the answer, and its reasoning tags."""

from dataclasses import dataclass
from typing import Any, Literal

import jinja2
from transformers import PreTrainedTokenizerBase


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
    instructions: str,
    user: str,
    message: Literal["system", "user"] = "system",
) -> str:
    """Return the rendered chat template up to the beginning of the answer.

    Models without a chat template get the two messages as plain text.

    Args:
        tokenizer: tokenizer of the model.
        instructions: rules of the team; may be empty.
        user: the user's message.
        message: the message that carries the instructions.
    """
    if tokenizer.chat_template is None:
        return "\n\n".join(filter(None, (instructions, user))) + "\n\n"
    asked = {"role": "user", "content": user}
    merged = {"role": "user", "content": "\n\n".join(filter(None, (instructions, user)))}
    if not instructions or message == "user":
        return _apply(tokenizer, [merged])
    try:
        return _apply(tokenizer, [{"role": "system", "content": instructions}, asked])
    except jinja2.TemplateError:  # templates refuse a system role this way
        return _apply(tokenizer, [merged])


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


def _apply(tokenizer: PreTrainedTokenizerBase, messages: list[dict[str, str]]) -> str:
    text: Any = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    return str(text)

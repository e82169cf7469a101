"""What a chat template writes around the instructions and the user's message.

The template is rendered once with a placeholder for each of them. What people type is filled in
afterwards, so it can neither steer the template nor pass for its markup, and a template that drops
a message is noticed.
"""

import json
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from pathlib import Path
from typing import Any, Self

from transformers import PreTrainedTokenizerBase

from hogwild_dist.errors import ModelError, first_line
from hogwild_dist.model.prompt_text import PromptText

INSTRUCTIONS, USER = "\U000f0000instructions\U000f0000", "\U000f0000user\U000f0000"
"""Placeholders; their private-use characters occur in no template."""

PADDING = "\u2003"
"""Space around a placeholder: a template that trims its messages removes it, and writes none."""

MAX_CHARS = 1 << 20
CPU_SECONDS = 10
WALL_SECONDS = 60
MEMORY_BYTES = 2 << 30
"""Limits of the process that renders a template."""

_RENDERER = Path(__file__).with_name("chat_renderer.py")


@dataclass(frozen=True, slots=True)
class Slot:
    """A place of a message in a rendered chat.

    Attributes:
        placeholder: `INSTRUCTIONS` or `USER`.
        trims: whether the template removes whitespace before and after the message.
    """

    placeholder: str
    trims: tuple[bool, bool]

    def fill(self, texts: Mapping[str, PromptText]) -> PromptText:
        """Return the message as the template writes it."""
        text = texts[self.placeholder]
        left, right = self.trims
        text = text.lstrip() if left else text
        return text.rstrip() if right else text


@dataclass(frozen=True, slots=True)
class ChatFrame:
    """One rendered chat, with slots in place of its messages."""

    pieces: tuple[str | Slot, ...]

    @classmethod
    def read(cls, rendered: str) -> Self:
        """Return the frame of a chat that was rendered with padded placeholders."""
        pieces: list[str | Slot] = []
        stop = 0
        for found in re.finditer(f"({PADDING}?)({INSTRUCTIONS}|{USER})({PADDING}?)", rendered):
            before, placeholder, after = found.groups()
            pieces += [rendered[stop : found.start()], Slot(placeholder, (not before, not after))]
            stop = found.end()
        return cls((*pieces, rendered[stop:]))

    def has(self, *placeholders: str) -> bool:
        """Return whether the chat contains all of the messages."""
        return set(placeholders) <= {p.placeholder for p in self.pieces if isinstance(p, Slot)}

    def fill(self, instructions: PromptText, user: PromptText) -> PromptText:
        """Return the chat with its messages."""
        texts = {INSTRUCTIONS: instructions, USER: user}
        return PromptText.join(
            piece.fill(texts) if isinstance(piece, Slot) else PromptText.markup(piece)
            for piece in self.pieces
        )


@dataclass(frozen=True, slots=True)
class ChatFrames:
    """The chats that a template can write.

    Attributes:
        with_system: a system message and a user's message, or None if the template drops one.
        user_only: a user's message alone.
    """

    with_system: ChatFrame | None
    user_only: ChatFrame


def chat_frames(tokenizer: PreTrainedTokenizerBase) -> ChatFrames:
    """Return the chats of a tokenizer's chat template.

    Raises:
        ModelError: the template is missing, fails, or drops the user's message.
    """
    try:
        template = tokenizer.get_chat_template()
    except ValueError as error:
        names = ", ".join(sorted(tokenizer.chat_template or {}))
        raise ModelError(
            f"The model has the chat templates {names} and none is named 'default'; rename one in "
            "its tokenizer_config.json or chat template files."
        ) from error
    tokens = tuple(sorted((key, str(text)) for key, text in tokenizer.special_tokens_map.items()))
    return _frames(template, tokens, date.today())


@lru_cache(maxsize=16)
def _frames(template: str, tokens: tuple[tuple[str, str], ...], _today: date) -> ChatFrames:
    """Return the chats of a template; some templates write the date, so it is part of the key."""
    system = {"role": "system", "content": f"{PADDING}{INSTRUCTIONS}{PADDING}"}
    user = {"role": "user", "content": f"{PADDING}{USER}{PADDING}"}
    chats = [[system, user], [_in_parts(system), _in_parts(user)], [user], [_in_parts(user)]]
    results = _render(template, dict(tokens), chats)
    read = [ChatFrame.read(result["text"]) if "text" in result else None for result in results]
    both = (frame for frame in read[:2] if frame and frame.has(INSTRUCTIONS, USER))
    alone = next((frame for frame in read[2:] if frame and frame.has(USER)), None)
    if alone is None:
        reasons = [result["error"] for result in results[2:] if "error" in result]
        fault = f"fails: {reasons[0]}" if len(reasons) == 2 else "drops the user's message"
        raise ModelError(
            f"The chat template of the model {fault.rstrip('.')}; correct the template in the "
            "model's folder, or remove it to have prompts as plain text."
        )
    return ChatFrames(next(both, None), alone)


def _in_parts(message: Mapping[str, str]) -> dict[str, Any]:
    """Return a message whose content is a list of parts, which some templates expect."""
    return {**message, "content": [{"type": "text", "text": message["content"]}]}


def _render(template: str, tokens: Mapping[str, str], chats: Sequence[Any]) -> list[dict[str, str]]:
    """Render chats in a process with limits.

    Returns:
        For each chat, its text or an error.

    Raises:
        ModelError: the process reached a limit.
    """
    job = {
        "modules": sys.path,
        "template": template,
        "tokens": tokens,
        "chats": chats,
        "max_chars": MAX_CHARS,
        "limits": {"RLIMIT_CPU": CPU_SECONDS, "RLIMIT_AS": MEMORY_BYTES, "RLIMIT_CORE": 0},
    }
    try:
        done = subprocess.run(
            [sys.executable, "-I", _RENDERER],
            input=json.dumps(job).encode(),
            capture_output=True,
            timeout=WALL_SECONDS,
            check=True,
        )
    except subprocess.TimeoutExpired as error:
        raise _unlimited(f"{WALL_SECONDS} s") from error
    except subprocess.CalledProcessError as error:
        if error.returncode < 0:  # ended by a signal, as the limits do
            raise _unlimited(f"{CPU_SECONDS} s of CPU time") from error
        lines = error.stderr.decode(errors="replace").strip().splitlines()
        raise ModelError(
            f"The chat template of the model could not be rendered: {first_line(lines[-1])}; "
            "correct the template in the model's folder."
        ) from error
    results: list[dict[str, str]] = json.loads(done.stdout)
    return [
        {**result, "error": " ".join(result["error"].split())} if "error" in result else result
        for result in results
    ]


def _unlimited(limit: str) -> ModelError:
    return ModelError(
        f"The chat template of the model did not end within {limit}; correct the template in the "
        "model's folder, or remove it to have prompts as plain text."
    )

"""Tasks that measure sharing: Bob can answer only with information that Alice alone has.

Both workers are fed a given text, token by token and at the same time; Bob's text ends with the
answer. The score is the probability of the answer under the model, and the share of its tokens that
are the most likely ones. If all are, Bob would have written the answer himself.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from random import Random

import torch

from hogwild_dist.engine.engine import Engine
from hogwild_dist.engine.scheduler.step import StepOutcome
from hogwild_dist.kvcache.page_allocator import ceil_div
from hogwild_dist.model.prompt_text import PromptText
from hogwild_dist.model.text_encoder import TextEncoder
from hogwild_dist.session.session import Session
from hogwild_dist.session.spec import SessionSpec, WorkerSpec
from hogwild_dist.team.layout import LAYOUTS

NAMES = ("Alice", "Bob")
COMMON = (
    "<|im_start|>user\nAlice and Bob work together and read each other's notes.{instruction}"
    "<|im_end|>\n<|im_start|>assistant\n"
)
BLOCKS = {"header": "\n\n", "separator": "\n\n"}
WAITING = " I wait for Alice."
SYLLABLES = "ba do fi gu la mo ne pi ra so tu vel zor mar tin"
ITEMS = (
    "apples bread milk rice honey salt tea eggs beans butter cheese flour onions pears plums "
    "soap candles nails rope paint"
)
WORDS = (
    "river stone cloud table green horse paper light winter garden bridge music window silver "
    "ocean forest market mirror pepper travel"
)


@dataclass(frozen=True, kw_only=True, slots=True)
class SharingItem:
    """One case of a task.

    Attributes:
        instruction: part of the common prompt, seen by both.
        alice: Alice's first text.
        alice_writes: text that Alice then writes.
        bob: Bob's first text.
        bob_writes: text that Bob then writes before the answer.
        answer: last text of Bob, known to Alice alone.
        waits: whether Bob fills the time until Alice has finished; otherwise they write together.
    """

    instruction: str
    alice: str
    alice_writes: str
    bob: str
    bob_writes: str
    answer: str
    waits: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Score:
    """The model's rating of the answer.

    Attributes:
        log_probability: mean log-probability of the answer's tokens, in nats.
        matched: share of the answer's tokens that were the most likely ones.
    """

    log_probability: float
    matched: float

    @property
    def exact(self) -> bool:
        """Whether greedy decoding would have written the answer."""
        return self.matched == 1


def told(seed: int) -> SharingItem:
    """Return a case in which Alice knows a made-up word that Bob needs."""
    word = "".join(Random(seed).sample(SYLLABLES.split(), 3))
    return SharingItem(
        instruction=" Alice holds the code word.",
        alice="Alice's note:",
        alice_writes=f" The code word is {word}. Remember that the code word is {word}.\n\n",
        bob="Bob's note:",
        bob_writes=" I read Alice's note. The code word is",
        answer=f" {word}",
        waits=True,
    )


def split(seed: int) -> SharingItem:
    """Return a case in which each knows one half of a list, and Bob writes all of it."""
    items = Random(seed).sample(ITEMS.split(), 6)
    hers, his = ", ".join(items[:3]), ", ".join(items[3:])
    return SharingItem(
        instruction=" Each of them reads one half of a shopping list.",
        alice="Alice's note:",
        alice_writes=f" The first half of the list is {hers}.\n\n",
        bob="Bob's note:",
        bob_writes=(
            f" The second half of the list is {his}. Alice wrote that the first half of the list is"
        ),
        answer=f" {hers}.",
        waits=True,
    )


def relay(seed: int) -> SharingItem:
    """Return a case in which Bob repeats each of Alice's words as soon as she has written it."""
    words = " " + " ".join(Random(seed).sample(WORDS.split(), 12))
    return SharingItem(
        instruction=" Bob repeats each word of Alice at once.",
        alice="Alice's words:",
        alice_writes=words,
        bob="Bob repeats Alice's words",
        bob_writes=":",
        answer=words,
        waits=False,
    )


def follow(seed: int) -> SharingItem:
    """Return a case like `relay` in which Bob is a few words behind."""
    return replace(
        relay(seed),
        instruction=" Bob repeats the words of Alice a little later.",
        bob_writes=" a little later:",
    )


TASKS: Mapping[str, Callable[[int], SharingItem]] = {
    "told": told,
    "split": split,
    "follow": follow,
    "relay": relay,
}


def score(engine: Engine, item: SharingItem, layout: str) -> Score:
    """Feed both texts and score Bob's answer.

    Args:
        engine: runs the case; its visibility decides when Bob sees Alice's newest tokens.
        item: case to score.
        layout: name of a built-in layout.
    """
    encoder = TextEncoder(engine.tokenizer)

    def encode(text: str) -> tuple[int, ...]:
        return tuple(encoder.go_on(PromptText.markup(text)))

    answer = encode(item.answer)
    alice_tokens = encode(item.alice_writes)
    waiting = encode(WAITING) if item.waits else ()
    rounds = ceil_div(len(alice_tokens), len(waiting)) if waiting else 0
    bob_tokens = waiting * rounds + encode(item.bob_writes) + answer
    texts = {**BLOCKS, "common": COMMON.format(instruction=item.instruction)}
    team_layout = LAYOUTS[layout]
    workers = tuple(
        WorkerSpec(
            name=name,
            view=view,
            first_input=encode(first_text),
            max_tokens=len(tokens),
            paragraphs_to=team_layout.rule(name).paragraphs_to,
        )
        for name, view, first_text, tokens in zip(
            NAMES,
            team_layout.views(NAMES),
            (item.alice, item.bob),
            (alice_tokens, bob_tokens),
            strict=True,
        )
    )
    shared = {name: encode(texts[name]) for name in team_layout.shared_blocks(NAMES)}
    shared["common"] = tuple(encoder.begin(PromptText.markup(texts["common"])))
    session = engine.start(
        SessionSpec(workers=workers, shared=shared), forced={0: alice_tokens, 1: bob_tokens}
    )
    try:
        return _score_answer(_bobs_log_probabilities(engine, session)[-len(answer) :], answer)
    finally:
        session.free()


def _score_answer(rows: list[torch.Tensor], answer: tuple[int, ...]) -> Score:
    """Score the log-probabilities, a ``[vocab_size]`` tensor for each token of the answer."""
    log_probabilities = [float(row[token]) for row, token in zip(rows, answer, strict=True)]
    matched = [int(row.argmax()) == token for row, token in zip(rows, answer, strict=True)]
    return Score(
        log_probability=sum(log_probabilities) / len(log_probabilities),
        matched=sum(matched) / len(matched),
    )


def _bobs_log_probabilities(engine: Engine, session: Session) -> list[torch.Tensor]:
    """Run the session; return ``[vocab_size]`` log-probabilities for each of Bob's tokens."""
    rows: list[torch.Tensor] = []

    def collect(outcome: StepOutcome) -> None:
        for row in outcome.rows:
            if row.worker == 1 and row.token_id is not None:
                rows.append(row.logits.float().log_softmax(-1))

    session.opening()
    while not session.end_reason:
        collect(engine.step([session]))
    collect(engine.drain())
    if session.failure is not None:
        raise session.failure
    return rows

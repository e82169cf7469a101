"""Tests whether Bob reads what Alice writes: she has a made-up word, and he is asked for it.

    .venv/bin/python docs/examples/code_word.py [WORD]

Both notes are fed in the same step, so the word is in no text before Bob's: it can reach him only
through Alice's keys and values.
"""

import sys

from hogwild_dist import LAYOUTS, Engine, load
from hogwild_dist.session.spec import SessionSpec, WorkerSpec

COMMON = (
    "<|im_start|>user\nAlice and Bob work together and read each other's notes. Alice holds the "
    "code word.<|im_end|>\n<|im_start|>assistant\n"
)
ALICE = "Alice's note: The code word is {word}. Remember that the code word is {word}.\n\n"
BOB = "Bob's note: I read Alice's note. The code word is"


def bob_writes(engine: Engine, layout_name: str, word: str) -> tuple[str, float]:
    """Return Bob's text and the probability of the word's first token."""

    def encode(text: str) -> tuple[int, ...]:
        return tuple(engine.tokenizer.encode(text, add_special_tokens=False))

    layout, names = LAYOUTS[layout_name], ("Alice", "Bob")
    texts = {"common": COMMON, "header": "\n\n", "separator": "\n\n"}
    first = {"Alice": ALICE.format(word=word), "Bob": BOB}
    workers = tuple(
        WorkerSpec(name=name, view=view, first_input=encode(first[name]), max_tokens=6)
        for name, view in zip(names, layout.views(names), strict=True)
    )
    shared = {name: encode(texts[name]) for name in layout.shared_blocks(names)}
    session = engine.start(SessionSpec(workers=workers, shared=shared))
    session.opening()
    bob = engine.step([session]).rows[1]
    while not session.end_reason:
        engine.step([session])
    text = session.workers[1].text.removeprefix(BOB)
    session.free()
    return text, float(bob.logits.softmax(-1)[encode(" " + word)[0]])


def main() -> None:
    """Print Bob's text in every layout."""
    word = sys.argv[1] if len(sys.argv) > 1 else "zorbafin"
    engine = load("smollm2-135m")
    for name in LAYOUTS:
        text, probability = bob_writes(engine, name, word)
        print(f"{name:12s} p = {probability:.5f}   The code word is{text!r}")


if __name__ == "__main__":
    main()

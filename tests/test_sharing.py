"""The sharing works on the real model: a word that only Alice has reaches Bob, if he may see it."""

from pathlib import Path

import pytest

from hogwild_dist.batch import Row
from hogwild_dist.config import EngineConfig
from hogwild_dist.engine import Engine
from hogwild_dist.layout import LAYOUTS
from hogwild_dist.model import load_model, load_tokenizer
from hogwild_dist.spec import SessionSpec, WorkerSpec

pytestmark = pytest.mark.demo_model

WORDS = ["zorbafin", "blimpotar", "Velmoran"]
COMMON = (
    "<|im_start|>user\nAlice and Bob work together and read each other's notes. Alice holds the "
    "code word.<|im_end|>\n<|im_start|>assistant\n"
)
ALICE = "Alice's note: The code word is {word}. Remember that the code word is {word}.\n\n"
BOB = "Bob's note: I read Alice's note. The code word is"


@pytest.fixture(scope="module")
def engine(demo_model_dir: Path) -> Engine:
    model = load_model(demo_model_dir, name="smollm2-135m", device="cpu")
    return Engine(model, load_tokenizer(demo_model_dir), EngineConfig(cache_tokens=8_192))


def encode(engine: Engine, text: str) -> tuple[int, ...]:
    return tuple(engine.tokenizer.encode(text, add_special_tokens=False))


def bob_writes(engine: Engine, layout_name: str, word: str) -> str:
    """What Bob writes after "The code word is" while Alice's note is fed in the same step."""
    layout = LAYOUTS[layout_name]
    texts = {"common": COMMON, "header": "\n\n", "separator": "\n\n"}
    names = ("Alice", "Bob")
    first = {"Alice": ALICE.format(word=word), "Bob": BOB}
    spec = SessionSpec(
        workers=tuple(
            WorkerSpec(name=n, view=view, first_input=encode(engine, first[n]), max_tokens=8)
            for n, view in zip(names, layout.views(names), strict=True)
        ),
        shared={name: encode(engine, texts[name]) for name in layout.shared_blocks(names)},
    )
    session = engine.start(spec)
    session.opening()
    while not session.end_reason:
        engine.step([session])
    text = session.workers[1].text.removeprefix(BOB)
    session.free()
    return text


@pytest.mark.parametrize("word", WORDS)
@pytest.mark.parametrize("layout", ["contiguous", "combined"])
def test_bob_reads_what_alice_writes(engine: Engine, layout: str, word: str) -> None:
    assert bob_writes(engine, layout, word).startswith(f" {word}")


@pytest.mark.parametrize("word", WORDS)
@pytest.mark.parametrize("layout", ["independent", "interleaved"])
def test_bob_cannot_know_the_word_where_layouts_keep_them_apart(
    engine: Engine, layout: str, word: str
) -> None:
    assert word[:4] not in bob_writes(engine, layout, word)


@pytest.mark.parametrize("word", WORDS)
@pytest.mark.parametrize("sees", [True, False])
def test_the_word_arrives_while_bob_is_writing(engine: Engine, word: str, sees: bool) -> None:
    """Alice feeds her note token by token; Bob writes beside her, and is then asked."""
    cache, runner = engine.cache, engine.runner
    blocks = {name: cache.new_block(name) for name in ("common", "separator", "alice", "bob")}
    runner.encode_alone(blocks["common"], encode(engine, COMMON), 512)
    runner.encode_alone(blocks["separator"], encode(engine, "\n\n"), 512)
    alice_view = (blocks["common"], blocks["alice"])
    seen = (blocks["alice"], blocks["separator"]) if sees else ()
    bob_view = (blocks["common"], *seen, blocks["bob"])
    bob_next = encode(engine, "Bob's note: I wait for Alice. My plan is")
    for token in encode(engine, ALICE.format(word=word)):
        logits, _ = runner.forward([Row(alice_view, (token,)), Row(bob_view, bob_next)])
        bob_next = (int(logits[1].argmax()),)
    bob_next = encode(engine, ".\n\n" + BOB)
    written = []
    for _ in range(5):
        logits, _ = runner.forward([Row(bob_view, bob_next)])
        bob_next = (int(logits[0].argmax()),)
        written += bob_next
    text = engine.tokenizer.decode(written)
    for block in blocks.values():
        cache.free(block)
    if sees:
        assert text.startswith(f" {word}")
    else:
        assert word[:4] not in text

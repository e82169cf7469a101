"""The sharing works on the real model: a word that only Alice has reaches Bob, if he may see it."""

import importlib.util
from pathlib import Path

import pytest

from hogwild_dist.config import EngineConfig
from hogwild_dist.engine.engine import Engine
from hogwild_dist.kvcache.rows import Row
from hogwild_dist.model.loader import load_model, load_tokenizer
from tests.model.encoding import encode_alone
from tests.paths import ROOT

pytestmark = pytest.mark.demo_model

EXAMPLE = ROOT / "docs" / "examples" / "code_word.py"
module = importlib.util.spec_from_file_location("code_word", EXAMPLE)
example = importlib.util.module_from_spec(module)
module.loader.exec_module(example)

WORDS = [
    "zorbafin",
    *(pytest.param(word, marks=pytest.mark.full_grid) for word in ("blimpotar", "Velmoran")),
]


@pytest.fixture(scope="module")
def engine(demo_model_dir: Path) -> Engine:
    model = load_model(demo_model_dir, name="smollm2-135m", device="cpu")
    return Engine(model, load_tokenizer(demo_model_dir), EngineConfig(cache_tokens=8_192))


def encode(engine: Engine, text: str) -> tuple[int, ...]:
    return tuple(engine.tokenizer.encode(text, add_special_tokens=False))


@pytest.mark.parametrize("word", WORDS)
@pytest.mark.parametrize("layout", ["contiguous", "combined"])
def test_bob_reads_what_alice_writes(engine: Engine, layout: str, word: str) -> None:
    text, probability = example.bob_writes(engine, layout, word)
    assert text.startswith(f" {word}")
    assert probability > 0.1


@pytest.mark.parametrize("word", WORDS)
@pytest.mark.parametrize("layout", ["independent", "interleaved"])
def test_bob_cannot_know_the_word_where_layouts_keep_them_apart(
    engine: Engine, layout: str, word: str
) -> None:
    text, probability = example.bob_writes(engine, layout, word)
    assert word[:4] not in text
    assert probability < 1e-3


@pytest.mark.parametrize("word", WORDS)
@pytest.mark.parametrize("sees", [True, False])
def test_the_word_arrives_while_bob_is_writing(engine: Engine, word: str, sees: bool) -> None:
    """Alice feeds her note token by token; Bob writes beside her, and is then asked."""
    cache, runner = engine.cache, engine.runner
    blocks = {name: cache.new_block(name) for name in ("common", "separator", "alice", "bob")}
    encode_alone(runner, blocks["common"], encode(engine, example.COMMON), 512)
    encode_alone(runner, blocks["separator"], encode(engine, "\n\n"), 512)
    alice_view = (blocks["common"], blocks["alice"])
    seen = (blocks["alice"], blocks["separator"]) if sees else ()
    bob_view = (blocks["common"], *seen, blocks["bob"])
    bob_next = encode(engine, "Bob's note: I wait for Alice. My plan is")
    for token in encode(engine, example.ALICE.format(word=word)):
        logits, _ = runner.forward([Row(alice_view, (token,)), Row(bob_view, bob_next)])
        bob_next = (int(logits[1].argmax()),)
    bob_next = encode(engine, ".\n\n" + example.BOB)
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

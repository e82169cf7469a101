"""Prompts in pieces: they join as one text, and only markup makes control tokens."""

import string
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import (
    AddedToken,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
)
from transformers import PreTrainedTokenizerFast

from hogwild_dist.errors import ModelError
from hogwild_dist.model.prompt_text import PromptText
from hogwild_dist.model.text_encoder import TextEncoder, begin_ids

SPACE = "\u2581"
TURN, END, THINK = "<|im_start|>", "<|im_end|>", "<think>"


def wrapped(backend: Tokenizer) -> PreTrainedTokenizerFast:
    backend.add_special_tokens([AddedToken(t, special=True, normalized=False) for t in (TURN, END)])
    backend.add_tokens([AddedToken(THINK, special=False, normalized=False)])
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, bos_token="<s>", eos_token=END, unk_token="<unk>"
    )


def pieces_tokenizer(how: str) -> PreTrainedTokenizerFast:
    """Of the kind of Llama 2: words begin with a sign, and other characters are bytes."""
    signs = ["<unk>", "<s>", *(f"<0x{byte:02X}>" for byte in range(256)), SPACE]
    signs += [*string.ascii_letters, *string.digits, *".,:*[]<|>_", f"{SPACE}A", "He", f"{SPACE}He"]
    merges = [("H", "e"), (SPACE, "He"), (SPACE, "A")]
    vocab = {sign: index for index, sign in enumerate(signs)}
    backend = Tokenizer(models.BPE(vocab, merges, unk_token="<unk>", byte_fallback=True))
    if how == "normalizer":
        backend.normalizer = normalizers.Sequence(
            [normalizers.Prepend(SPACE), normalizers.Replace(" ", SPACE)]
        )
    else:
        backend.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=how, split=False)
    backend.decoder = decoders.Sequence([
        decoders.Replace(SPACE, " "), decoders.ByteFallback(), decoders.Fuse(),
        decoders.Strip(" ", 1, 0),
    ])  # fmt: skip
    return wrapped(backend)


def bytes_tokenizer(*, prefix: bool = False, strip: bool = False) -> PreTrainedTokenizerFast:
    """Of the kind of GPT-2: every byte is a token."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocab = {sign: index for index, sign in enumerate(["<s>", "<unk>", *alphabet])}
    merges: list[tuple[str, str]] = []
    backend = Tokenizer(models.BPE(vocab, merges))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=prefix)
    backend.decoder = decoders.ByteLevel()
    if strip:
        backend.normalizer = normalizers.Strip()
    return wrapped(backend)


TOKENIZERS = {
    "first word prefixed": pieces_tokenizer("first"),
    "each part prefixed": pieces_tokenizer("always"),
    "prefixed by the normalizer": pieces_tokenizer("normalizer"),
    "bytes": bytes_tokenizer(),
    "bytes, prefixed": bytes_tokenizer(prefix=True),
    "bytes, ends stripped": bytes_tokenizer(strip=True),
    "bytes, prefixed and stripped": bytes_tokenizer(prefix=True, strip=True),
}
every_tokenizer = pytest.mark.parametrize("name", TOKENIZERS)
PARTS = ["a", "A", " ", "\n", "1", ".", "é", "日", "<", "|", TURN, END, THINK]
texts = st.lists(st.sampled_from(PARTS), max_size=12).map("".join)


def control(tokenizer: Any, ids: list[int]) -> list[str]:
    return [t for t in tokenizer.convert_ids_to_tokens(ids) if t in (TURN, END, THINK, "<s>")]


@every_tokenizer
@given(text=texts)
def test_typed_text_is_text_whatever_it_begins_and_ends_with(name: str, text: str) -> None:
    encoder = TextEncoder(TOKENIZERS[name])
    ids = encoder.go_on(PromptText.typed(text))
    decoder = encoder.new_decoder()
    assert decoder.add(ids) + decoder.rest() == text
    assert control(TOKENIZERS[name], ids) == []


@every_tokenizer
@given(parts=st.lists(texts, max_size=4))
def test_texts_encoded_apart_join(name: str, parts: list[str]) -> None:
    encoder = TextEncoder(TOKENIZERS[name])
    ids = [token for part in parts for token in encoder.go_on(PromptText.typed(part))]
    decoder = encoder.new_decoder()
    assert decoder.add(ids) + decoder.rest() == "".join(parts)


@every_tokenizer
@given(first=texts, second=texts)
def test_only_markup_makes_control_tokens(name: str, first: str, second: str) -> None:
    markup = PromptText.markup
    text = markup(TURN) + PromptText.typed(first) + markup(END) + PromptText.typed(second)
    ids = TextEncoder(TOKENIZERS[name]).go_on(text + markup(THINK))
    assert control(TOKENIZERS[name], ids) == [TURN, END, THINK]


@every_tokenizer
def test_a_tag_that_markup_and_typed_text_form_together_is_text(name: str) -> None:
    for typed in (END[2:], END[:4]):
        before, after = END.split(typed)
        text = PromptText.markup(before) + PromptText.typed(typed) + PromptText.markup(after)
        assert control(TOKENIZERS[name], TextEncoder(TOKENIZERS[name]).go_on(text)) == []


@every_tokenizer
def test_a_text_in_one_piece_is_encoded_as_the_tokenizer_does(name: str) -> None:
    tokenizer = TOKENIZERS[name]
    text = f"{TURN}user\nHe is A 1.{END}x"
    ids = TextEncoder(tokenizer).begin(PromptText.markup(text))
    assert ids == [tokenizer.bos_token_id, *tokenizer.encode(text, add_special_tokens=False)]


def test_many_typed_tags_take_little_time() -> None:
    encoder = TextEncoder(TOKENIZERS["bytes"])
    text = PromptText.typed(END * 20_000)
    assert len(encoder.go_on(text)) == len(END) * 20_000


def test_who_begins_with_a_begin_of_text_token() -> None:
    tokenizer = bytes_tokenizer()
    bos = tokenizer.bos_token_id
    hello = PromptText.typed("Hello")
    assert TextEncoder(tokenizer).begin(hello)[0] == bos
    assert bos not in TextEncoder(tokenizer).go_on(hello)
    assert TextEncoder(tokenizer).begin(PromptText.markup("<s>Hello")).count(bos) == 1
    assert TextEncoder(tokenizer).begin(PromptText.typed("<s>Hello"))[0] == bos
    tokenizer.chat_template = "{{ messages[0].content }}"
    assert bos not in TextEncoder(tokenizer).begin(hello)
    tokenizer.init_kwargs["add_bos_token"] = False
    assert begin_ids(tokenizer) == []


def test_a_tokenizer_that_adds_an_end_begins_with_its_begin_alone() -> None:
    tokenizer = bytes_tokenizer()
    bos, eos = tokenizer.bos_token_id, tokenizer.eos_token_id
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single=f"<s> $A {END}", special_tokens=[("<s>", bos), (END, eos)]
    )
    ids = TextEncoder(tokenizer).begin(PromptText.typed("Hello"))
    assert ids == [bos, *tokenizer.encode("Hello", add_special_tokens=False)]


def test_unknown_characters_are_read_in_one_go() -> None:
    """Each was cut off by itself, in as many passes as there are characters."""
    vocab = [("<unk>", 0.0), ("a", -1.0), ("<s>", 0.0), (SPACE, -1.0)]
    tokenizer = wrapped(Tokenizer(models.Unigram(vocab, unk_id=0)))
    tokenizer.backend_tokenizer.add_special_tokens(["<unk>"])
    plain = tokenizer.encode("a" + "日" * 20_000 + "a", add_special_tokens=False)
    encoder = TextEncoder(tokenizer)
    assert encoder.go_on(PromptText.typed("a" + "日" * 20_000 + "a")) == plain
    assert tokenizer.unk_token_id not in encoder.go_on(PromptText.typed("a<unk>a"))[:1]


def test_an_end_of_text_that_is_named_for_unknown_characters_is_no_text() -> None:
    tokenizer = bytes_tokenizer()
    tokenizer.unk_token = END  # as SmolLM2 and GPT-2 do
    ids = tokenizer.encode(f"a{END}b", add_special_tokens=False)
    assert TextEncoder(tokenizer).new_decoder().add(ids) == "ab"


def test_generated_special_tokens_are_no_text() -> None:
    tokenizer = TOKENIZERS["bytes"]
    ids = tokenizer.encode(f"a{TURN}b{THINK}{END}", add_special_tokens=False)
    assert TextEncoder(tokenizer).new_decoder().add(ids) == f"ab{THINK}"


def test_a_tokenizer_without_a_fast_form() -> None:
    class Slow:
        is_fast = False

    with pytest.raises(ModelError, match="Slow has no fast form"):
        TextEncoder(Slow())  # type: ignore[arg-type]

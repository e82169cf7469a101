"""Tokens to text, one by one."""

from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models

from hogwild_dist.model.text_decoder import TextDecoder
from hogwild_dist.session.worker import Worker

BYTES = {f"<0x{byte:02X}>": byte for byte in range(256)}


def tokenizer() -> Tokenizer:
    """Of the kind of Llama 2: a character that it lacks is written in bytes."""
    vocab = {**BYTES, "<unk>": 256, "\u2581a": 257, "b": 258}
    made = Tokenizer(models.BPE(vocab=vocab, merges=[], unk_token="<unk>", byte_fallback=True))
    made.decoder = decoders.Sequence(
        [decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse()]
    )
    return made


TOKENIZER = tokenizer()


def new_worker() -> Worker:
    return Worker(
        index=0, spec=None, rank=0, block=None, pending=[], paragraph=1,  # type: ignore[arg-type]
        decoder=TextDecoder(TOKENIZER),
    )  # fmt: skip


@given(st.lists(st.integers(128, 258), max_size=60))
def test_bytes_that_are_no_characters_are_text_too(token_ids: list[int]) -> None:
    worker = new_worker()
    for token in token_ids:
        worker.take([token])
    worker.flush()
    assert worker.text.count("b") == token_ids.count(258)


@given(st.text(max_size=20))
def test_characters_in_bytes_come_whole(text: str) -> None:
    worker = new_worker()
    shown = [worker.take([byte]) for byte in text.encode()]
    assert "".join(shown) == text

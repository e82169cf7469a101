from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaForCausalLM

from hogwild_dist.errors import ModelError
from hogwild_dist.model.hub.convert import convert_gguf, float32_size

Write = Callable[..., Path]


def test_converted_model_computes_what_the_original_computes(
    tiny_llama: LlamaForCausalLM, converted: Path
):
    model = AutoModelForCausalLM.from_pretrained(converted, trust_remote_code=False)
    tokens = torch.arange(3, 40).unsqueeze(0)
    with torch.inference_mode():
        torch.testing.assert_close(model(tokens).logits, tiny_llama(tokens).logits)
    assert model.dtype == torch.float32


def test_configuration_keeps_the_special_tokens(converted: Path):
    model = AutoModelForCausalLM.from_pretrained(converted, trust_remote_code=False)
    tokenizer = AutoTokenizer.from_pretrained(converted, trust_remote_code=False)
    assert model.config.eos_token_id == model.generation_config.eos_token_id == 2
    assert (tokenizer.bos_token_id, tokenizer.eos_token_id) == (1, 2)


def test_chat_template_is_kept(converted: Path):
    tokenizer = AutoTokenizer.from_pretrained(converted, trust_remote_code=False)
    ids = tokenizer.apply_chat_template([{"role": "user", "content": "hi"}])["input_ids"]
    assert ids == [1, *tokenizer.encode("hi"), 2]


@pytest.mark.parametrize(("pre", "tokens"), [("smollm", ["1", "2", "1"]), ("gpt-2", ["12", "1"])])
def test_digits_are_split_for_the_smollm_vocabulary_only(
    pre: str, tokens: list[str], write_gguf: Write, tmp_path: Path
):
    convert_gguf(write_gguf(tmp_path / "model.gguf", pre=pre), tmp_path / "out")
    assert (
        AutoTokenizer.from_pretrained(tmp_path / "out", trust_remote_code=False).tokenize("121")
        == tokens
    )


def test_float32_size_counts_every_weight(tiny_llama: LlamaForCausalLM, tiny_gguf: Path):
    assert float32_size(tiny_gguf) == 4 * sum(p.numel() for p in tiny_llama.parameters())


def test_unknown_architecture_is_refused_by_name(write_gguf: Write, tmp_path: Path):
    odd = write_gguf(tmp_path / "odd.gguf", architecture="no-such-thing")
    with pytest.raises(ModelError, match=r"odd\.gguf cannot be converted .*no-such-thing"):
        convert_gguf(odd, tmp_path / "out")


def test_missing_weights_are_refused_by_name(write_gguf: Write, tmp_path: Path):
    poor = write_gguf(tmp_path / "poor.gguf", skip="blk.1.attn_q.weight")
    with pytest.raises(ModelError, match=r"lacks the weights of .*layers\.1\.self_attn\.q_proj"):
        convert_gguf(poor, tmp_path / "out")


def test_damaged_file_is_refused(tiny_gguf: Path, tmp_path: Path):
    short = tmp_path / "short.gguf"
    short.write_bytes(tiny_gguf.read_bytes()[:-5000])
    with pytest.raises(ModelError, match=r"short\.gguf cannot be converted"):
        float32_size(short)
    with pytest.raises(ModelError, match=r"short\.gguf cannot be converted"):
        convert_gguf(short, tmp_path / "out")

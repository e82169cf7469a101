"""A tiny float64 Llama with a byte tokenizer, ready to run."""

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from hogwild_dist.config import EngineConfig
from hogwild_dist.engine.engine import Engine
from hogwild_dist.model.loader import LoadedModel, prepare_model
from tests.tiny_tokenizer import VOCAB_SIZE, byte_tokenizer


def tiny_network(max_position_embeddings: int = 512) -> LlamaForCausalLM:
    torch.manual_seed(1)
    config = LlamaConfig(
        vocab_size=VOCAB_SIZE,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=max_position_embeddings,
        initializer_range=0.3,
    )
    return LlamaForCausalLM(config)


def tiny_byte_model(dtype: torch.dtype = torch.float64) -> LoadedModel:
    return prepare_model(tiny_network().to(dtype), name="tiny")


def tiny_engine(model: LoadedModel, **fields: object) -> Engine:
    return Engine(model, byte_tokenizer(), EngineConfig(**{"cache_tokens": 4_096, **fields}))

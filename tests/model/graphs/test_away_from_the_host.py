"""What is captured never reads data on the host, and never mixes devices.

PyTorch's device ``meta`` takes the place of a GPU: its tensors have no data, so that they cannot be
read, and an operation with a tensor that lies anywhere else is refused here.
"""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from transformers import Qwen3Config, Qwen3ForCausalLM

from hogwild_dist.attention.layer import ATTENTION_NAME, register
from hogwild_dist.attention.tables.kernel import LayerInput, LayerKind
from hogwild_dist.attention.tables.torch_kernel import TorchKernel
from hogwild_dist.config import SamplingConfig
from hogwild_dist.kvcache.cache import LayerShape
from hogwild_dist.kvcache.rope import RotaryTables
from hogwild_dist.model.graphs import static_sampler, static_step
from hogwild_dist.model.graphs.captured_pass import Forward
from hogwild_dist.model.graphs.static_sampler import StaticSampler
from hogwild_dist.model.graphs.static_step import DecodeModel, StaticStep
from hogwild_dist.model.graphs.step_size import StepSize
from hogwild_dist.model.loaded_model import LoadedModel
from hogwild_dist.model.merged_linear import merge_linears
from tests.model.graphs.test_static_sampler import WAYS
from tests.model.test_sampling import row
from tests.tiny_engine import tiny_network

GPU = torch.device("meta")


class Arena:
    """Rows of an arena, without the pinned memory that fills them."""

    def __init__(
        self, lengths: Any, device: torch.device, dtype: torch.dtype = torch.int32
    ) -> None:
        self.fields = {
            name: torch.zeros(length, dtype=dtype, device=device)
            for name, length in lengths.items()
        }

    def fill(self, rows: Any, padding: Any) -> None:
        pass


class NoHost(TorchDispatchMode):
    """Refuses operations with a tensor that lies elsewhere."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for one in tree_leaves((args, kwargs, out)):
            assert not isinstance(one, Tensor) or one.device == GPU, f"{func} on the host"
        return out


class Kernel:
    """A kernel whose results depend on nothing but their shape."""

    capturable = True

    def max_entries(self, _kind: LayerKind) -> int:
        return 16

    def wanted_tasks(self, _kind: LayerKind) -> int:
        return 8

    def begin(self, layer: LayerInput) -> "Call":
        return Call(layer)


class Call:
    def __init__(self, layer: LayerInput) -> None:
        self.q = layer.q

    def attend(self, tasks: Tensor) -> None:
        assert tasks.device == GPU

    def merged(self) -> Tensor:
        return torch.empty_like(self.q).transpose(0, 1).contiguous()


class Peers:
    """Peers that bring nothing."""

    def send_layer(self, layer: int) -> None:
        pass

    def receive_layer(self, layer: int) -> None:
        pass


class Captured:
    """Runs passes as a capture does: first free, then without the host."""

    def __init__(self, peers: Peers | None = None) -> None:
        self.peers = peers
        self.results: list[Tensor] = []

    def __call__(self, forward: Forward) -> Any:
        forward(self.peers)
        with NoHost():
            self.results.append(forward(self.peers))


def qwen3() -> Qwen3ForCausalLM:
    return Qwen3ForCausalLM(
        Qwen3Config(
            vocab_size=50, hidden_size=32, intermediate_size=64, num_hidden_layers=2,
            num_attention_heads=4, num_key_value_heads=2, head_dim=8,
        )
    )  # fmt: skip


def loaded(hf_model: Any) -> LoadedModel:
    register()
    hf_model.eval().requires_grad_(False)
    hf_model.set_attn_implementation(ATTENTION_NAME)
    merge_linears(hf_model)
    return LoadedModel(
        name="meta",
        hf_model=hf_model,
        layers=(LayerShape(num_kv_heads=2, head_dim=8),) * 2,
        rotary=RotaryTables.from_model(hf_model),
        max_positions=512,
        fingerprint="",
    )


def step(make: Any, kernel: Any, peers: Peers | None) -> Captured:
    """Capture a step of 4 tokens."""
    captured = Captured(peers)
    with torch.inference_mode():
        with GPU:
            model = loaded(make())
        decode = DecodeModel.of(model, model.new_cache(64), kernel)
        StaticStep(decode, StepSize(4, 1), captured)
    return captured


@pytest.fixture(autouse=True)
def no_pinned_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (static_step, static_sampler):
        monkeypatch.setattr(module, "Arena", Arena)


@pytest.mark.parametrize("peers", [None, Peers()])
@pytest.mark.parametrize("make", [tiny_network, qwen3])
def test_a_forward_pass_touches_nothing_on_the_host(make: Any, peers: Peers | None) -> None:
    (logits,) = step(make, Kernel(), peers).results
    assert logits.device == GPU
    assert logits.shape[0] == 4


@pytest.mark.parametrize("configs", WAYS, ids=str)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_sampling_touches_nothing_on_the_host(
    configs: list[SamplingConfig], dtype: torch.dtype
) -> None:
    captured = Captured()
    with torch.inference_mode():
        logits = torch.zeros(1, 9_000, dtype=dtype, device=GPU)
        StaticSampler(4, logits, captured).prepare([row(config, 0.5) for config in configs])
    assert captured.results[0].shape == (3, 4)
    assert captured.results[0].device == GPU


def test_what_reads_its_tables_on_the_host_is_found_out() -> None:
    with pytest.raises((RuntimeError, NotImplementedError), match="meta"):
        step(tiny_network, TorchKernel(), None)


def test_a_copy_from_the_host_is_found_out() -> None:
    def copy(_peers: Any) -> Tensor:
        return torch.zeros(2).to(GPU)

    with pytest.raises(AssertionError, match="on the host"):
        Captured()(copy)

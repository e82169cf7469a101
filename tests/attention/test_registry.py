"""Kernels by name, and a kernel of a user's own in a real run."""

from collections.abc import Mapping
from pathlib import Path

import pytest
import torch

from hogwild_dist.attention.backend import AttentionNeeds
from hogwild_dist.attention.piece_attention import PieceBackend
from hogwild_dist.attention.piece_kernels import attend_cpu, attend_matmul
from hogwild_dist.attention.registry import KERNELS, find_backend, usable_names
from hogwild_dist.config import EngineConfig
from hogwild_dist.engine.engine import Engine
from hogwild_dist.errors import ConfigError
from hogwild_dist.run.run import Run
from hogwild_dist.team.team import Limits, Team
from tests.tiny_engine import tiny_byte_model
from tests.tiny_team import PROMPTS
from tests.tiny_tokenizer import byte_tokenizer


def needs(device: str, dtype: torch.dtype = torch.float32, **shape: int) -> AttentionNeeds:
    return AttentionNeeds(device=torch.device(device), dtype=dtype, **shape)


CPU, GPU = needs("cpu"), needs("cuda")

OWN = """
import torch

calls = []


def attend(q, k, v, mask, scale):
    calls.append(q.shape)
    scores = torch.einsum("bhmd,bhnd->bhmn", q, k) * scale
    scores = scores if mask is None else scores + mask
    return torch.softmax(scores, -1) @ v, torch.logsumexp(scores, -1)
"""


def texts(attention: str | None) -> Mapping[str, str]:
    config = EngineConfig(cache_tokens=4_096, attention=attention)
    team = Team(names=("Ann", "Ben"), prompts=PROMPTS, limits=Limits(max_tokens=6))
    engine = Engine(tiny_byte_model(torch.float32), byte_tokenizer(), config)
    run = Run(engine, "Count!", team)
    for _ in run:
        pass
    return run.result.texts


@pytest.mark.parametrize("name", usable_names(CPU))
def test_every_kernel_writes_the_same_text(name: str) -> None:
    assert texts(name) == texts(None)


def test_a_kernel_of_a_user_s_own_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "users_own_kernel.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    assert texts("users_own_kernel:attend") == texts(None)
    import users_own_kernel  # noqa: PLC0415

    assert users_own_kernel.calls


def test_a_model_gets_the_first_kernel_that_it_can_use() -> None:
    assert find_backend(None, CPU) == PieceBackend(attend_cpu)
    assert find_backend(None, GPU) == PieceBackend(attend_matmul)
    assert find_backend("matmul", GPU) == PieceBackend(attend_matmul)


@pytest.mark.parametrize(
    ("name", "needs", "sentence"),
    [
        ("flash9", CPU, f"Unknown attention kernel 'flash9'; use {', '.join(KERNELS)}, or module:"),
        ("cpu-flash", GPU, "'cpu-flash' does not run on 'cuda'; use matmul"),
        ("triton", needs("cpu", torch.float64), "'triton' does not compute in float64; use cpu-"),
        ("triton", needs("cpu", head_dim=512), "heads of at most 256, and the model has 512; use"),
        ("triton", needs("cpu", num_groups=71), "at most 64 query heads .*, and the model has 71"),
        ("triton", needs("mps"), "runs on NVIDIA GPUs, not on 'mps'; use matmul"),
        ("no_such_module:attend", CPU, "'no_such_module:attend' cannot be imported .*module:"),
        ("math:attend", CPU, "'math:attend' cannot be imported"),
        (".x:y", CPU, "'.x:y' cannot be imported"),
        ("math:pi", CPU, "'math:pi' is not a function"),
        (":attend", CPU, "':attend' cannot be imported"),
    ],
)
def test_a_kernel_that_cannot_be_used_is_named(
    name: str, needs: AttentionNeeds, sentence: str
) -> None:
    with pytest.raises(ConfigError, match=sentence):
        find_backend(name, needs)


RIGHT = """
import torch


def attend(q, k, v, mask, scale):
    scores = (q @ k.mT).double() * scale
    scores = scores if mask is None else scores + mask
    return torch.softmax(scores, -1) @ v.double(), torch.logsumexp(scores, -1)
"""

FAULTS = {
    "q, k, v, mask, scale": (
        "q, k, v, scale",
        r"raised TypeError: attend\(\) takes 4 positional arg",
    ),
    "    scores = (": (
        "    raise KeyError('tile')\n    scores = (",
        "raised KeyError: 'tile'; it is",
    ),
    ", torch.logsumexp(scores, -1)": ("", "returns a Tensor and not two tensors, out and lse;"),
    "torch.logsumexp(scores, -1)": ("None", "returns a NoneType and no tensor as lse; compare"),
    "logsumexp(scores, -1)": (
        "logsumexp(scores, -1, keepdim=True)",
        r"lse of shape \[1, 2, 6, 1\], and not \[1, 2, 6\], for q of shape \[1, 2, 6, 64\]",
    ),
    "v.double()": (
        "v.double()[..., 8:]",
        r"returns out of shape \[1, 2, 6, 56\], and not \[1, 2, ",
    ),
    "(scores, -1)\n": ("(scores, -1).bfloat16()\n", "lse in bfloat16, where float32 or wider"),
    "sumexp(scores, -1)": (
        "sumexp(scores, -1).to('meta')",
        "returns lse on 'meta' for q on 'cpu'; compare",
    ),
    "* scale": ("* q.shape[-1] ** -0.5", "another out than matmul .*difference"),
    "@ v.double(), torch": ("@ v.double(), 1.1 * torch", "another lse than matmul .*difference"),
    "scores + mask": ("scores + mask[:1]", "computes another out than matmul for small random"),
    "scores if mask": ("scores if True or mask", "computes another out than matmul"),
    "+ mask": ("+ mask * torch.inf", "returns infinities or NaN for small random numbers"),
    "import torch": ("import torch\ntile = 1 // 0", "cannot be imported .integer division"),
    "def attend": ("deff attend", "cannot be imported .invalid syntax"),
}
"""Part of `RIGHT` -> what takes its place, and what the error then says."""


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
def test_a_right_kernel_passes_the_trial(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dtype: torch.dtype
) -> None:
    (tmp_path / "right_kernel.py").write_text(RIGHT)
    monkeypatch.syspath_prepend(tmp_path)
    find_backend("right_kernel:attend", needs("cpu", dtype, num_groups=3))


@pytest.mark.parametrize(("part", "number"), [(part, number) for number, part in enumerate(FAULTS)])
def test_a_faulty_kernel_is_named_with_its_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part: str, number: int
) -> None:
    wrong, sentence = FAULTS[part]
    code = RIGHT.replace(part, wrong)
    assert code != RIGHT
    (tmp_path / f"faulty_kernel_{number}.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ConfigError, match=f"kernel 'faulty_kernel_{number}:attend' .*{sentence}"):
        find_backend(f"faulty_kernel_{number}:attend", needs("cpu", num_groups=2))


def test_an_error_that_a_kernel_raises_later_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = RIGHT.replace(
        "    scores = (", "    assert k.shape[-2] > 39, 'few keys'\n    scores = ("
    )
    (tmp_path / "later_kernel.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ConfigError, match="'later_kernel:attend' raised AssertionError: few keys;"):
        texts("later_kernel:attend")


def test_an_engine_refuses_an_unknown_kernel() -> None:
    with pytest.raises(ConfigError, match="Unknown attention kernel 'flash9'"):
        texts("flash9")

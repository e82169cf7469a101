"""Attention over blocks against the textbook: join the view, rotate its keys, one softmax."""

from collections.abc import Iterator

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from hogwild_dist.attention import registry
from hogwild_dist.attention.backend import AttentionNeeds, ScoreRule
from hogwild_dist.attention.layer import hogwild_attention
from hogwild_dist.attention.piece_attention import PieceAttention, PieceBackend
from hogwild_dist.attention.piece_kernels import AttentionKernel, attend_matmul
from hogwild_dist.config import Visibility
from hogwild_dist.errors import ModelError
from hogwild_dist.kvcache.rows import Row
from tests.attention.packing import allocate_and_build
from tests.kvcache.test_cache import DIM, HEADS, new_cache, turned, write

GROUPS = 3
SCALE = 0.4


def piece_kernels() -> list[AttentionKernel]:
    """The package's kernels that attend piece by piece on a CPU."""
    needs = AttentionNeeds(device=torch.device("cpu"), dtype=torch.float64)
    backends = [registry.find_backend(name, needs) for name in registry.usable_names(needs)]
    return [backend.kernel for backend in backends if isinstance(backend, PieceBackend)]


KERNELS = piece_kernels()


@settings(max_examples=40)
@given(
    old=st.lists(st.integers(0, 70), min_size=3, max_size=3),
    new=st.lists(st.integers(1, 4), min_size=2, max_size=2),
    window=st.sampled_from([None, 3, 25]),
    visibility=st.sampled_from(Visibility),
    kernel=st.sampled_from(KERNELS),
)
def test_a_view_reads_as_one_text(
    old: list[int],
    new: list[int],
    window: int | None,
    visibility: Visibility,
    kernel: AttentionKernel,
) -> None:
    cache = new_cache(2_048)
    common, alice, bob = (cache.new_block(name) for name in "cab")
    for seed, (block, count) in enumerate(zip((common, alice, bob), old, strict=True)):
        if count:
            write(cache, block, count, seed)
    rows = [Row((common, bob, alice), (5,) * new[0]), Row((common, alice, bob), (5,) * new[1])]
    before = {block: block.length for block in (common, alice, bob)}
    batch = allocate_and_build(cache, rows, visibility)
    generator = torch.Generator().manual_seed(9)
    shape = (HEADS, batch.num_tokens, DIM)
    keys = torch.randn(shape, generator=generator, dtype=torch.float64)
    values = torch.randn(shape, generator=generator, dtype=torch.float64)
    cache.write(1, torch.tensor(batch.slots), keys, values)
    q = torch.randn(HEADS * GROUPS, batch.num_tokens, DIM, generator=generator, dtype=torch.float64)
    local = torch.stack([turned(q[:, i], p) for i, p in enumerate(batch.positions)], 1)
    attention = PieceAttention(cache, batch, kernel)
    out = attention.attend(1, local, ScoreRule(SCALE, window))
    token = 0
    for row in rows:
        own = row.view[-1]
        for index in range(len(row.token_ids)):
            seen_k, seen_v = [], []
            offset = 0
            for block in row.view:
                length = block.length if visibility is Visibility.SAME_STEP else before[block]
                length = before[own] + index + 1 if block is own else length
                for start, stop in block.spans(0, length):
                    seen_k.append(turned(cache.keys[1][:, start:stop], offset))
                    seen_v.append(cache.values[1][:, start:stop])
                offset += length
            k, v = torch.cat(seen_k, 1), torch.cat(seen_v, 1)
            if window is not None:
                k, v = k[:, -window:], v[:, -window:]
            # The raw query stands at the end of the view: the last position of the own block.
            query = turned(q[:, token], offset - 1).view(HEADS, GROUPS, DIM)
            weights = (query @ k.transpose(1, 2) * SCALE).softmax(-1)
            expected = (weights @ v).reshape(HEADS * GROUPS, DIM)
            assert torch.allclose(out[token], expected, atol=1e-9)
            token += 1


def textbook(
    q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, scale: float
) -> tuple[Tensor, Tensor]:
    """Softmax attention in float64, as a textbook writes it."""
    scores = torch.einsum("bhmd,bhnd->bhmn", q.double(), k.double()) * scale
    if mask is not None:
        scores = scores + mask.double()
    return torch.softmax(scores, -1) @ v.double(), torch.logsumexp(scores, -1)


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
def test_kernels_agree(kernel: AttentionKernel, dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(3, 2, n, 16, generator=generator).to(dtype) for n in (6, 300, 300))
    hidden = torch.rand(3, 1, 6, 300, generator=generator) < 0.5
    hidden[:, :, 4] = True
    mask = torch.zeros(hidden.shape, dtype=dtype)
    mask = mask.masked_fill(hidden, torch.finfo(dtype).min / 2)
    limits = {torch.float64: 1e-12, torch.float32: 1e-5, torch.bfloat16: 2e-2, torch.float16: 2e-3}
    for added in (None, mask, mask[:, :, :1]):
        out, lse = kernel(q, k, v, added, 0.25)
        right_out, right_lse = textbook(q, k, v, added, 0.25)
        rows = [0, 1, 2, 3, 5] if added is mask else slice(None)
        close = {"rtol": 1e-5, "atol": limits[dtype]}
        assert torch.allclose(out[:, :, rows].double(), right_out[:, :, rows], **close)
        assert torch.allclose(lse[:, :, rows].double(), right_lse[:, :, rows], **close)


def test_large_heads_do_not_overflow_in_half_precision() -> None:
    q = torch.full((1, 1, 2, 64), 40.0, dtype=torch.float16)  # 64 * 40 * 40 is over 65,504
    out, lse = attend_matmul(q, q, q, None, 0.125)
    assert out.isfinite().all()
    assert lse.isfinite().all()


@pytest.fixture
def four_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("num_keys", [2_048, 3_334, 5_000])
@pytest.mark.usefixtures("four_threads")
def test_long_blocks_in_parts_agree_with_the_whole(kernel: AttentionKernel, num_keys: int) -> None:
    """Four threads share three heads only if the keys are cut."""
    generator = torch.Generator().manual_seed(0)
    slab = torch.randn(2, 3, 6_000, 16, generator=generator, dtype=torch.float64)
    k, v = slab[:1, :, 500 : 500 + num_keys], slab[1:, :, 500 : 500 + num_keys]
    q = torch.randn(1, 3, 6, 16, generator=generator, dtype=torch.float64)
    out, lse = kernel(q, k, v, None, 0.25)
    right_out, right_lse = textbook(q, k, v, None, 0.25)
    assert torch.allclose(out, right_out, atol=1e-12)
    assert torch.allclose(lse, right_lse, atol=1e-12)


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
def test_a_row_that_sees_nothing_weighs_nothing(
    kernel: AttentionKernel, dtype: torch.dtype
) -> None:
    q, k = torch.ones(1, 1, 2, 8, dtype=dtype), torch.ones(1, 1, 4, 8, dtype=dtype)
    mask = torch.zeros(1, 1, 2, 4, dtype=dtype)
    mask[0, 0, 0] = torch.finfo(dtype).min / 2
    out, lse = kernel(q, k, k, mask, 1.0)
    assert out.isfinite().all()
    assert float((lse[0, 0, 0] - lse[0, 0, 1]).float().exp()) == 0.0


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"softcap": 1.0}, "it caps its attention scores"),
        ({"s_aux": 1.0}, "it gives a part of its attention to learned sinks"),
        ({"hogwild": None}, "it does not pass further arguments to its attention"),
    ],
)
def test_scores_that_a_merge_cannot_honour_are_refused(
    fields: dict[str, object], reason: str
) -> None:
    nothing = torch.empty(0)
    given: dict[str, object] = {"hogwild": object(), **fields}
    with pytest.raises(ModelError, match=f"because {reason}; choose"):
        hogwild_attention(
            torch.nn.Identity(), nothing, nothing, nothing, None, scaling=1.0, **given,
        )  # fmt: skip

"""Every proven family against the plain transformers forward of an untouched twin."""

from typing import Any

import pytest
import torch
from torch import Tensor

from hogwild_dist.attention.registry import find_backend
from hogwild_dist.config import Visibility
from hogwild_dist.exchange.local import LocalExchange
from hogwild_dist.kvcache.rows import Row
from hogwild_dist.model.loaded_model import LoadedModel
from hogwild_dist.model.model_runner import ModelRunner
from tests.families import FAMILIES, WINDOW, family_model
from tests.model.encoding import encode_alone

CPU = torch.device("cpu")
IDS = torch.randint(1, 128, (64,), generator=torch.Generator().manual_seed(3)).tolist()
ATOL = {torch.float64: 1e-5, torch.float32: 2e-3}
"""transformers computes angles in single precision, so float64 agrees no better than 1e-6."""


def plain(twin: Any, ids: list[int]) -> Tensor:
    """Logits of the plain causal forward, ``[num_tokens, vocab_size]``."""
    with torch.inference_mode():
        logits: Tensor = twin(input_ids=torch.tensor([ids]), use_cache=False).logits[0]
    return logits


def new_runner(model: LoadedModel, kernel: str | None = None) -> ModelRunner:
    """With `tables` from fixed buffers, as GPUs run decode steps."""
    exchange = LocalExchange(Visibility.SAME_STEP)
    attention = find_backend(kernel, model.attention_needs)
    return ModelRunner(model, model.new_cache(1_024), exchange, attention, graphs=True)


def close(found: Tensor, right: Tensor) -> bool:
    scale = float(right.double().std())
    return bool((found.double() - right.double()).abs().max() < ATOL[right.dtype] * scale)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("kernel", ["cpu-flash", "matmul", "tables"])
@pytest.mark.parametrize("name", FAMILIES)
def test_a_text_in_blocks_reads_as_in_one_piece(name: str, dtype: torch.dtype, kernel: str) -> None:
    model, twin = family_model(name, dtype)
    runner = new_runner(model, kernel)
    blocks = [runner.cache.new_block(str(i)) for i in range(3)]
    expected = plain(twin, IDS)
    position = 0
    for index, (length, chunk) in enumerate(((30, 7), (20, 20), (14, 1))):
        stop = position + length
        while position < stop:
            ids = tuple(IDS[position : min(position + chunk, stop)])
            logits, _ = runner.forward([Row(tuple(blocks[: index + 1]), ids)])
            position += len(ids)
            assert close(logits[0], expected[position - 1]), (index, position)


@pytest.mark.parametrize("name", FAMILIES)
def test_a_block_read_at_another_place_differs(name: str) -> None:
    """The test above can fail: without the turn, or past the window, logits are elsewhere."""
    model, twin = family_model(name, torch.float64)
    runner = new_runner(model)
    one, two = runner.cache.new_block("1"), runner.cache.new_block("2")
    runner.forward([Row((one,), tuple(IDS[:30]))])
    logits, _ = runner.forward([Row((two,), tuple(IDS[30:40]))])
    assert not close(logits[0], plain(twin, IDS[:40])[-1])


@pytest.mark.parametrize("kernel", ["cpu-flash", "tables"])
@pytest.mark.parametrize("name", FAMILIES)
def test_two_workers_in_one_forward_who_see_a_common_text(name: str, kernel: str) -> None:
    model, twin = family_model(name, torch.float64)
    runner = new_runner(model, kernel)
    common, alice, bob = (runner.cache.new_block(n) for n in "cab")
    encode_alone(runner, common, IDS[:25], 10)
    texts = {alice: IDS[25:40], bob: IDS[40:64]}
    fed = dict.fromkeys(texts, 0)
    for sizes in ((6, 9), (1, 1), (3, 1), (5, 13)):
        rows = []
        for (block, ids), size in zip(texts.items(), sizes, strict=True):
            rows.append(Row((common, block), tuple(ids[fed[block] : fed[block] + size])))
            fed[block] += size
        logits, _ = runner.forward(rows)
        for row, (block, ids) in enumerate(texts.items()):
            assert close(logits[row], plain(twin, IDS[:25] + ids[: fed[block]])[-1])


@pytest.mark.parametrize("name", FAMILIES)
def test_a_reader_of_a_worker_that_feeds_in_the_same_step(name: str) -> None:
    """All layers: Bob's view is Alice's text and his own, both fed in one forward."""
    model, twin = family_model(name, torch.float64)
    runner = new_runner(model)
    common, alice, bob = (runner.cache.new_block(n) for n in "cab")
    encode_alone(runner, common, IDS[:20], 64)
    rows = [
        Row((common, alice), tuple(IDS[20:45])),
        Row((common, alice, bob), tuple(IDS[45:60])),
    ]
    logits, _ = runner.forward(rows)
    expected = plain(twin, IDS[:60])
    assert close(logits[0], expected[44])
    assert close(logits[1], expected[59])


@pytest.mark.parametrize("name", FAMILIES)
def test_two_workers_who_see_each_other(name: str) -> None:
    """One layer, so that a key depends on its token only: each view is a plain text."""
    changes = {"num_hidden_layers": 1}
    if name == "gemma3":
        changes["layer_types"] = ["sliding_attention"]
    model, twin = family_model(name, torch.float64, **changes)
    runner = new_runner(model)
    common, separator, alice, bob = (runner.cache.new_block(n) for n in "csab")
    encode_alone(runner, common, IDS[:20], 64)
    encode_alone(runner, separator, IDS[20:23], 64)
    texts = {alice: IDS[23:43], bob: IDS[43:64]}
    views = {alice: (common, bob, separator, alice), bob: (common, alice, separator, bob)}
    fed = dict.fromkeys(texts, 0)
    for sizes in ((1, 8), (5, 1), (1, 1), (1, 1), (7, 2)):
        rows = []
        for (block, ids), size in zip(texts.items(), sizes, strict=True):
            rows.append(Row(views[block], tuple(ids[fed[block] : fed[block] + size])))
            fed[block] += size
        logits, _ = runner.forward(rows)
        for row, (own, other) in enumerate(((alice, bob), (bob, alice))):
            text = IDS[:20] + texts[other][: fed[other]] + IDS[20:23] + texts[own][: fed[own]]
            assert close(logits[row], plain(twin, text)[-1])


@pytest.mark.parametrize("name", FAMILIES)
def test_a_moved_block_reads_as_before(name: str) -> None:
    """The paragraph stands at the same place before and after it moves to the history."""
    logits = []
    for moves in (False, True):
        model, _ = family_model(name, torch.float64)
        runner = new_runner(model)
        common, paragraph, own = (runner.cache.new_block(n) for n in "cpo")
        encode_alone(runner, common, IDS[:20], 64)
        runner.forward([Row((common, paragraph), tuple(IDS[20:35]))])
        if moves:
            assert runner.cache.append_from(common, paragraph) == 15
        logits.append(runner.forward([Row((common, paragraph, own), tuple(IDS[35:50]))])[0][0])
    assert close(logits[1], logits[0])


@pytest.mark.parametrize("name", ["mistral", "gemma3"])
def test_a_window_hides_what_is_far_in_the_view_and_not_what_is_near(name: str) -> None:
    changes: dict[str, Any] = {"num_hidden_layers": 1}
    if name == "gemma3":
        changes["layer_types"] = ["sliding_attention"]
    model, _ = family_model(name, torch.float64, **changes)

    def bob(first: int, near: int) -> Tensor:
        runner = new_runner(model)
        far_block, near_block, own = (runner.cache.new_block(n) for n in "fno")
        encode_alone(runner, far_block, [first] * 8, 64)
        encode_alone(runner, near_block, [near] * 8, 64)
        own_ids = tuple(IDS[: WINDOW - 8])
        return runner.forward([Row((far_block, near_block, own), own_ids)])[0][0]

    assert torch.equal(bob(5, 7), bob(6, 7))
    assert not torch.allclose(bob(5, 7), bob(5, 8))


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float16, 0.1), (torch.bfloat16, 0.5)])
@pytest.mark.parametrize("name", FAMILIES)
def test_half_precision_stays_near(name: str, dtype: torch.dtype, tolerance: float) -> None:
    model, twin = family_model(name, dtype)
    runner = new_runner(model)
    one, two = runner.cache.new_block("1"), runner.cache.new_block("2")
    encode_alone(runner, one, IDS[:30], 64)
    logits, _ = runner.forward([Row((one, two), tuple(IDS[30:50]))])
    expected = plain(twin, IDS[:50])[-1]
    assert logits.dtype == dtype
    error = (logits[0].double() - expected.double()).square().mean().sqrt()
    assert float(error / expected.double().std()) < tolerance

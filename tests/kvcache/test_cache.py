import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    rule,
)

from hogwild_dist.errors import ConfigError, ContextLimitError
from hogwild_dist.kvcache.cache import PAGE_TOKENS, Block, KVCache, LayerShape
from hogwild_dist.kvcache.rope import RotaryTables, rotate
from tests.kvcache.integrity import check_integrity

HEADS, DIM, LAYERS = 2, 8, 2
ROTARY = RotaryTables(
    inv_freq=(torch.tensor([1.0, 0.1, 0.01, 0.001], dtype=torch.float64),),
    table_of_layer=(0,) * LAYERS,
)


def new_cache(num_tokens: int) -> KVCache:
    return KVCache(
        layers=(LayerShape(num_kv_heads=HEADS, head_dim=DIM),) * LAYERS,
        num_tokens=num_tokens,
        rotary=ROTARY,
        dtype=torch.float64,
        device=torch.device("cpu"),
    )


def write(cache: KVCache, block: Block, count: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Append random K and V as a forward would; returns them, ``[LAYERS, HEADS, count, DIM]``."""
    generator = torch.Generator().manual_seed(seed)
    shape = (LAYERS, HEADS, count, DIM)
    keys = torch.randn(shape, generator=generator, dtype=torch.float64)
    values = torch.randn(shape, generator=generator, dtype=torch.float64)
    slots = torch.tensor(cache.extend(block, range(count)), dtype=torch.long)
    for layer in range(LAYERS):
        cache.write(layer, slots, keys[layer], values[layer])
    cache.commit(block, count)
    return keys, values


def read(cache: KVCache, slabs: list[torch.Tensor], block: Block) -> torch.Tensor:
    """What the extents hold, ``[LAYERS, HEADS, length, DIM]``."""
    spans = block.spans(0, block.length)
    empty = torch.empty(HEADS, 0, DIM, dtype=torch.float64)
    parts = [torch.cat([empty, *(slab[:, a:b] for a, b in spans)], 1) for slab in slabs]
    return torch.stack(parts)


def turned(keys: torch.Tensor, distance: int) -> torch.Tensor:
    """Keys rotated by `distance`, by the textbook formula on pairs (i, i + DIM / 2)."""
    angle = distance * ROTARY.inv_freq[0]
    low, high = keys[..., : DIM // 2], keys[..., DIM // 2 :]
    return torch.cat(
        (low * angle.cos() - high * angle.sin(), high * angle.cos() + low * angle.sin()), -1
    )


class CacheAgainstPlainTensors(RuleBasedStateMachine):
    """Random appends, truncations, moves and frees against blocks kept as plain tensors."""

    blocks = Bundle("blocks")

    @initialize()
    def start(self) -> None:
        self.cache = new_cache(24 * PAGE_TOKENS)
        self.plain: dict[Block, tuple[torch.Tensor, torch.Tensor]] = {}

    @rule(target=blocks)
    def new_block(self) -> Block:
        block = self.cache.new_block("b")
        nothing = torch.empty(LAYERS, HEADS, 0, DIM, dtype=torch.float64)
        self.plain[block] = (nothing, nothing)
        return block

    @rule(block=blocks, count=st.integers(1, 200), seed=st.integers(0, 9))
    def append(self, block: Block, count: int, seed: int) -> None:
        length = block.length
        try:
            keys, values = write(self.cache, block, count, seed)
        except ContextLimitError:
            assert block.length == length
            return
        old = self.plain[block]
        self.plain[block] = (torch.cat((old[0], keys), 2), torch.cat((old[1], values), 2))

    @rule(block=blocks, share=st.floats(0, 1))
    def truncate(self, block: Block, share: float) -> None:
        length = int(block.length * share)
        self.cache.truncate(block, length)
        keys, values = self.plain[block]
        self.plain[block] = (keys[:, :, :length], values[:, :, :length])

    @rule(target_block=blocks, source=blocks)
    def move(self, target_block: Block, source: Block) -> None:
        if target_block is source:
            return
        shift = target_block.length
        try:
            moved = self.cache.append_from(target_block, source)
        except ContextLimitError:
            return
        old, new = self.plain[target_block], self.plain[source]
        assert moved == new[0].shape[2]
        self.plain[target_block] = (
            torch.cat((old[0], turned(new[0], shift)), 2),
            torch.cat((old[1], new[1]), 2),
        )
        self.plain[source] = (new[0][:, :, :0], new[1][:, :, :0])

    @rule(block=consumes(blocks))
    def free(self, block: Block) -> None:
        pages = self.cache.pages.num_free
        held = sum(extent.capacity for extent in block.extents) // PAGE_TOKENS
        self.cache.free(block)
        del self.plain[block]
        assert self.cache.pages.num_free == pages + held

    @invariant()
    def same_content(self) -> None:
        if not hasattr(self, "cache"):
            return
        check_integrity(self.cache)
        for block, (keys, values) in self.plain.items():
            assert torch.allclose(read(self.cache, self.cache.keys, block), keys, atol=1e-12)
            assert torch.equal(read(self.cache, self.cache.values, block), values)


CacheAgainstPlainTensors.TestCase.settings = settings(max_examples=25, stateful_step_count=25)
TestCacheAgainstPlainTensors = CacheAgainstPlainTensors.TestCase


def test_a_block_grows_in_place_beside_others() -> None:
    cache = new_cache(256 * PAGE_TOKENS)
    blocks = [cache.new_block(f"w{i}") for i in range(4)]
    for _ in range(2_000):
        for block in blocks:
            cache.extend(block, [0])
    assert [len(block.extents) for block in blocks] == [1, 1, 1, 1]


def test_appending_touches_one_slot_whatever_the_length() -> None:
    cache = new_cache(20_000)
    block = cache.new_block("b")
    cache.keys[0].zero_()  # a fresh slab may hold NaN, which equals nothing
    addresses = {cache.keys[0].data_ptr(), cache.values[0].data_ptr()}
    touched = {}
    for length in (100, 10_000):
        cache.extend(block, [0] * (length - block.length))
        before = cache.keys[0].clone()
        ones = torch.ones(HEADS, 1, DIM, dtype=torch.float64) * length
        cache.write(0, torch.tensor(cache.extend(block, [7])), ones, ones)
        touched[length] = int((cache.keys[0] != before).any(2).any(0).sum())
    assert touched == {100: 1, 10_000: 1}
    assert addresses == {cache.keys[0].data_ptr(), cache.values[0].data_ptr()}


def test_reading_is_a_slice_of_the_slab() -> None:
    cache = new_cache(4_096)
    block = cache.new_block("b")
    write(cache, block, 3_000, seed=1)
    ((start, stop),) = block.spans(0, 3_000)
    part = cache.keys[0][:, start:stop]
    assert part.untyped_storage().data_ptr() == cache.keys[0].untyped_storage().data_ptr()


def test_checksums_see_a_single_bit_and_the_order() -> None:
    cache = new_cache(1_024)
    one, two = cache.new_block("one"), cache.new_block("two")
    write(cache, one, 100, seed=3)
    write(cache, two, 100, seed=3)
    assert cache.checksum(one) == cache.checksum(two)
    slot = two.spans(50, 51)[0][0]
    cache.values[1][0, slot, 0] = torch.nextafter(
        cache.values[1][0, slot, 0], torch.tensor(9.0, dtype=torch.float64)
    )
    assert cache.checksum(one) != cache.checksum(two)


def test_truncating_beyond_the_end_is_refused() -> None:
    cache = new_cache(128)
    block = cache.new_block("b")
    cache.extend(block, [1, 2])
    with pytest.raises(ValueError, match="has 2 tokens and cannot be cut to 3"):
        cache.truncate(block, 3)


def test_integrity_check_finds_a_lost_page() -> None:
    cache = new_cache(256)
    cache.pages.allocate(1)
    with pytest.raises(AssertionError, match="leaked"):
        check_integrity(cache)


@given(st.integers(-500, 500), st.integers(-500, 500))
def test_turns_compose(first: int, second: int) -> None:
    heads = torch.randn(1, 3, DIM, dtype=torch.float64, generator=torch.Generator().manual_seed(0))

    def turn(x: torch.Tensor, distance: int) -> torch.Tensor:
        return rotate(x, *ROTARY.rotation(torch.full((3,), distance), 0, torch.float64))

    assert torch.allclose(turn(turn(heads, first), second), turn(heads, first + second), atol=1e-9)
    assert torch.allclose(turn(heads, first), turned(heads, first), atol=1e-12)


def test_a_cache_that_no_memory_holds_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"takes .* GiB, which cpu does not have free"):
        new_cache(10**14)

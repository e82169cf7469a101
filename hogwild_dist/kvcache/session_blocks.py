"""The blocks of one session by name, and finished paragraphs on their way to the history."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

from hogwild_dist.kvcache.cache import Block, KVCache


class SessionBlocks(Mapping[str, Block]):
    """Name -> the block that is being written.

    In every view, a shared prefix and a sealed block come before the block of the same name.

    Args:
        cache: holds the blocks.
        names: names of all blocks.
    """

    def __init__(self, cache: KVCache, names: Iterable[str]) -> None:
        self._cache = cache
        self._blocks = {name: cache.new_block(name) for name in names}
        self._sealed: dict[str, Block] = {}
        self._prefixes: dict[str, Block] = {}

    def __getitem__(self, name: str) -> Block:
        return self._blocks[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._blocks)

    def __len__(self) -> int:
        return len(self._blocks)

    def view(self, names: Iterable[str]) -> tuple[Block, ...]:
        """Return the blocks of these names in order, with their prefixes and sealed blocks."""
        return tuple(block for name in names for block in self._parts(name))

    def lengths(self) -> dict[str, int]:
        """Return block name -> number of tokens that all shards agree on."""
        return {name: sum(part.committed for part in self._parts(name)) for name in self}

    def token_ids(self) -> dict[str, list[int]]:
        """Return block name -> the tokens that all shards agree on."""
        return {
            name: [
                token for part in self._parts(name) for token in part.token_ids[: part.committed]
            ]
            for name in self
        }

    def checksums(self) -> dict[str, int]:
        """Return block name -> a number that is equal on all shards if the copies agree."""
        return {name: self._cache.checksum(block) for name, block in self.items()}

    def seal(self, name: str) -> Block:
        """End the paragraph in a block; the next paragraph begins in a new block.

        Returns:
            The sealed block.
        """
        sealed = self._sealed[name] = self._blocks[name]
        self._blocks[name] = self._cache.new_block(name)
        return sealed

    def attach_prefix(self, name: str, prefix: Block) -> None:
        """Put a prefix that is shared with other sessions before the block of this name."""
        self._prefixes[name] = prefix

    def num_pages(self) -> int:
        """Return the number of pages of all committed tokens, without those of shared prefixes."""
        own = (*self.values(), *self._sealed.values())
        return sum(self._cache.pages_of(block.committed) for block in own)

    def add(self, name: str) -> Block:
        """Add a block and return it."""
        self._blocks[name] = self._cache.new_block(name)
        return self._blocks[name]

    @contextmanager
    def passing(self, name: str) -> Iterator[Block]:
        """Provide a block that is freed when the `with` block ends."""
        block = self._cache.new_block(name)
        try:
            yield block
        finally:
            self._cache.free(block)

    def append(self, target: str, block: Block) -> None:
        """Append the content of a block to the shared block `target`."""
        self._cache.append_from(self._blocks[target], block)

    def renew(self, name: str) -> Block:
        """Replace a block by an empty one, which is returned."""
        self._cache.free(self._blocks[name])
        self._blocks[name] = self._cache.new_block(name)
        return self._blocks[name]

    def move(self, name: str, target: str) -> int:
        """Append the sealed block of this name to `target`.

        Returns:
            Number of tokens moved.
        """
        sealed = self._sealed[name]
        moved = self._cache.append_from(self._blocks[target], sealed)
        self._cache.free(self._sealed.pop(name))
        return moved

    def free(self) -> None:
        """Free all blocks."""
        for block in (*self.values(), *self._sealed.values()):
            self._cache.free(block)
        self._blocks.clear()
        self._sealed.clear()
        self._prefixes.clear()

    def _parts(self, name: str) -> Iterator[Block]:
        if name in self._prefixes:
            yield self._prefixes[name]
        if name in self._sealed:
            yield self._sealed[name]
        yield self._blocks[name]

"""The blocks of one session, by name, and the paragraphs that wait to move to the history."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

from hogwild_dist.kvcache.cache import Block, KVCache


class SessionBlocks(Mapping[str, Block]):
    """Name -> the block that is written now.

    A beginning that is shared with other sessions and a sealed block stand before it in every view.

    Args:
        cache: where they live.
        names: of all blocks.
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
        """The blocks of some names in order, sealed ones included."""
        return tuple(block for name in names for block in self._parts(name))

    def lengths(self) -> dict[str, int]:
        """Tokens of each block that all shards agree on."""
        return {name: sum(part.committed for part in self._parts(name)) for name in self}

    def token_ids(self) -> dict[str, list[int]]:
        """These tokens."""
        return {
            name: [
                token for part in self._parts(name) for token in part.token_ids[: part.committed]
            ]
            for name in self
        }

    def checksums(self) -> dict[str, int]:
        """For each block a number that copies on other shards share if they agree bit for bit."""
        return {name: self._cache.checksum(block) for name, block in self.items()}

    def seal(self, name: str) -> Block:
        """End the paragraph in a block; the next one begins in a fresh block.

        Returns:
            The sealed block.
        """
        sealed = self._sealed[name] = self._blocks[name]
        self._blocks[name] = self._cache.new_block(name)
        return sealed

    def attach_prefix(self, name: str, beginning: Block) -> None:
        """Let a block that others see too stand before this one; it is never written here."""
        self._prefixes[name] = beginning

    def num_pages(self) -> int:
        """Pages of all tokens that all shards agree on, without those of shared beginnings."""
        own = (*self.values(), *self._sealed.values())
        return sum(self._cache.pages_of(block.committed) for block in own)

    def add(self, name: str) -> Block:
        """A new block of this name."""
        self._blocks[name] = self._cache.new_block(name)
        return self._blocks[name]

    @contextmanager
    def passing(self, name: str) -> Iterator[Block]:
        """A block that is freed in the end."""
        block = self._cache.new_block(name)
        try:
            yield block
        finally:
            self._cache.free(block)

    def append(self, target: str, block: Block) -> None:
        """Append all of a block to the shared block `target`."""
        self._cache.append_from(self._blocks[target], block)

    def renew(self, name: str) -> Block:
        """Put an empty block in the place of one that is no longer needed."""
        self._cache.free(self._blocks[name])
        self._blocks[name] = self._cache.new_block(name)
        return self._blocks[name]

    def move(self, name: str, target: str) -> int:
        """Append what was sealed under `name` to `target`.

        Returns:
            Tokens moved.
        """
        sealed = self._sealed.pop(name)
        moved = self._cache.append_from(self._blocks[target], sealed)
        self._cache.free(sealed)
        return moved

    def free(self) -> None:
        """Give all back."""
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

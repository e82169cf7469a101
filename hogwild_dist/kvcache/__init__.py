"""The shared key-value cache: blocks, pages, prefixes and rotary rotation."""

"""The tables of a step: which query tokens read which keys, as whole numbers for the kernels.

A *task* reads up to `chunk` consecutive keys of a block for up to `max_entries` query tokens, and
writes one partial result for each of them. A token's partial results are listed, so that the second
kernel can merge them. All that changes from step to step lies in these tables.
"""

from dataclasses import dataclass
from itertools import pairwise

from hogwild_dist.attention.batch import Batch
from hogwild_dist.attention.plan import Entry, entries_by_block
from hogwild_dist.kvcache.cache import Block
from hogwild_dist.kvcache.page_allocator import ceil_div

TASK_FIELDS = 6
"""Numbers of a task: slot and position of its first key, number of keys, first entry, number of
entries, first result."""

KEY_STEP = 64
"""Chunks are multiples of this number of keys, which the kernel reads at a time."""

MOST_CHUNK = 1_024
"""Most keys of a task; longer ones would leave multiprocessors idle at the end of a launch."""


@dataclass(frozen=True, slots=True)
class StepTables:
    """The tables of all layers with the same sliding window.

    Attributes:
        tokens: ``[num_entries]`` packed query token of each entry.
        distances: ``[num_entries]`` rotation of each entry's query, in tokens, to fit the block.
        lows: ``[num_entries]`` first block position that the entry sees.
        highs: ``[num_entries]`` last block position that the entry sees, plus one.
        local_tasks: ``[num_local_tasks * TASK_FIELDS]``, tasks that read no keys from peers.
        peer_tasks: ``[num_peer_tasks * TASK_FIELDS]``, tasks whose keys arrive during the step.
        widest: most entries of a task.
        num_results: number of partial results.
        parts: results of each token, token by token.
        part_starts: ``[num_tokens + 1]`` first place of each token in `parts`, then the total.
    """

    tokens: list[int]
    distances: list[int]
    lows: list[int]
    highs: list[int]
    local_tasks: list[int]
    peer_tasks: list[int]
    widest: int
    num_results: int
    parts: list[int]
    part_starts: list[int]

    @property
    def num_tasks(self) -> int:
        """Number of tasks."""
        return (len(self.local_tasks) + len(self.peer_tasks)) // TASK_FIELDS


def chunk_size(batch: Batch, max_entries: int, wanted_tasks: int) -> int:
    """Return the number of keys of a task with which a step has about `wanted_tasks` tasks.

    Args:
        batch: the packed tokens of the step.
        max_entries: most query tokens of a task.
        wanted_tasks: number of tasks that keeps all multiprocessors busy.
    """
    new_tokens = [stop - start for start, stop in pairwise(batch.row_starts)]
    lengths: dict[Block, int] = {}
    entries: dict[Block, int] = {}
    for read in batch.reads:
        lengths[read.block] = max(lengths.get(read.block, 0), read.length)
        entries[read.block] = entries.get(read.block, 0) + new_tokens[read.row]
    total = sum(length * ceil_div(entries[block], max_entries) for block, length in lengths.items())
    steps = ceil_div(total, KEY_STEP * max(1, wanted_tasks))
    return min(MOST_CHUNK, KEY_STEP * max(1, steps))


def build_tables(batch: Batch, window: int | None, chunk: int, max_entries: int) -> StepTables:
    """Return the tables of a step.

    Args:
        batch: the packed tokens of the step.
        window: sliding window in tokens of the worker's view, or None.
        chunk: most keys of a task.
        max_entries: most query tokens of a task.
    """
    entries: list[Entry] = []
    local: list[tuple[int, ...]] = []
    arriving: list[tuple[int, ...]] = []
    parts: list[list[int]] = [[] for _ in range(batch.num_tokens)]
    num_results = 0
    for block, group in entries_by_block(batch, window):
        for begin in range(0, len(group), max_entries):
            some = group[begin : begin + max_entries]
            for position, start, count, from_peers in _runs(block, some, batch, chunk):
                task = (start, position, count, len(entries), len(some), num_results)
                (arriving if from_peers else local).append(task)
                for at, entry in enumerate(some):
                    if entry.low < position + count and position < entry.high:
                        parts[entry.token].append(num_results + at)
                num_results += len(some)
            entries += some
    part_starts = [0]
    for own in parts:
        part_starts.append(part_starts[-1] + len(own))
    return StepTables(
        tokens=[entry.token for entry in entries],
        distances=[entry.distance for entry in entries],
        lows=[entry.low for entry in entries],
        highs=[entry.high for entry in entries],
        local_tasks=[number for task in local for number in task],
        peer_tasks=[number for task in arriving for number in task],
        widest=max((task[4] for task in (*local, *arriving)), default=0),
        num_results=num_results,
        parts=[place for own in parts for place in own],
        part_starts=part_starts,
    )


def _runs(
    block: Block, entries: list[Entry], batch: Batch, chunk: int
) -> list[tuple[int, int, int, bool]]:
    """Return position, first slot and length of the key runs, and whether they come from peers.

    Each run lies within one extent and has at most `chunk` keys.
    """
    low, high = min(entry.low for entry in entries), max(entry.high for entry in entries)
    arrives_at = batch.arriving.get(block)
    cut = high if arrives_at is None else max(low, min(arrives_at, high))
    runs = []
    for begin, end, from_peers in ((low, cut, False), (cut, high, True)):
        position = begin
        for start, stop in block.spans(begin, end):
            for slot in range(start, stop, chunk):
                count = min(chunk, stop - slot)
                runs.append((position, slot, count, from_peers))
                position += count
    return runs

"""The history of a team: its finished paragraphs, and tokens since the redundancy question."""

from collections.abc import Sequence

from hogwild_dist.kvcache.session_blocks import SessionBlocks
from hogwild_dist.session.events import Event, ParagraphEnd
from hogwild_dist.session.worker import PendingMove, TokenEffect, Worker


class History:
    """Finished paragraphs of a session; the same on every shard.

    Args:
        blocks: blocks of the session, among which finished paragraphs move.
    """

    def __init__(self, blocks: SessionBlocks) -> None:
        self._blocks = blocks
        self.ids: dict[str, list[int]] = {}
        """Shared block -> tokens of the finished paragraphs that moved to it."""
        self.text = ""
        """Text of the finished paragraphs, in the order in which they ended."""
        self.since_check = 0
        """Number of tokens fed by the team since the redundancy question was last asked."""

    def add(self, target: str, token_ids: Sequence[int], text: str) -> None:
        """Record a text that was appended to the shared block `target`."""
        self.ids.setdefault(target, []).extend(token_ids)
        self.text += text

    def apply_to_team(self, worker: Worker, effect: TokenEffect, step: int) -> list[Event]:
        """Apply the effect of a worker's newest token to the team and return its events."""
        events: list[Event] = [effect.text]
        if effect.move is not None:
            events.append(self._move(worker, effect.move, step))
        if effect.prefix is not None:
            events.append(effect.prefix)
        if not worker.finisher:
            self.since_check += effect.num_next
            worker.since_check += effect.num_next
        return events

    def _move(self, worker: Worker, move: PendingMove, step: int) -> ParagraphEnd:
        """Move a sealed paragraph to its shared block."""
        target = worker.spec.paragraphs_to
        assert target is not None
        moved = self._blocks.move(move.block.name, target)
        self.add(target, move.token_ids, move.text)
        if move.asked:
            self.since_check = 0
            worker.since_check = 0
        return ParagraphEnd(
            step=step,
            worker=worker.index,
            name=worker.spec.name,
            index=move.index,
            from_block=move.block.name,
            to_block=target,
            moved=moved,
            token_ids=move.token_ids,
            text=move.text,
            next_input=move.next_input,
            asked=move.asked,
        )

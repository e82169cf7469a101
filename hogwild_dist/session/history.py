"""What a team has written together: its finished paragraphs, and when it was last questioned."""

from collections.abc import Sequence

from hogwild_dist.kvcache.session_blocks import SessionBlocks
from hogwild_dist.session.events import Event, ParagraphEnd
from hogwild_dist.session.worker import PendingMove, TokenEffect, Worker


class History:
    """Grows with what the workers' choices tell the team; the same on every shard.

    Args:
        blocks: of the session; finished paragraphs move there.
    """

    def __init__(self, blocks: SessionBlocks) -> None:
        self._blocks = blocks
        self.ids: dict[str, list[int]] = {}
        """Tokens of the finished paragraphs, for each shared block they moved to."""
        self.text = ""
        """Text of the finished paragraphs, in the order in which they ended."""
        self.since_check = 0
        """Tokens fed by the team since the redundancy question was last asked."""

    def add(self, target: str, token_ids: Sequence[int], text: str) -> None:
        """Note what was appended to the shared block `target`."""
        self.ids.setdefault(target, []).extend(token_ids)
        self.text += text

    def apply_to_team(self, worker: Worker, effect: TokenEffect, step: int) -> list[Event]:
        """What a worker's newest token brings: text, and perhaps a finished paragraph."""
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
        """Append a sealed paragraph."""
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

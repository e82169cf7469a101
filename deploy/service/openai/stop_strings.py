"""An answer as it may be shown: up to a stop string, and not into what may become one."""

from collections.abc import Sequence


class StopStringFilter:
    """Text that grows, cut before the first stop string.

    Args:
        stops: none of them is empty.
    """

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = stops
        self._held = ""
        self.stopped = False
        """Whether a stop string has come."""

    def add(self, text: str) -> str:
        """Take in the next text; returns what can be shown now."""
        if self.stopped:
            return ""
        waiting = self._held + text
        found = [at for at in map(waiting.find, self._stops) if at >= 0]
        if found:
            self.stopped, self._held = True, ""
            return waiting[: min(found)]
        keep = max((_overlap(waiting, stop) for stop in self._stops), default=0)
        self._held = waiting[len(waiting) - keep :]
        return waiting[: len(waiting) - keep]

    def rest(self) -> str:
        """What was held back, once no text follows."""
        held, self._held = self._held, ""
        return held


def _overlap(text: str, stop: str) -> int:
    """Length of the longest beginning of `stop`, not all of it, that `text` ends with."""
    longest = min(len(text), len(stop) - 1)
    return next((size for size in range(longest, 0, -1) if text.endswith(stop[:size])), 0)

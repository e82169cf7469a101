"""The part of an answer that can be shown: nothing of a stop string, or of what may become one."""

from collections.abc import Sequence

from hogwild_dist.session.stop_strings import find_stop, num_held


class StopStringFilter:
    """Text that grows, cut before the first stop string.

    Args:
        stops: stop strings; none of them is empty.
    """

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = stops
        self._held = ""
        self.stopped = False
        """Whether a stop string was found."""

    def add(self, text: str) -> str:
        """Add the next text; return what can be shown now."""
        if self.stopped:
            return ""
        waiting = self._held + text
        start = find_stop(waiting, self._stops, len(text))
        if start is not None:
            self.stopped, self._held = True, ""
            return waiting[:start]
        shown = len(waiting) - num_held(waiting, self._stops)
        self._held = waiting[shown:]
        return waiting[:shown]

    def rest(self) -> str:
        """Return the text held back, once no more text follows."""
        held, self._held = self._held, ""
        return held

"""Stop strings in text that grows: where one begins, and how much of the end to hold back."""

from collections.abc import Sequence


def find_stop(text: str, stops: Sequence[str], num_new: int) -> int | None:
    """Return where the first stop string begins that the newest characters complete.

    Args:
        text: all the text so far.
        stops: stop strings; none of them is empty.
        num_new: number of characters at the end of `text` that are new.

    Returns:
        An index into `text`, or None if the new characters complete no stop string.
    """
    found = [text.find(stop, max(0, len(text) - num_new - len(stop) + 1)) for stop in stops]
    return min((start for start in found if start >= 0), default=None)


def num_held(text: str, stops: Sequence[str]) -> int:
    """Return how many of the last characters may be the start of a stop string.

    Args:
        text: text that contains no whole stop string.
        stops: stop strings; none of them is empty.
    """
    return max(
        (size for stop in stops for size in range(1, len(stop)) if text.endswith(stop[:size])),
        default=0,
    )

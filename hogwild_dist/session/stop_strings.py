"""Stop strings in text that grows: where one begins, and how much of the end to hold back."""

from collections.abc import Sequence

from hogwild_dist.errors import ConfigError

MAX_STOPS = 64
MAX_CHARS = 500
"""Most stop strings, and characters of one: each token is compared with all of them."""


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
    return max((_num_begun(text, stop) for stop in stops), default=0)


def check_stops(stops: Sequence[str]) -> None:
    """Refuse stop strings that cannot be found, or only slowly.

    Raises:
        ConfigError: a stop string is empty or too long, or there are too many.
    """
    if "" in stops:
        raise ConfigError("A stop string is empty; omit it or give it text.")
    longest = max(stops, key=len, default="")
    if len(longest) > MAX_CHARS:
        raise ConfigError(
            f"The stop string {longest[:20]!r}... has {len(longest)} characters; use at most "
            f"{MAX_CHARS}."
        )
    if len(stops) > MAX_STOPS:
        raise ConfigError(f"There are {len(stops)} stop strings; use at most {MAX_STOPS}.")


def _num_begun(text: str, stop: str) -> int:
    """Return how many of the last characters are the start of one stop string."""
    start = text.find(stop[0], max(0, len(text) - len(stop) + 1))
    while start >= 0 and not stop.startswith(text[start:]):
        start = text.find(stop[0], start + 1)
    return len(text) - start if start >= 0 else 0

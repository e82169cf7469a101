"""Numbers about many graded answers."""

import re
from collections import Counter, deque
from collections.abc import Iterable, Sequence
from math import sqrt

Z95 = 1.959964
"""Of a 95 % interval."""


def wilson(right: int, total: int, z: float = Z95) -> tuple[float, float]:
    """Confidence interval of a share (Wilson, 1927); (0, 1) where nothing was counted.

    Args:
        right: successes.
        total: trials.
        z: width in standard deviations.
    """
    if total == 0:
        return 0.0, 1.0
    share = right / total
    middle = share + z * z / (2 * total)
    spread = z * sqrt(share * (1 - share) / total + z * z / (4 * total * total))
    scale = 1 + z * z / total
    return max(0.0, (middle - spread) / scale), min(1.0, (middle + spread) / scale)


def redundancy(pieces: Iterable[tuple[str, str, int]], size: int = 4) -> dict[str, float]:
    """For each who wrote, the share of its word n-grams that somebody else had written before.

    What two write in the same step counts for neither.

    Args:
        pieces: (who, text, step) in the order in which it was written; words may span pieces.
        size: words of an n-gram.
    """
    earliest: dict[tuple[str, ...], dict[str, int]] = {}
    begun: dict[str, str] = {}
    words: dict[str, deque[str]] = {}
    repeated: Counter[str] = Counter()
    total: Counter[str] = Counter()

    def finish(who: str, finished: Sequence[str], step: int) -> None:
        last = words.setdefault(who, deque(maxlen=size))
        for word in finished:
            last.append(word)
            if len(last) == size:
                total[who] += 1
                writers = earliest.setdefault(tuple(last), {})
                repeated[who] += any(w != who and at < step for w, at in writers.items())
                writers.setdefault(who, step)

    step = 0
    for who, text, step in pieces:
        so_far = begun.get(who, "") + text
        *finished, begun[who] = re.split(r"\s+", so_far)
        finish(who, [word for word in finished if word], step)
    for who, rest in begun.items():
        finish(who, [rest] if rest else [], step)
    return {who: repeated[who] / total[who] if total[who] else 0.0 for who in begun}

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


def redundancy(pieces: Iterable[tuple[str, str]], size: int = 4) -> dict[str, float]:
    """For each who wrote, the share of its word n-grams that somebody else had written before.

    Args:
        pieces: (who, text) in the order in which it was written; words may span pieces.
        size: words of an n-gram.
    """
    first: dict[tuple[str, ...], str] = {}
    begun: dict[str, str] = {}
    words: dict[str, deque[str]] = {}
    repeated: Counter[str] = Counter()
    total: Counter[str] = Counter()

    def finish(who: str, finished: Sequence[str]) -> None:
        last = words.setdefault(who, deque(maxlen=size))
        for word in finished:
            last.append(word)
            if len(last) == size:
                total[who] += 1
                repeated[who] += first.setdefault(tuple(last), who) != who

    for who, text in pieces:
        so_far = begun.get(who, "") + text
        *finished, begun[who] = re.split(r"\s+", so_far)
        finish(who, [word for word in finished if word])
    for who, rest in begun.items():
        finish(who, [rest] if rest else [])
    return {who: repeated[who] / total[who] if total[who] else 0.0 for who in begun}

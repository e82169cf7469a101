"""Confidence intervals of an accuracy, and the redundancy of texts."""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from math import sqrt
from statistics import fmean

Z95 = 1.959964
"""Half-width of a 95 % interval in standard deviations."""

GRAM_WORDS = 4
"""Words of an n-gram."""


def wilson(share: float, trials: float) -> tuple[float, float]:
    """Return the 95 % confidence interval of a share (Wilson, 1927); (0, 1) without trials.

    Args:
        share: successes among the trials, 0 to 1.
        trials: number of independent trials.
    """
    if trials == 0:
        return 0.0, 1.0
    middle = share + Z95**2 / (2 * trials)
    spread = Z95 * sqrt(share * (1 - share) / trials + Z95**2 / (4 * trials**2))
    scale = 1 + Z95**2 / trials
    return max(0.0, (middle - spread) / scale), min(1.0, (middle + spread) / scale)


def clustered(counts: Iterable[tuple[int, int]]) -> tuple[float, float]:
    """Return the 95 % confidence interval of a share whose trials are clustered.

    The seeds of one question are a cluster: their results are correlated, so they carry less
    information than as many questions. The design effect (Kish, 1965; Korn and Graubard, 1998),
    estimated from the variance between clusters, gives the effective number of independent trials,
    and Wilson's interval is computed for that number, as Dean and Pagano (2015) recommend. With one
    trial in each cluster the result is Wilson's interval. If all trials have the same result, no
    variance can be estimated, and each cluster counts as one trial.

    Args:
        counts: pairs (successes, trials), one for each cluster.
    """
    clusters = [(right, total) for right, total in counts if total]
    trials = sum(total for _, total in clusters)
    right = sum(right for right, _ in clusters)
    if right in (0, trials) or len(clusters) < 2:
        return wilson(right / trials if trials else 0.0, len(clusters))
    share = right / trials
    between = sum((own - share * total) ** 2 for own, total in clusters)
    variance = len(clusters) / (len(clusters) - 1) * between / trials**2
    design_effect = variance * (trials - 1) / (share * (1 - share))
    return wilson(share, trials / max(1.0, design_effect))


def redundancy(pieces: Iterable[tuple[str, str, int]]) -> dict[str, float]:
    """Return, for each writer, the share of its word 4-grams that another wrote earlier.

    4-grams that two writers finish in the same step count for neither of them.

    Args:
        pieces: triples (writer, text, step) in the order of writing; a word may span pieces.
    """
    grams = {who: list(_ngrams(words)) for who, words in _words(pieces).items()}
    earliest: dict[tuple[str, ...], dict[str, int]] = defaultdict(dict)
    for who, own in grams.items():
        for gram, step in own:
            earliest[gram].setdefault(who, step)

    def repeats(who: str, gram: tuple[str, ...], step: int) -> bool:
        return any(other != who and at < step for other, at in earliest[gram].items())

    return {
        who: fmean(repeats(who, gram, step) for gram, step in own) if own else 0.0
        for who, own in grams.items()
    }


def _words(pieces: Iterable[tuple[str, str, int]]) -> dict[str, list[tuple[str, int]]]:
    """Return each writer's words, each with the step in which it was finished."""
    words: dict[str, list[tuple[str, int]]] = {}
    unfinished: dict[str, tuple[str, int]] = {}
    for who, text, step in pieces:
        *finished, rest = re.split(r"\s+", unfinished.get(who, ("", 0))[0] + text)
        words.setdefault(who, []).extend((word, step) for word in finished if word)
        unfinished[who] = rest, step
    for who, last in unfinished.items():
        if last[0]:
            words[who].append(last)
    return words


def _ngrams(words: Sequence[tuple[str, int]]) -> Iterator[tuple[tuple[str, ...], int]]:
    """Yield the n-grams, each with the step of its last word."""
    for end in range(GRAM_WORDS, len(words) + 1):
        yield tuple(word for word, _ in words[end - GRAM_WORDS : end]), words[end - 1][1]

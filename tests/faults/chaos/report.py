"""What many trials have shown, as a table."""

import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from statistics import quantiles

from rich.table import Table

from tests.faults.chaos.play import Seen, Struck

MANY = 2
"""Faults of a kind of which a quantile can be given."""


def table(outcomes: Sequence[Seen]) -> Table:
    """Return how long faults of each kind were felt."""
    shown = Table(title="Seconds from a fault", title_justify="left")
    shown.add_column("fault")
    for title in ("number", "token p50", "p99", "alone: number", "token p50", "p99",
                  "full strength p50", "p99"):  # fmt: skip
        shown.add_column(title, justify="right")
    by_kind: dict[str, list[Struck]] = defaultdict(list)
    for one in outcomes:
        for struck in one.struck:
            ending = ", replay" if struck.replayed else ""
            for kind in (struck.fault.kind, "all"):
                by_kind[kind + ending].append(struck)
    for kind, found in sorted(by_kind.items(), key=lambda pair: ("all" in pair[0], pair[0])):
        alone = [one for one in found if one.alone]
        shown.add_row(
            kind,
            str(len(found)),
            *_two(one.next_token for one in found),
            str(len(alone)),
            *_two(one.next_token for one in alone),
            *_two(one.full_strength for one in alone),
        )
    return shown


def summary(outcomes: Sequence[Seen]) -> list[str]:
    """Return lines that say what was lost, and how fast tokens came."""
    num_tokens = sum(count for one in outcomes for _, count in one.arrivals)
    num_struck = sum(len(one.struck) for one in outcomes)
    failed = [error for one in outcomes for error in one.errors if error is not None]
    wrong = [one for one in outcomes if one.problem]
    calm, disturbed = _rates(outcomes)
    lines = [
        f"{num_struck} faults in {len(outcomes)} trials, {num_tokens} tokens",
        f"sessions that failed: {len(failed)}",
        f"trials in which an event was lost, changed or shown twice, or pages were left: "
        f"{len(wrong)}",
        f"tokens a second: {calm:.0f} at full strength, {disturbed:.0f} from a fault to full "
        "strength",
    ]
    lines += [f"seed {one.trial.seed}: {one.problem or one.errors}" for one in outcomes
              if one.problem or any(one.errors)]  # fmt: skip
    return lines


def lines(seen: Seen) -> list[str]:
    """Return the faults of a trial as lines of JSON."""
    about = {"seed": seen.trial.seed, "visibility": seen.trial.visibility.value}
    return [
        json.dumps({**about, **asdict(struck), **asdict(struck.fault)}) for struck in seen.struck
    ]


def _two(seconds: Iterable[float | None]) -> tuple[str, str]:
    """Return the median and the 99th percentile."""
    known = sorted(one for one in seconds if one is not None)
    if len(known) < MANY:
        return (f"{known[0]:.2f}", "") if known else ("", "")
    cuts = quantiles(known, n=100, method="inclusive")
    return f"{cuts[49]:.2f}", f"{cuts[98]:.2f}"


def _rates(outcomes: Sequence[Seen]) -> tuple[float, float]:
    """Return tokens a second at full strength, and between faults and full strength."""
    seconds, tokens = [0.0, 0.0], [0, 0]
    for one in outcomes:
        if len(one.arrivals) < MANY:
            continue
        spans = [(struck.at, struck.at + max(struck.next_token or 0, struck.full_strength or 0))
                 for struck in one.struck]  # fmt: skip
        last = one.arrivals[0][0]
        for at, count in one.arrivals[1:]:
            disturbed = any(begin < at and last < end for begin, end in spans)
            seconds[disturbed] += at - last
            tokens[disturbed] += count
            last = at
    calm, disturbed = (
        count / time if time else 0.0 for count, time in zip(tokens, seconds, strict=True)
    )
    return calm, disturbed

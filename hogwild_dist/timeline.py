"""Timelines: where a shard's time goes, for Chrome's trace viewer and for benchmarks."""

import json
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hogwild_dist.errors import TraceError


@dataclass(frozen=True, slots=True)
class Span:
    """An interval of time in which a shard did one thing.

    Attributes:
        name: `step`, `compute`, `sampling`, `send`, `wait` or `apply`; in `compute`, for steps on
            fixed buffers, `plan`, `capture`, `replay`, `plan ahead`, and `no graph` if it runs
            without.
        begin: start of the span, in seconds since the epoch.
        seconds: duration in seconds.
        collective: number of the collective, for `send` and `wait`.
    """

    name: str
    begin: float
    seconds: float
    collective: int | None = None

    @property
    def end(self) -> float:
        """End of the span, in seconds since the epoch."""
        return self.begin + self.seconds


@dataclass(slots=True)
class Timeline:
    """The spans of one shard.

    Attributes:
        enabled: whether spans are kept.
        spans: the spans, in the order in which they ended.
    """

    enabled: bool = False
    spans: list[Span] = field(default_factory=list)

    def span(self, name: str, collective: int | None = None) -> AbstractContextManager[None]:
        """Return a context manager that measures a ``with`` block."""
        return self._measure(name, collective) if self.enabled else nullcontext()

    @contextmanager
    def _measure(self, name: str, collective: int | None) -> Iterator[None]:
        begin = time.time()
        try:
            yield
        finally:
            self.spans.append(Span(name, begin, time.time() - begin, collective))


def exposed_waits(shards: Sequence[Sequence[Span]]) -> list[float]:
    """Return for each shard the seconds that it waited for bytes rather than for a slower peer.

    The wait for a collective counts from the moment at which the last rank called it: until then
    the shard waits for that rank and not for the network. Clocks must agree, as they do on one
    machine.
    """
    arrivals: dict[int, float] = {}
    for spans in shards:
        for span in spans:
            if span.name == "send" and span.collective is not None:
                arrivals[span.collective] = max(arrivals.get(span.collective, 0.0), span.begin)
    return [
        sum(
            max(0.0, span.end - max(span.begin, arrivals.get(span.collective, 0.0)))
            for span in spans
            if span.name == "wait" and span.collective is not None
        )
        for spans in shards
    ]


def write_chrome_trace(path: str | Path, shards: Sequence[Sequence[Span]]) -> None:
    """Write spans for ``chrome://tracing`` or Perfetto, one process for each shard.

    Raises:
        TraceError: the file cannot be written.
    """
    events: list[dict[str, Any]] = []
    for rank, spans in enumerate(shards):
        name = {"name": f"shard {rank}"}
        events.append({"name": "process_name", "ph": "M", "pid": rank, "args": name})
        events += [
            {
                "name": span.name,
                "ph": "X",
                "pid": rank,
                "tid": 0,
                "ts": round(span.begin * 1e6, 1),
                "dur": round(span.seconds * 1e6, 1),
                "args": {} if span.collective is None else {"collective": span.collective},
            }
            for span in sorted(spans, key=lambda span: (span.begin, -span.seconds))
        ]
    try:
        Path(path).write_text(json.dumps({"traceEvents": events}), encoding="utf-8")
    except OSError as error:
        raise TraceError(
            f"Timeline {str(path)!r} cannot be written: {error.strerror}; choose another file."
        ) from error

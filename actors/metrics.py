"""Metrics, which Ray exports as ``ray_<name>`` (counters with ``_total``); see docs/metrics.md."""

from collections.abc import Sequence
from dataclasses import replace

from ray.util.metrics import Counter, Gauge, Histogram

from hogwild_dist.engine.engine import Engine
from hogwild_dist.engine.scheduler.step import StepOutcome
from hogwild_dist.engine.updates import Update
from hogwild_dist.exchange.collectives import ExchangeCounts
from hogwild_dist.session.events import SessionEnd

STEP_BOUNDARIES = [0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0]
"""Histogram boundaries in seconds."""

SHARD_TAGS = ("group", "model", "shard")

UNNAMED = "unnamed"
"""Value of the `group` tag for groups without a name."""


class ShardMetrics:
    """Metrics of one shard, tagged with its group, model and rank.

    Args:
        group: name of the group, or None.
        rank: rank of the shard.
        engine: the shard's engine.
        counts: running totals of the shard's exchange.
    """

    def __init__(
        self, group: str | None, rank: int, engine: Engine, counts: ExchangeCounts
    ) -> None:
        self._engine = engine
        self._counts = counts
        self._last_counts = ExchangeCounts()
        tags = {"group": group or UNNAMED, "model": engine.model.name, "shard": str(rank)}
        self.tokens = Counter(
            "hogwild_tokens", "Tokens chosen by the shard's workers.", tag_keys=SHARD_TAGS
        )
        self.step_seconds = Histogram(
            "hogwild_step_seconds",
            "Duration of a step.",
            boundaries=STEP_BOUNDARIES,
            tag_keys=SHARD_TAGS,
        )
        self.exchange_seconds = Counter(
            "hogwild_exchange_seconds",
            "Time from sending to arrival, including compute that ran meanwhile.",
            tag_keys=SHARD_TAGS,
        )
        self.wait_seconds = Counter(
            "hogwild_exposed_wait_seconds",
            "Time the host spent waiting for collectives.",
            tag_keys=SHARD_TAGS,
        )
        self.bytes_sent = Counter(
            "hogwild_exchange_bytes", "Bytes sent to all peers.", tag_keys=SHARD_TAGS
        )
        self.collectives = Counter(
            "hogwild_collectives", "Collectives the shard took part in.", tag_keys=SHARD_TAGS
        )
        self.pages_used = Gauge(
            "hogwild_kv_pages_used", "Pages of the KV cache in use.",
            tag_keys=SHARD_TAGS,
        )  # fmt: skip
        self.pages = Gauge("hogwild_kv_pages", "Pages of the KV cache.", tag_keys=SHARD_TAGS)
        for metric in (
            self.pages_used,
            self.pages,
            self.tokens,
            self.step_seconds,
            self.exchange_seconds,
            self.wait_seconds,
            self.bytes_sent,
            self.collectives,
        ):
            metric.set_default_tags(tags)

    def observe(self, outcome: StepOutcome) -> None:
        """Record a step."""
        chosen = sum(row.token_id is not None for row in outcome.rows)
        now, last = self._counts, self._last_counts
        for metric, amount in (
            (self.tokens, chosen),
            (self.exchange_seconds, now.seconds - last.seconds),
            (self.wait_seconds, now.wait_seconds - last.wait_seconds),
            (self.bytes_sent, now.bytes_sent - last.bytes_sent),
            (self.collectives, now.collectives - last.collectives),
        ):
            if amount > 0:  # Ray rejects increments of 0
                metric.inc(amount)
        self.step_seconds.observe(outcome.seconds)
        self.observe_pages()
        self._last_counts = replace(now)

    def observe_pages(self) -> None:
        """Record how many pages the cache has and uses."""
        pages = self._engine.cache.pages
        self.pages.set(pages.num_pages)
        self.pages_used.set(pages.num_pages - self._engine.num_free_pages)


class DriverMetrics:
    """Metrics of one driver, tagged with its group.

    Args:
        group: name of the group, or None.
    """

    def __init__(self, group: str | None) -> None:
        tags = ("group",)
        self.live_shards = Gauge("hogwild_live_shards", "Shards of the group.", tag_keys=tags)
        self.lost_shards = Gauge(
            "hogwild_lost_shards", "Shards without which the group went on so far.", tag_keys=tags
        )
        self.sessions = Gauge(
            "hogwild_sessions", "Running sessions, including those waiting to start.", tag_keys=tags
        )
        self.waiting = Gauge(
            "hogwild_sessions_waiting", "Sessions waiting to start.", tag_keys=tags
        )
        self.ended = Counter(
            "hogwild_sessions_ended",
            "Ended sessions, by reason.",
            tag_keys=(*tags, "reason"),
        )
        for metric in (
            self.live_shards,
            self.lost_shards,
            self.sessions,
            self.waiting,
            self.ended,
        ):
            metric.set_default_tags({"group": group or UNNAMED})

    def observe(self, num_running: int, num_waiting: int) -> None:
        """Record the number of sessions.

        Args:
            num_running: sessions that have not ended.
            num_waiting: running sessions that have not started yet.
        """
        self.sessions.set(num_running)
        self.waiting.set(num_waiting)

    def count_ends(self, updates: Sequence[Update]) -> None:
        """Count the sessions that these updates end."""
        for update in updates:
            if update.error is not None and not update.events:
                self.ended.inc(tags={"reason": "refused"})
            for event in update.events:
                if isinstance(event, SessionEnd):
                    self.ended.inc(tags={"reason": event.reason})

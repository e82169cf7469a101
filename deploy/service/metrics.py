"""Metrics of an ingress, exported by Ray as ``ray_<name>``; see docs/metrics.md."""

import time

from ray.util.metrics import Counter, Histogram

FIRST_TOKEN_BOUNDARIES = [0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0]
TOKEN_BOUNDARIES = [0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0]


class ServiceMetrics:
    """The metrics of one ingress.

    Args:
        service: name of the service.
        model: the served model, as the shards name it.
    """

    def __init__(self, service: str, model: str) -> None:
        tags = ("service", "model")
        self.requests = Counter(
            "hogwild_requests", "Requests that were answered.", tag_keys=(*tags, "route", "status")
        )
        self.first_token = Histogram(
            "hogwild_first_token_seconds",
            "From a request to the first token that a worker chose.",
            boundaries=FIRST_TOKEN_BOUNDARIES,
            tag_keys=tags,
        )
        self.token = Histogram(
            "hogwild_token_seconds",
            "Between two steps of a followed session, divided by the tokens of a worker.",
            boundaries=TOKEN_BOUNDARIES,
            tag_keys=tags,
        )
        self.tokens = Counter(
            "hogwild_request_tokens",
            "Tokens of sessions that were followed to their end, read or written.",
            tag_keys=(*tags, "kind"),
        )
        for metric in (self.requests, self.first_token, self.token, self.tokens):
            metric.set_default_tags({"service": service, "model": model})

    def count_request(self, route: str, status: int) -> None:
        """Count a request."""
        self.requests.inc(tags={"route": route, "status": str(status)})

    def count_tokens(self, prompt: int, completion: int) -> None:
        """Count the tokens of an ended session."""
        for kind, amount in (("prompt", prompt), ("completion", completion)):
            if amount:
                self.tokens.inc(amount, tags={"kind": kind})


class Pace:
    """Measures the delay of the first token and the time between tokens of one session.

    Args:
        metrics: receives the measurements.
    """

    def __init__(self, metrics: ServiceMetrics) -> None:
        self._metrics = metrics
        self._last = time.perf_counter()
        self._begun = False

    def observe_steps(self, count: int) -> None:
        """Record that `count` more steps with chosen tokens have arrived."""
        if not count:
            return
        now = time.perf_counter()
        if self._begun:
            self._metrics.token.observe((now - self._last) / count)
        else:
            self._metrics.first_token.observe(now - self._last)
        self._begun, self._last = True, now

"""API keys: who a client is, and how much it may ask for."""

import hashlib
import hmac
import re
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from hogwild_dist.deploy.service.config import KEY_NAME, Key
from hogwild_dist.deploy.service.errors import ApiError, busy
from hogwild_dist.errors import ConfigError

PREFIX = "hw-"
ANYBODY = "anybody"
"""Tenant of all clients of a service without keys."""


def check_key_name(name: str) -> None:
    """Refuse what no key can be called.

    Raises:
        ConfigError: says what it may be called.
    """
    if re.fullmatch(KEY_NAME, name) is None:
        raise ConfigError(
            f"A key cannot be called {name[:80]!r}; use 1 to 64 letters, digits, '_', '-' and '.'."
        )


def new_key() -> tuple[str, str]:
    """A key of 256 random bits, and the hash of it that a service's file holds."""
    key = PREFIX + secrets.token_urlsafe(32)
    return key, hashed(key)


def hashed(key: str) -> str:
    """What a service's file holds of a key; keys are random, so a plain hash is enough."""
    return hashlib.sha256(key.encode()).hexdigest()


@dataclass(slots=True)
class Bucket:
    """An allowance that fills up again within a minute.

    Attributes:
        per_minute: what fits in.
        level: what is left; below 0 where more was used than was left.
        at: when it was, by the monotonic clock.
    """

    per_minute: int
    level: float = field(init=False)
    at: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        self.level = float(self.per_minute)

    def take(self, amount: float, now: float) -> None:
        """Use some of it."""
        self._fill(now)
        self.level -= amount

    def wait(self, amount: float, now: float) -> float:
        """Seconds until so much is there, 0 where it is."""
        self._fill(now)
        missing = min(amount, self.per_minute) - self.level
        return max(0.0, missing) * 60 / self.per_minute

    def _fill(self, now: float) -> None:
        passed = max(0.0, now - self.at)
        self.level = min(float(self.per_minute), self.level + passed * self.per_minute / 60)
        self.at = now


class Client:
    """A client of the service.

    Args:
        key: its own, or None for anybody.
    """

    def __init__(self, key: Key | None) -> None:
        self.name = ANYBODY if key is None else key.name
        self._requests = _bucket(None if key is None else key.requests_per_minute)
        self._tokens = _bucket(None if key is None else key.tokens_per_minute)

    def count_request(self) -> None:
        """Count a request that costs something.

        Raises:
            ApiError: there were too many, or too many tokens.
        """
        now = time.monotonic()
        for bucket, what in ((self._requests, "requests"), (self._tokens, "tokens")):
            seconds = 0.0 if bucket is None else bucket.wait(1, now)
            if seconds > 0:
                raise busy(f"The key {self.name!r} has used up its {what}", int(seconds) + 1)
        if self._requests is not None:
            self._requests.take(1, now)

    @property
    def counts_tokens(self) -> bool:
        """Whether its tokens are bounded."""
        return self._tokens is not None

    def count_tokens(self, count: int) -> None:
        """Count tokens that were read and written."""
        if self._tokens is not None:
            self._tokens.take(count, time.monotonic())


class Keyring:
    """All keys of a service.

    Args:
        keys: none lets everybody in.
    """

    def __init__(self, keys: Sequence[Key]) -> None:
        self._clients = [(key.sha256, Client(key)) for key in keys]
        self._anybody = Client(None)

    @property
    def needed(self) -> bool:
        """Whether a client needs a key."""
        return bool(self._clients)

    def client(self, authorization: str | None) -> Client:
        """Whose key this is; all are compared, in the same time whichever fits.

        Args:
            authorization: the header.

        Raises:
            ApiError: it is nobody's.
        """
        if not self.needed:
            return self._anybody
        scheme, _, key = (authorization or "").partition(" ")
        given = hashed(key.strip())
        found = [client for known, client in self._clients if hmac.compare_digest(known, given)]
        if scheme.lower() != "bearer" or not key.strip():
            raise ApiError(401, "A key is needed: send the header `Authorization: Bearer KEY`.")
        if not found:
            raise ApiError(401, "The key is not known here; `hogwild keys new NAME` makes one.")
        return found[0]


def _bucket(per_minute: int | None) -> Bucket | None:
    return None if per_minute is None else Bucket(per_minute)

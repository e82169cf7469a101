"""API keys: which client a request comes from, and the client's quotas."""

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
"""Tenant of every client of a service without keys."""


def check_key_name(name: str) -> None:
    """Check that a key may have a name.

    Raises:
        ConfigError: the name is invalid.
    """
    if re.fullmatch(KEY_NAME, name) is None:
        raise ConfigError(
            f"The key name {name[:80]!r} is invalid; use 1 to 64 letters, digits, '_', '-' and '.'."
        )


def new_key() -> tuple[str, str]:
    """Return a key of 256 random bits, and its hash for the service's file."""
    key = PREFIX + secrets.token_urlsafe(32)
    return key, hashed(key)


def hashed(key: str) -> str:
    """Return the hash of a key; keys are random, so no salt is needed."""
    return hashlib.sha256(key.encode()).hexdigest()


@dataclass(slots=True)
class Bucket:
    """A token bucket that refills within a minute.

    Attributes:
        per_minute: capacity.
        level: amount left; below 0 if more was used than was left.
        at: monotonic time of the last update.
    """

    per_minute: int
    level: float = field(init=False)
    at: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        self.level = float(self.per_minute)

    def take(self, amount: float, now: float) -> None:
        """Use an amount."""
        self._fill(now)
        self.level -= amount

    def wait(self, amount: float, now: float) -> float:
        """Return the seconds until an amount is available, 0 if it is now."""
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
        key: the client's key, or None in a service without keys.
    """

    def __init__(self, key: Key | None) -> None:
        self.name = ANYBODY if key is None else key.name
        self._requests = _bucket(None if key is None else key.requests_per_minute)
        self._tokens = _bucket(None if key is None else key.tokens_per_minute)

    def count_request(self) -> None:
        """Count a request that starts or changes a session.

        Raises:
            ApiError: the quota of requests or tokens is used up.
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
        """Whether the client has a token quota."""
        return self._tokens is not None

    def count_tokens(self, count: int) -> None:
        """Count prompt and chosen tokens."""
        if self._tokens is not None:
            self._tokens.take(count, time.monotonic())


class Keyring:
    """All keys of a service.

    Args:
        keys: keys of all clients; if there are none, no key is needed.
    """

    def __init__(self, keys: Sequence[Key]) -> None:
        self._clients = [(key.sha256, Client(key)) for key in keys]
        self._anybody = Client(None)

    @property
    def needed(self) -> bool:
        """Whether a client needs a key."""
        return bool(self._clients)

    def client(self, authorization: str | None) -> Client:
        """Return the client of a key; the comparison takes the same time for every key.

        Args:
            authorization: value of the Authorization header.

        Raises:
            ApiError: the key is missing or unknown.
        """
        if not self.needed:
            return self._anybody
        scheme, _, key = (authorization or "").partition(" ")
        given = hashed(key.strip())
        found = [client for known, client in self._clients if hmac.compare_digest(known, given)]
        if scheme.lower() != "bearer" or not key.strip():
            raise ApiError(401, "A key is needed; send the header `Authorization: Bearer KEY`.")
        if not found:
            raise ApiError(401, "The key is unknown; make one with `hogwild keys new NAME`.")
        return found[0]


def _bucket(per_minute: int | None) -> Bucket | None:
    return None if per_minute is None else Bucket(per_minute)

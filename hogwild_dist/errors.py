"""Errors that a user can meet; each is one sentence that names the value and the way out."""


class HogwildError(Exception):
    """An error for the user: one sentence that names the offending value and the way out."""


class ModelError(HogwildError):
    """A model cannot be found or loaded, or is not supported."""


class DownloadError(HogwildError):
    """A model cannot be downloaded or stored."""


class ConfigError(HogwildError, ValueError):
    """A setting has a value that cannot be used."""


class TraceError(HogwildError):
    """A trace file is malformed or does not fit the run."""


class ExchangeError(HogwildError):
    """A shard of a group is lost, or the shards disagree."""


class ShardError(ExchangeError):
    """A shard cannot go on; its peers can."""


class PeersLostError(ExchangeError):
    """A peer of a shard is lost, too late, or has sent what cannot be used."""


class SessionError(HogwildError):
    """One session cannot go on; the other sessions do."""


class ContextLimitError(HogwildError):
    """A text has more tokens than the cache or the model's context holds."""


def check_positive(name: str, value: int | None) -> None:
    """Refuse a number below 1; None is a setting without a value.

    Raises:
        ConfigError: the number is below 1.
    """
    if value is not None and value < 1:
        raise ConfigError(f"{name} is {value}; it must be at least 1.")


def first_line(error: BaseException) -> str:
    """Return the first line of an error's text, or its repr if it has no text."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else repr(error)

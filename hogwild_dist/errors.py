"""The errors a user can meet: each carries one sentence that names the value and the way out."""


class HogwildError(Exception):
    """One sentence for the user: it names the offending value and the way out."""


class ModelError(HogwildError):
    """A model cannot be found, loaded or supported."""


class DownloadError(HogwildError):
    """A model cannot be fetched or stored."""


class ConfigError(HogwildError, ValueError):
    """A setting has a value that cannot be used."""


class TraceError(HogwildError):
    """A trace file is malformed or does not fit the run."""


class ExchangeError(HogwildError):
    """The shards of a group lost one another, or disagree."""


class ContextLimitError(HogwildError):
    """A text holds more tokens than the cache or the model takes."""


def first_line(error: BaseException) -> str:
    """Return the first line of an error's text, or its repr if it has no text."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else repr(error)

"""Reading what a user names: one of ours, or a TOML file."""

from collections.abc import Collection
from pathlib import Path

from hogwild_dist.errors import ConfigError


def read_toml(what: str, name: str, known: Collection[str]) -> str:
    """The text of a user's file.

    Args:
        what: the file says, in a word.
        name: of the file.
        known: names that stand for one without a file.

    Raises:
        ConfigError: there is no such file, or it is no text.
    """
    path = Path(name)
    if len(name) > 255 or not path.is_file():
        if len(name) <= 255 and (path.suffix == ".toml" or len(path.parts) > 1):
            fault = f"The {what} file {name!r} is not there"
        else:
            fault = f"Unknown {what} {name[:80]!r}"
        raise ConfigError(f"{fault}; use {', '.join(known)} or a .toml file.")
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"The {what} file {name!r} is not UTF-8 text; convert it, or name another one."
        ) from error
    except OSError as error:
        raise ConfigError(
            f"The {what} file {name!r} cannot be read: {error.strerror}; name another one."
        ) from error

"""Regular expressions of users, which are searched in every step of a session.

RE2 searches in a time that is proportional to the text, whatever the pattern; Python's own engine
may take exponentially long and would hold up all sessions of all shards.
"""

from typing import Any

import re2

from hogwild_dist.errors import ConfigError

MAX_INSTRUCTIONS = 2000
"""Largest compiled pattern; a search may take a time proportional to it."""


def compiled(pattern: str) -> Any:
    """Return a compiled pattern; RE2 keeps the last ones.

    Raises:
        ConfigError: the pattern is not a regular expression of RE2, or is too large.
    """
    options = re2.Options()
    options.log_errors = False
    try:
        found = re2.compile(pattern, options)
    except (re2.error, UnicodeEncodeError) as error:
        reason = error.args[0]
        fault = reason.decode(errors="replace") if isinstance(reason, bytes) else str(error)
        raise ConfigError(
            f"The answer pattern {pattern!r} is not a regular expression of RE2: {fault}; RE2 has "
            "no backreferences and does not look ahead or behind."
        ) from error
    if found.programsize > MAX_INSTRUCTIONS:
        raise ConfigError(
            f"The answer pattern {pattern[:80]!r} compiles to {found.programsize} instructions and "
            f"at most {MAX_INSTRUCTIONS} are allowed; write .* in place of .{{0,200}}, for example."
        )
    return found

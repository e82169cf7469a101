"""Names of sessions: they lead to the group, and whoever knows one may read the session."""

import re
import secrets
from dataclasses import dataclass
from typing import Self

_FORM = re.compile(r"g([0-9]{1,4})-([0-9]{1,12})-([0-9A-Za-z_-]{22})")


@dataclass(frozen=True, slots=True)
class SessionId:
    """Name of a session.

    Attributes:
        slot: of its group.
        number: in its group.
        secret: that cannot be guessed, and tells it from another session of the same number.
    """

    slot: int
    number: int
    secret: str

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """The session of a name, or None where it is none."""
        found = _FORM.fullmatch(text)
        return cls(int(found[1]), int(found[2]), found[3]) if found else None

    def __str__(self) -> str:
        return f"g{self.slot}-{self.number}-{self.secret}"


def new_secret() -> str:
    """128 bits that cannot be guessed."""
    return secrets.token_urlsafe(16)

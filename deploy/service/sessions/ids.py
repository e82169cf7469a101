"""Session names, which identify the group and give the right to read the session."""

import re
import secrets
from dataclasses import dataclass
from typing import Self

_FORM = re.compile(r"g([0-9]{1,4})-([0-9]{1,12})-([0-9A-Za-z_-]{22})")


@dataclass(frozen=True, slots=True)
class SessionId:
    """The name of a session.

    Attributes:
        slot: slot of the session's group.
        number: number of the session within its group.
        secret: random part, which cannot be guessed and differs for a reused number.
    """

    slot: int
    number: int
    secret: str

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """Return the parsed name, or None if the text is not a session name."""
        found = _FORM.fullmatch(text)
        return cls(int(found[1]), int(found[2]), found[3]) if found else None

    def __str__(self) -> str:
        return f"g{self.slot}-{self.number}-{self.secret}"


def new_secret() -> str:
    """Return 128 random bits as text."""
    return secrets.token_urlsafe(16)

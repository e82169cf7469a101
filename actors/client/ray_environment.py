"""Ray's own environment variables, as far as this package has to know them before Ray does.

Ray documents them; this package sets none of them. Its own variables are in
`hogwild_dist.model.hub.settings`.
"""

import os


def ray_address() -> str:
    """Return `RAY_ADDRESS`, which Ray takes for ``auto``; ``auto`` if it names no place."""
    named = os.environ.get("RAY_ADDRESS", "")
    return named if named not in ("", "local") else "auto"


def uses_tls() -> bool:
    """Return whether Ray's processes speak TLS (`RAY_USE_TLS`)."""
    return os.environ.get("RAY_USE_TLS", "0") == "1"


def sends_token() -> bool:
    """Return whether this process sends its token to a cluster (`RAY_AUTH_MODE`)."""
    return os.environ.get("RAY_AUTH_MODE", "").lower() == "token"


def socket_folders() -> tuple[str | None, str]:
    """Return `RAY_TMPDIR`, None if it is not set, and `TMPDIR`, empty if it is not set."""
    return os.environ.get("RAY_TMPDIR"), os.environ.get("TMPDIR", "")

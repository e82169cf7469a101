"""The environment variables of this package; no other module reads them.

| variable | meaning | default |
|---|---|---|
| `HOGWILD_CACHE` | folder of the converted models | `$XDG_CACHE_HOME/hogwild-dist`, |
| | | or `~/.cache/hogwild-dist` if `XDG_CACHE_HOME` is not set |
"""

import os
from pathlib import Path


def cache_dir() -> Path:
    """Return the folder of the converted models, which may not exist yet."""
    chosen = os.environ.get("HOGWILD_CACHE")
    if chosen:
        return Path(chosen).expanduser().absolute()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "hogwild-dist"


def child_environment(temporary: Path) -> dict[str, str]:
    """Return the environment of a child process with its temporary files in `temporary`."""
    return {**os.environ, "TMPDIR": str(temporary)}

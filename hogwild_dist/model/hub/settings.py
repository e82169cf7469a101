"""The one place that reads environment variables.

| variable | meaning | default |
|---|---|---|
| `HOGWILD_CACHE` | folder that keeps the converted models | `$XDG_CACHE_HOME/hogwild-dist`, |
| | | or `~/.cache/hogwild-dist` where `XDG_CACHE_HOME` is not set |
"""

import os
from pathlib import Path


def cache_dir() -> Path:
    """Return the folder that keeps the converted models (it need not exist yet)."""
    chosen = os.environ.get("HOGWILD_CACHE")
    if chosen:
        return Path(chosen).expanduser().absolute()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "hogwild-dist"


def child_environment(temporary: Path) -> dict[str, str]:
    """Return this process's environment for a child that keeps its temporary files in a folder."""
    return {**os.environ, "TMPDIR": str(temporary)}

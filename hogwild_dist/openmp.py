"""How the threads of OpenMP wait for each other; torch's library reads it once, when it is loaded.

| variable | meaning | default here |
|---|---|---|
| `OMP_WAIT_POLICY` | `passive` threads sleep while they wait, `active` ones spin | `passive` |

Threads that spin keep a core from those that work. Where other processes share the cores, as in
every service on CPUs, a step then takes several times as long (docs/benchmarks.md).
"""

import os


def wait_passively() -> None:
    """Let waiting threads sleep, unless the user has chosen; call it before torch is imported."""
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")

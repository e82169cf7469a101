"""How the threads of OpenMP wait for each other; torch's library reads it once, when it is loaded.

| variable | meaning | set by `limit_spinning` |
|---|---|---|
| `GOMP_SPINCOUNT` | rounds that a thread of GNU OpenMP spins before it sleeps | 1,000 |
| `OMP_WAIT_POLICY` | `active` or `passive`; if it is set, nothing else is | no |

The library's own default is 300,000 rounds. That is the fastest where nothing else runs. Where
other processes share the cores, threads that spin keep a core from those that work
(docs/benchmarks.md).
"""

import os

SPIN_ROUNDS = 1_000


def limit_spinning() -> None:
    """Let waiting threads sleep soon, unless the user has chosen; torch must not be loaded yet."""
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", str(SPIN_ROUNDS))

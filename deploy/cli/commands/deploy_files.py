"""`hogwild deploy-files`: write the deployment files of the package to a folder."""

from collections.abc import Iterator
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Annotated

import typer

from hogwild_dist.errors import ConfigError

SUFFIXES = (".yaml", ".json")


def deploy_files_command(
    folder: Annotated[Path, typer.Argument(help="Folder to write to; created if missing.")],
    force: Annotated[bool, typer.Option("--force", help="Overwrite existing files.")] = False,
) -> None:
    """Write files for clusters, the service and Grafana to FOLDER."""
    found = dict(deployment_files())
    taken = [name for name in found if (folder / name).exists()]
    if taken and not force:
        raise ConfigError(
            f"{str(folder / taken[0])!r} exists; choose another folder, or overwrite with --force."
        )
    try:
        for name, source in found.items():
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(source.read_bytes())
            print(target)
    except OSError as error:
        raise ConfigError(
            f"{str(folder)!r} cannot be written: {error.strerror}; choose another folder."
        ) from error


def deployment_files() -> Iterator[tuple[str, Traversable]]:
    """Yield the relative path and the source of each deployment file."""
    package = files("hogwild_dist.deploy")
    yield "ray_cluster.yaml", package / "clusters" / "ray_cluster.yaml"
    yield "serve.yaml", package / "serve.yaml"
    for name in ("clusters", "grafana"):
        for source in sorted((package / name).iterdir(), key=lambda one: one.name):
            if source.name.endswith(SUFFIXES) and source.name != "ray_cluster.yaml":
                yield f"{name}/{source.name}", source

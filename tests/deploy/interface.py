"""The interface that users rely on: every command's help, the OpenAPI document, the metrics.

python -m tests.deploy.interface    # write the recorded one anew, after an intended change
"""

import json
from collections.abc import Iterator
from typing import Any, cast

import typer
from typer.core import TyperGroup
from typer.main import get_command

from hogwild_dist.deploy.cli.app import app
from hogwild_dist.deploy.service.config import service_config
from hogwild_dist.deploy.service.http.app import build_http
from hogwild_dist.deploy.service.http.dependencies import Service
from hogwild_dist.deploy.service.keys import Keyring
from hogwild_dist.deploy.service.metrics import ServiceMetrics
from hogwild_dist.deploy.service.sessions.session_service import SessionService
from tests.actors.observing import documented
from tests.paths import DATA

RECORDED = DATA / "interface"
WIDTH = 80


def help_texts() -> str:
    """The help of every command, one after the other."""
    return "\n".join(_help(get_command(app), None, "hogwild"))


def openapi() -> str:
    """The OpenAPI document of the service; no request is answered for it."""
    config = service_config({"model": "tiny"})
    service = Service(
        config=config,
        sessions=cast(SessionService, None),
        keyring=Keyring(config.keys),
        metrics=ServiceMetrics(config.name, config.load_settings.model),
    )
    document: dict[str, Any] = build_http(service).openapi()
    document["info"].pop("version")
    return json.dumps(document, indent=1, sort_keys=True) + "\n"


def metrics() -> str:
    """The metrics and their tags; other tests compare the documented with the exported ones."""
    found = documented("Driver", "Shards", "Ingresses")
    return "".join(f"{name} {','.join(sorted(tags))}\n" for name, tags in sorted(found.items()))


EVERYTHING = {"help.txt": help_texts, "openapi.json": openapi, "metrics.txt": metrics}
"""Recorded file -> what writes it."""


def _help(command: Any, parent: typer.Context | None, name: str) -> Iterator[str]:
    with typer.Context(command, parent, info_name=name, terminal_width=WIDTH) as context:
        yield f"$ {context.command_path} --help\n{command.get_help(context)}\n"
        if isinstance(command, TyperGroup):
            for child in command.list_commands(context):
                _, resolved, _ = command.resolve_command(context, [child])
                yield from _help(resolved, context, child)


if __name__ == "__main__":
    RECORDED.mkdir(parents=True, exist_ok=True)
    for file, write in EVERYTHING.items():
        (RECORDED / file).write_text(write(), encoding="utf-8")

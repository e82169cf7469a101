"""`hogwild serve`: run the service on one machine or on a Ray cluster."""

import ipaddress
import logging
import re
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from ray import serve

from hogwild_dist.actors.client.connect import connected
from hogwild_dist.actors.errors import ClusterError
from hogwild_dist.deploy.cli.options import common as options
from hogwild_dist.deploy.cli.options.grouped import Given, grouped
from hogwild_dist.deploy.cli.output import OutputConsole
from hogwild_dist.deploy.cli.progress import fetch_with_progress, progress_lines
from hogwild_dist.deploy.service.app import LOGGING, application
from hogwild_dist.deploy.service.config import ServiceConfig, read_fields, service_config
from hogwild_dist.deploy.service.http.request_ids import CONTROLLER
from hogwild_dist.deploy.service.sessions.session_params import TeamBuilder
from hogwild_dist.errors import ConfigError, first_line
from hogwild_dist.run.load import LoadSettings

APP = "hogwild"
LOCAL_HOSTS = ("localhost", "127.0.0.1", "::1")
_SENTENCE = re.compile(r"^(?:ray\.exceptions\.)?[\w.()]*?(?:Error|Exception)[\w.()]*: (.+)$", re.M)


@grouped
def serve_command(
    config: Annotated[
        Path | None, typer.Option(help="Service file, TOML or YAML; see docs/service.md.")
    ] = None,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on.", min=1, max=65_535)] = 8000,
    shards: Annotated[int | None, typer.Option(help="Number of shards of each group.")] = None,
    *,
    load: Annotated[dict[str, Any], Given(LoadSettings)],
    address: options.Address = None,
) -> None:
    """Serve teams to many clients: a page, and OpenAI's interface.

    Sessions can be followed, shared and sent messages. Options of the model, the engine and the
    shards override the service file.
    """
    hosts = {"hosts": (*LOCAL_HOSTS, host)} if _is_local(host) else {}
    fields = {} if config is None else read_fields(config)
    given = load if shards is None else load | {"shards": shards}
    chosen = service_config(hosts | fields | given)
    TeamBuilder(chosen)  # raises if a team is invalid
    _check_free(host, port)
    _warn(chosen, host)
    fetch_with_progress(chosen.load_settings.model)
    with progress_lines() as tell:
        tell("starting Ray" if address is None else f"reaching Ray at {address}")
        with connected(address, chosen.shards * chosen.scale.max_groups):
            with _running(chosen, host, port, tell, leave=address is not None):
                tell("")
                _show(chosen, host, port)
                _wait()
            tell("")


@contextmanager
def _running(
    config: ServiceConfig, host: str, port: int, tell: Callable[[str], None], *, leave: bool
) -> Iterator[None]:
    """Run the application until the block ends.

    Args:
        config: configuration of the service.
        host: address to listen on.
        port: port to listen on.
        tell: shows a line of progress.
        leave: whether the cluster stays; the service is then shut down by itself.
    """
    logging.getLogger("ray.serve").setLevel(logging.ERROR)
    tell("starting the service")
    serve.start(
        proxy_location="EveryNode",
        http_options={"host": host, "port": port},
        logging_config=LOGGING,
        controller_options=CONTROLLER,
    )
    try:
        tell(f"loading {config.load_settings.model}")
        try:
            serve.run(application(config), name=APP)
        except RuntimeError as error:
            raise ClusterError(f"The service did not start: {_reason(error)}") from error
        yield
    finally:
        if leave:
            tell("letting the sessions end")
            serve.shutdown()


def _reason(error: RuntimeError) -> str:
    """Return the sentence of the error in Serve's report of a failed deployment."""
    status = serve.status().applications.get(APP)
    parts = [str(error)]
    if status is not None:
        parts += [one.message for one in status.deployments.values()] + [status.message]
    found = [match[1] for part in parts for match in _SENTENCE.finditer(part)]
    return found[-1] if found else first_line(error)


def _warn(config: ServiceConfig, host: str) -> None:
    """Warn if everybody who reaches the port may use the service."""
    if not _is_local(host) and not config.keys:
        print(
            f"hogwild: everybody who reaches {host} can use the service; make keys with "
            "`hogwild keys new NAME`.",
            file=sys.stderr,
        )


def _is_local(host: str) -> bool:
    """Return whether only this machine reaches an address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _show(config: ServiceConfig, host: str, port: int) -> None:
    where = f"http://{'127.0.0.1' if host in ('0.0.0.0', '::') else host}:{port}"
    console = OutputConsole(highlight=False)
    console.print(f"page               {where}/")
    console.print(f"OpenAI's interface {where}/v1   (model {config.served_model!r})", markup=False)
    console.print(f"its document       {where}/openapi.json")
    console.print("Ctrl-C ends it.")


def _wait() -> None:
    """Wait for Ctrl-C or SIGTERM."""
    try:
        while True:
            time.sleep(1)
    except KeyboardInterrupt:
        return


def _check_free(host: str, port: int) -> None:
    """Refuse a port that is in use; Serve would try for minutes.

    Raises:
        ConfigError: the port is in use, or the address is not this machine's.
    """
    try:
        with socket.create_server((host, port)):
            pass
    except OSError as error:
        raise ConfigError(
            f"Cannot listen on {host}:{port} ({error.strerror}); choose another --port or --host."
        ) from error

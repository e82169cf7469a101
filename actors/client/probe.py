"""Whether a Ray cluster answers at an address, asked before Ray itself retries for minutes."""

import socket
from typing import Any

import grpc
from ray import _raylet
from ray._private.services import canonicalize_bootstrap_address, find_gcs_addresses

from hogwild_dist.actors.errors import ClusterError
from hogwild_dist.environment import ray_address, ray_sends_token, ray_uses_tls

raylet: Any = _raylet
"""Untyped: Ray does not export its types."""

SECONDS = 5.0
"""Time limit of one question."""

_METHOD = "/ray.rpc.NodeInfoGcsService/GetClusterId"
_OTHERWISE = "start Ray with `ray start --head`, or omit --address to start Ray on this machine"


def check_answers(address: str) -> None:
    """Check that a Ray cluster answers and lets this process in.

    Args:
        address: ``HOST:PORT``, ``ray://HOST:PORT``, or ``auto``, which Ray resolves by
            `RAY_ADDRESS`, the last cluster started on this machine, and its processes.

    Raises:
        ClusterError: nothing answers, or the cluster wants a token that this process does not send.
    """
    place = _resolved() if address == "auto" else address
    label = repr(address) if place == address else f"{address!r} ({place})"
    if place.startswith("ray://"):
        _check_port(label, place.removeprefix("ray://"))
        return
    if ray_uses_tls():
        _check_port(label, place)
        return
    status = _ask(place)
    if status is grpc.StatusCode.UNAUTHENTICATED:
        _check_token(label, place)
    elif status is not None:
        raise ClusterError(f"No Ray cluster answers at {label}; {_OTHERWISE}.")


def _resolved() -> str:
    """Return the address that Ray would use for ``auto``."""
    named = ray_address()
    if named != "auto":
        return named
    try:
        found = canonicalize_bootstrap_address("auto")
    except ConnectionError:  # no cluster was started here
        found = None
    if found is not None:
        return str(found)
    running = sorted(find_gcs_addresses())
    if len(running) == 1:
        return str(running[0])
    if running:
        raise ClusterError(
            f"Several Ray clusters run on this machine ({', '.join(running)}); name one of them "
            "with --address."
        )
    raise ClusterError(f"No Ray cluster runs on this machine; {_OTHERWISE}.")


def _ask(place: str, token: str = "") -> grpc.StatusCode | None:
    """Return the status of an error, or None if a cluster answers."""
    # Like Ray, which does not reach a cluster through a proxy for web pages.
    with grpc.insecure_channel(place, options=(("grpc.enable_http_proxy", 0),)) as channel:
        metadata = (("authorization", f"Bearer {token}"),) if token else ()
        try:
            channel.unary_unary(_METHOD)(b"", timeout=SECONDS, metadata=metadata)
        except grpc.RpcError as error:
            code: grpc.StatusCode = error.code()
            return code
    return None


def _check_token(label: str, place: str) -> None:
    """Refuse a cluster that wants a token, unless this process sends the right one."""
    wants = f"The Ray cluster at {label} wants a token, and"
    token = raylet.AuthenticationTokenLoader.instance().get_raw_token(ignore_auth_mode=True)
    if not token:
        raise ClusterError(
            f"{wants} there is none here; put the cluster's token into RAY_AUTH_TOKEN and set "
            "RAY_AUTH_MODE=token, or start the cluster with RAY_AUTH_MODE=disabled."
        )
    if _ask(place, token) is not None:
        raise ClusterError(
            f"{wants} the one here is not the cluster's; put the cluster's token into "
            "RAY_AUTH_TOKEN, or start the cluster with RAY_AUTH_MODE=disabled."
        )
    if not ray_sends_token():
        raise ClusterError(
            f"{wants} this process does not send the one that is here; set RAY_AUTH_MODE=token, or "
            "start the cluster with RAY_AUTH_MODE=disabled."
        )


def _check_port(label: str, place: str) -> None:
    """Check that something listens at a host and port."""
    host, _, port = place.rpartition(":")
    if not host or not port.isdigit():
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=SECONDS).close()
    except (OSError, ValueError) as error:  # ValueError: what is no name of a host, or no port
        raise ClusterError(f"No Ray cluster answers at {label} ({error}); {_OTHERWISE}.") from error

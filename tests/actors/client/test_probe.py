"""Addresses where no Ray answers, or one that does not let this process in."""

import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import grpc
import psutil
import pytest
from ray import _raylet
from ray._private.services import find_gcs_addresses

from hogwild_dist.actors.client.connect import _temporary_folder
from hogwild_dist.actors.client.probe import check_answers
from hogwild_dist.actors.errors import ClusterError

TOKEN = "f" * 64


class Guarded(grpc.GenericRpcHandler):
    """A server that answers anything, with the token alone."""

    def service(self, details):
        given = dict(details.invocation_metadata).get("authorization")

        def answer(request: bytes, context: grpc.ServicerContext) -> bytes:
            if given != f"Bearer {TOKEN}":
                context.abort(grpc.StatusCode.UNAUTHENTICATED, "InvalidAuthToken")
            return b""

        return grpc.unary_unary_rpc_method_handler(answer)


@contextmanager
def guarded() -> Iterator[str]:
    server = grpc.server(ThreadPoolExecutor(1), handlers=[Guarded()])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}"
    server.stop(None)


@pytest.fixture
def no_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """No token in environment or home."""
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "RAY_AUTH_MODE", "RAY_ADDRESS"):
        monkeypatch.delenv(name, raising=False)
    _raylet.AuthenticationTokenLoader.instance().reset_cache()
    yield monkeypatch
    _raylet.AuthenticationTokenLoader.instance().reset_cache()


def test_a_port_that_says_nothing_is_given_up_within_seconds(
    no_token: pytest.MonkeyPatch,
) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        for named, shown in ((address, f"'{address}'"), ("auto", rf"'auto' \({address}\)")):
            no_token.setenv("RAY_ADDRESS", address)
            began = time.monotonic()
            with pytest.raises(ClusterError, match=f"No Ray cluster answers at {shown}; start Ray"):
                check_answers(named)
            assert time.monotonic() - began < 10


def test_auto_where_no_ray_runs_is_one_sentence(
    no_token: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    no_token.setenv("RAY_TMPDIR", str(tmp_path))  # where Ray notes the cluster that it started last
    no_token.setattr(psutil, "process_iter", lambda attributes: iter(()))  # a machine without Ray
    find_gcs_addresses.cache_clear()
    with pytest.raises(ClusterError, match="No Ray cluster runs on this machine; start Ray with"):
        check_answers("auto")


def test_a_proxy_for_web_pages_is_not_in_the_way(no_token: pytest.MonkeyPatch) -> None:
    no_token.setenv("http_proxy", "http://127.0.0.1:9")
    no_token.setenv("RAY_AUTH_TOKEN", TOKEN)
    no_token.setenv("RAY_AUTH_MODE", "token")
    with guarded() as address:
        check_answers(address)


@pytest.mark.parametrize("address", [f"ray://{'x' * 70}:10001", "ray://localhost:²"])
def test_what_is_no_address_of_a_client_server_is_named(address: str) -> None:
    with pytest.raises(ClusterError, match="No Ray cluster answers at"):
        check_answers(address)


def test_a_client_server_is_found_by_an_ipv6_address() -> None:
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as server:
        check_answers(f"ray://[::1]:{server.getsockname()[1]}")


def test_a_token_that_is_missing_wrong_or_not_sent_is_named(no_token: pytest.MonkeyPatch) -> None:
    def refused(address: str) -> str:
        _raylet.AuthenticationTokenLoader.instance().reset_cache()
        with pytest.raises(ClusterError) as error:
            check_answers(address)
        return str(error.value)

    with guarded() as address:
        assert "wants a token, and there is none here; put the cluster's" in refused(address)
        no_token.setenv("RAY_AUTH_TOKEN", "0" * 64)
        assert "the one here is not the cluster's" in refused(address)
        no_token.setenv("RAY_AUTH_TOKEN", TOKEN)
        assert "set RAY_AUTH_MODE=token" in refused(address)
        no_token.setenv("RAY_AUTH_MODE", "token")
        check_answers(address)


@pytest.mark.parametrize("port", [1, 65_000])
def test_a_closed_port_is_named_at_once(no_token: pytest.MonkeyPatch, port: int) -> None:
    for address in (f"127.0.0.1:{port}", f"ray://127.0.0.1:{port}"):
        with pytest.raises(ClusterError, match=f"No Ray cluster answers at '{address}'"):
            check_answers(address)


def test_a_long_temporary_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_TMPDIR", raising=False)
    monkeypatch.setenv("TMPDIR", "/tmp/" + "b" * 90)
    assert _temporary_folder() == "/tmp/ray"
    monkeypatch.setenv("TMPDIR", "/tmp/short")
    assert _temporary_folder() is None
    monkeypatch.setenv("RAY_TMPDIR", "/tmp/" + "b" * 90)
    with pytest.raises(ClusterError, match=r"RAY_TMPDIR is '/tmp/bbb.*at most 39 bytes, such as"):
        _temporary_folder()

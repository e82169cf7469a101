"""The service on the tests' cluster: the tiny model, one group of one shard."""

import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from ray import serve
from ray.cluster_utils import Cluster

from hogwild_dist.deploy.service.app import build_app
from hogwild_dist.deploy.service.http.request_ids import CONTROLLER
from tests.tiny_engine import tiny_network
from tests.tiny_tokenizer import byte_tokenizer


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def wait_until(holds: Callable[[], bool], seconds: float = 30.0) -> bool:
    """Whether something comes to hold in time."""
    late = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > late:
            return False
        time.sleep(0.05)
    return True


@pytest.fixture(scope="session")
def serve_url(cluster: Cluster) -> Iterator[str]:
    """Serve on the tests' cluster."""
    port = free_port()
    serve.start(
        proxy_location="HeadOnly",
        http_options={"host": "127.0.0.1", "port": port},
        controller_options=CONTROLLER,
    )
    yield f"http://127.0.0.1:{port}"
    serve.shutdown()


@pytest.fixture(scope="session")
def roomy_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model with a context that sessions do not fill while a test looks at them."""
    folder = tmp_path_factory.mktemp("roomy") / "tiny"
    tiny_network(max_position_embeddings=32_768).save_pretrained(folder)
    byte_tokenizer().save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def arguments(roomy_dir: Path) -> dict[str, Any]:
    """Of a service on the tiny model."""
    return {
        "model": str(roomy_dir),
        "dtype": "float64",
        "threads": 1,
        "cache_tokens": 131_072,
        "defaults": {"max_tokens": 24, "answer_tokens": 12, "temperature": 1.0},
        "bounds": {"problem_chars": 2_000, "prompt_tokens": 4_000, "max_tokens": 6_000},
    }


@pytest.fixture(scope="session")
def service_url(serve_url: str, arguments: dict[str, Any]) -> Iterator[str]:
    """A service for all tests that need no other."""
    serve.run(build_app(arguments), name="service", route_prefix="/")
    yield serve_url
    serve.delete("service")


@pytest.fixture(scope="session")
def http(service_url: str) -> Iterator[httpx.Client]:
    """A client of it."""
    with httpx.Client(base_url=service_url, timeout=60) as client:
        yield client

"""Fixtures that the whole suite shares."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from hogwild_dist.hub import fetch_demo
from tests.tiny_engine import tiny_network
from tests.tiny_tokenizer import byte_tokenizer

settings.register_profile("untimed", deadline=None)  # a busy machine is no fault of the code
settings.load_profile("untimed")


STORE_BYTES = 100 * 1024 * 1024


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """One real Ray cluster for all tests that need one: nodes of 3, 3 and 2 CPUs.

    Ray's tokens and logs stay out of the user's home.
    """
    import ray  # noqa: PLC0415  # the engine's tests run without it
    from ray.cluster_utils import Cluster  # noqa: PLC0415

    from actors.settings import NAMESPACE  # noqa: PLC0415

    patch = pytest.MonkeyPatch()
    patch.setenv("RAY_AUTH_MODE", "disabled")
    patch.setenv("HOGWILD_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
    node = {"object_store_memory": STORE_BYTES, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 3, **node})
    cluster.add_node(num_cpus=3, object_store_memory=STORE_BYTES)
    cluster.add_node(num_cpus=2, object_store_memory=STORE_BYTES)
    ray.init(address=cluster.address, namespace=NAMESPACE, log_to_driver=False)
    yield cluster
    ray.shutdown()
    cluster.shutdown()
    patch.undo()


@pytest.fixture(scope="session")
def demo_model_dir() -> Path:
    """The folder of the demo model, fetched into the user's cache where it is missing."""
    return fetch_demo()


@pytest.fixture(scope="session")
def tiny_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny random Llama with a byte tokenizer, as a directory."""
    folder = tmp_path_factory.mktemp("models") / "tiny"
    tiny_network(max_position_embeddings=4_096).save_pretrained(folder)
    byte_tokenizer().save_pretrained(folder)
    return folder

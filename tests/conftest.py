"""Fixtures that the whole suite shares."""

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from hypothesis import settings

from hogwild_dist.model.hub import fetch_demo
from tests.rank_pool import RankPool
from tests.tiny_engine import tiny_network
from tests.tiny_tokenizer import byte_tokenizer

settings.register_profile("untimed", deadline=None)  # a busy machine is no fault of the code
settings.load_profile("untimed")

torch.set_num_threads(1)  # tiny models gain nothing from more, and lose much on busy cores

pytest_plugins = ["tests.actors.cluster", "tests.deploy.calling"] if find_spec("ray") else []


@pytest.hookimpl(tryfirst=True)  # before pytest selects by marks
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests of the Ray cluster."""
    for item in items:
        if "cluster" in getattr(item, "fixturenames", ()):
            item.add_marker("cluster")


@pytest.fixture(scope="session")
def damaged_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model with one damaged weight: what it computes after a ``~`` is not a number."""
    folder = tmp_path_factory.mktemp("models") / "damaged"
    network, tokenizer = tiny_network(max_position_embeddings=4_096), byte_tokenizer()
    (damaged,) = tokenizer.encode("~", add_special_tokens=False)
    with torch.no_grad():
        network.get_input_embeddings().weight[damaged] = torch.nan
    network.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def ranks() -> Iterator[RankPool]:
    """Processes that are ranks of a group, for every test that needs some."""
    pool = RankPool()
    yield pool
    pool.close()


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

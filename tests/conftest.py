"""Fixtures that the whole suite shares."""

from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from hypothesis import settings

from hogwild_dist.model.hub import fetch_demo
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

"""Fixtures that the whole suite shares."""

from pathlib import Path

import pytest

from hogwild_dist.hub import fetch_demo


@pytest.fixture(scope="session")
def demo_model_dir() -> Path:
    """The folder of the demo model, fetched into the user's cache where it is missing."""
    return fetch_demo()

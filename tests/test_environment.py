"""What the package sets in the environment, and where a user's choice stays."""

import os

import pytest

from hogwild_dist.environment import (
    leave_aborts_to_the_exchange,
    limit_spinning,
    quieten_torch,
)


@pytest.mark.parametrize(
    ("chosen", "found"),
    [
        ({}, {"GOMP_SPINCOUNT": "1000"}),
        ({"GOMP_SPINCOUNT": "5"}, {"GOMP_SPINCOUNT": "5"}),
        ({"OMP_WAIT_POLICY": "active"}, {"OMP_WAIT_POLICY": "active"}),
    ],
)
def test_what_the_user_has_chosen_stays(
    chosen: dict[str, str], found: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY"):
        monkeypatch.delenv(name, raising=False)
    for name, value in chosen.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("GOMP_SPINCOUNT", os.environ.get("GOMP_SPINCOUNT", ""))  # undone at the end
    if "GOMP_SPINCOUNT" not in chosen:
        del os.environ["GOMP_SPINCOUNT"]
    limit_spinning()
    names = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")
    assert {name: os.environ[name] for name in names if name in os.environ} == found


@pytest.mark.parametrize(("chosen", "found"), [(None, "ERROR"), ("INFO", "INFO")])
def test_torch_writes_errors_only_unless_the_user_wants_more(
    chosen: str | None, found: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_CPP_LOG_LEVEL", chosen or "")  # undone at the end
    if chosen is None:
        del os.environ["TORCH_CPP_LOG_LEVEL"]
    quieten_torch()
    assert os.environ["TORCH_CPP_LOG_LEVEL"] == found


def test_only_the_exchange_aborts_collectives(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is set: with another value half-filled buffers would pass for whole ones."""
    monkeypatch.setenv("TORCH_NCCL_ASYNC_ERROR_HANDLING", "3")
    leave_aborts_to_the_exchange()
    assert os.environ["TORCH_NCCL_ASYNC_ERROR_HANDLING"] == "0"

"""Waiting threads sleep, unless the user has chosen; torch must not be loaded before."""

import os
import subprocess
import sys

import pytest

from tests.paths import ROOT

PRINT = "import os, sys; print(os.environ['OMP_WAIT_POLICY'], 'torch' in sys.modules)"


@pytest.mark.parametrize(("chosen", "found"), [(None, "passive"), ("active", "active")])
@pytest.mark.parametrize(
    "module", ["hogwild_dist", "hogwild_dist.deploy.cli.main", "hogwild_dist.actors.settings"]
)
def test_the_policy_is_set_when_the_package_is_imported(
    module: str, chosen: str | None, found: str
) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    if chosen is not None:
        environment["OMP_WAIT_POLICY"] = chosen
    code = f"import {module}; {PRINT}"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT, env=environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    policy, _ = done.stdout.split()
    assert policy == found


def test_the_package_sets_it_before_torch_is_loaded() -> None:
    code = f"import hogwild_dist; {PRINT}"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.split()[1] == "False"

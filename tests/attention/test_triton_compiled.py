"""The Triton kernels compile for every supported generation of GPUs, and fit into it."""

import json
import os
import subprocess
import sys

import pytest

from tests.paths import ROOT

pytest.importorskip("triton", reason="triton is not installed")

SHARED_BYTES = {80: 163 * 1024, 90: 227 * 1024, 100: 227 * 1024}
"""Most shared memory of a program, by compute capability (CUDA programming guide)."""


@pytest.mark.slow
def test_kernels_spill_nothing_and_fit_into_shared_memory() -> None:
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    done = subprocess.run(
        [sys.executable, "benchmarks/compiled_kernels.py"],
        cwd=ROOT, env=environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    variants = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(variants) == 3 * (3 * 3 + 6)
    assert [one for one in variants if one["spilled"]] == []
    assert [one for one in variants if one["shared"] > SHARED_BYTES[one["sm"]]] == []

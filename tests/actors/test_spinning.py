"""Threads of a shard sleep soon while they wait; those of other processes as their library does."""

import os
import subprocess
import sys
from importlib import import_module

import ray
from ray.cluster_utils import Cluster

from tests.paths import ROOT

PRINT = "import os, sys; print(os.environ.get('GOMP_SPINCOUNT'), 'torch' in sys.modules)"


def test_a_shard_s_process_limits_spinning_before_it_loads_torch(cluster: Cluster) -> None:
    @ray.remote(num_cpus=0)
    class Process:  # of its own, as a shard's
        def variables(self) -> tuple[str | None, bool]:
            import_module("hogwild_dist.actors.shard")
            return os.environ.get("GOMP_SPINCOUNT"), "torch" in sys.modules

    process = Process.remote()
    assert ray.get(process.variables.remote()) == ("1000", False)
    ray.kill(process)


def test_a_process_that_only_starts_shards_does_not() -> None:
    code = f"import hogwild_dist.actors.shard; {PRINT}"
    environment = {name: value for name, value in os.environ.items() if name != "GOMP_SPINCOUNT"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT, env=environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout == "None False\n"

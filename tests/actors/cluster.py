"""One real Ray cluster for all tests that need one."""

from collections.abc import Iterator

import pytest
import ray
from ray.cluster_utils import Cluster

from hogwild_dist.actors.settings import NAMESPACE

STORE_BYTES = 100 * 1024 * 1024


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """One real Ray cluster for all tests that need one: nodes of 3, 3 and 2 CPUs.

    Ray's tokens and logs stay out of the user's home.
    """
    patch = pytest.MonkeyPatch()
    patch.setenv("RAY_AUTH_MODE", "disabled")
    patch.setenv("HOGWILD_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
    head = {"num_cpus": 3, "object_store_memory": STORE_BYTES, "include_dashboard": False}
    head["_system_config"] = {"metrics_report_interval_ms": 2_000}  # tests wait for metrics
    cluster = Cluster(initialize_head=True, head_node_args=head)
    cluster.add_node(num_cpus=3, object_store_memory=STORE_BYTES)
    cluster.add_node(num_cpus=2, object_store_memory=STORE_BYTES)
    ray.init(address=cluster.address, namespace=NAMESPACE, log_to_driver=False)
    yield cluster
    ray.shutdown()
    cluster.shutdown()
    patch.undo()

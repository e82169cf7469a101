"""What users read about actors that died, from actors that really did."""

import os
import re
import signal
import sys
from pathlib import Path

import pytest
import ray
from ray.cluster_utils import Cluster

from hogwild_dist.actors.errors import death, plain


@ray.remote(num_cpus=0)
class Doomed:
    def __init__(self, how: str | None = None) -> None:
        if how == "import":
            import no_such_module  # noqa: F401, PLC0415

        if how == "error":
            raise ValueError("The port is taken.\nAnd more.")
        print("shot", file=sys.stderr, flush=True)

    def end(self, how: str) -> None:
        if how == "exit":
            sys.exit(4)
        os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize(
    ("how", "sentence"),
    [
        (
            "import",
            "The driver could not start: ModuleNotFoundError: No module named 'no_such_module'; "
            "install the same packages on every node.",
        ),
        ("exit", "The driver died: its process ended with exit code 4; look for"),
        ("kill", "The driver died: its process was killed or crashed (Ray knows no more); look"),
    ],
)
def test_a_dead_actor_s_cause_is_told(cluster: Cluster, how: str, sentence: str) -> None:
    actor = Doomed.remote(how)
    with pytest.raises(ray.exceptions.RayActorError) as error:
        ray.get(actor.end.remote(how))
    assert str(death("The driver", error.value)).startswith(sentence)
    assert "\n" not in str(plain(error.value))


def test_the_log_of_a_dead_actor_is_named(cluster: Cluster) -> None:
    actor = Doomed.remote()
    with pytest.raises(ray.exceptions.RayActorError) as error:
        ray.get(actor.end.remote("kill"))
    said = str(death("The driver", error.value))
    named = re.search(r"/tmp/ray/session_latest/logs/(worker-\*-\d+\.err) on its node", said)
    assert named is not None, said
    (log,) = Path(cluster.head_node.get_logs_dir_path()).glob(named[1])
    assert "shot" in log.read_text()

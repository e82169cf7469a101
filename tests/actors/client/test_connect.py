import pytest
import ray

from hogwild_dist.actors.client.connect import connected
from hogwild_dist.actors.errors import ClusterError


def test_a_ray_that_does_not_start_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray, "is_initialized", lambda: False)

    def fails(**_: object) -> None:
        raise RuntimeError("The node timed out.\nThe rest of the story.")

    monkeypatch.setattr(ray, "init", fails)
    sentence = r"^Ray cannot be started on this machine: The node timed out\. Try again when .*\.$"
    with pytest.raises(ClusterError, match=sentence), connected(None):
        pytest.fail("it is not connected")

"""A cluster that is too small is told in one sentence, with a way out that the command has."""

import pytest

from hogwild_dist.actors.placement.capacity import NodeCapacity, shards_that_fit, shortage

NODES = [
    NodeCapacity(address="10.0.0.1", cpus=3.0, gpus=1.0),
    NodeCapacity(address="10.0.0.2", cpus=1.5, gpus=0.0),
]
FREE = "10.0.0.1 (3 CPUs, 1 GPU), 10.0.0.2 (1.5 CPUs, 0 GPUs)"


@pytest.mark.parametrize(
    ("cpus", "gpus", "fit"), [(1.0, 0, 4), (2.0, 0, 1), (0.5, 0, 9), (1.0, 1, 1), (0.0, 0, 128)]
)
def test_a_shard_is_never_split_over_nodes(cpus: float, gpus: float, fit: int) -> None:
    assert shards_that_fit(NODES, cpus, gpus) == fit


@pytest.mark.parametrize(
    ("count", "gpus", "further", "sentence"),
    [
        (
            9,
            0,
            False,
            "9 shards with 1 CPU each were requested, but 4 fit in the free capacity: "
            f"{FREE}; lower --shards or --cpus-per-shard, add nodes, or wait for them with "
            "--wait-for-nodes.",
        ),
        (
            2,
            1,
            False,
            "2 shards with 1 CPU and 1 GPU each were requested, but 1 fit in the free capacity: "
            f"{FREE}; lower --shards, add nodes, or wait for them with --wait-for-nodes.",
        ),
        (
            46,
            0,
            True,
            "46 further shards with 1 CPU each were requested, but 4 fit in the free capacity: "
            f"{FREE}; end other work there, or add nodes.",
        ),
    ],
)
def test_what_is_missing_is_told_in_one_sentence(
    count: int, gpus: float, further: bool, sentence: str
) -> None:
    assert shortage(NODES, count, 1.0, gpus, further=further) == sentence


def test_one_shard_is_not_many() -> None:
    told = shortage([], 1, 1.0, 0.0, further=True)
    assert told.startswith("1 further shard with 1 CPU was requested, but 0 fit in the free")
    assert ": no node; end other work" in told

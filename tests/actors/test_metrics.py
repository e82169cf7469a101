"""Every metric that is documented of groups is exported by a real run, and none besides."""

from collections.abc import Callable

from prometheus_client.samples import Sample

from hogwild_dist import LAYOUTS, Run
from hogwild_dist.actors.client.shard_group import ShardGroup
from hogwild_dist.actors.settings import GroupSettings
from tests.actors.client.test_shard_group import team
from tests.actors.observing import documented, scrape_until, tags_of, total

DOCUMENTED = documented("Driver", "Shards")


def test_every_documented_metric_is_exported(settings: Callable[..., GroupSettings]) -> None:
    group = ShardGroup.start(settings(), name="counted")
    run = Run(group, "Count!", team(3, LAYOUTS["combined"]))
    for _ in run:
        pass
    chosen = sum(run.result.num_tokens.values())

    def complete(samples: list[Sample]) -> bool:
        counted = total(samples, "ray_hogwild_tokens_total")
        return tags_of(samples) == DOCUMENTED and counted == chosen

    samples = scrape_until(complete, group="counted")
    group.stop()
    assert tags_of(samples) == DOCUMENTED
    assert total(samples, "ray_hogwild_tokens_total") == chosen
    assert total(samples, "ray_hogwild_live_shards") == 2
    exposed = total(samples, "ray_hogwild_exposed_wait_seconds_total")
    assert 0 < exposed <= total(samples, "ray_hogwild_exchange_seconds_total")

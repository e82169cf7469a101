"""What is documented of an ingress is exported, and the dashboard asks for nothing else."""

import json
import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from prometheus_client.samples import Sample

from hogwild_dist import LAYOUTS, Run
from hogwild_dist.actors.client.shard_group import ShardGroup
from hogwild_dist.deploy.service.config import service_config
from tests.actors.client.test_shard_group import team
from tests.actors.observing import documented, scrape_until, tags_of, total
from tests.paths import ROOT

BOARD = json.loads((ROOT / "deploy" / "grafana" / "hogwild.json").read_text(encoding="utf-8"))
INGRESS = documented("Ingresses")
SELECTOR = re.compile(r"(ray_\w+)(?:\{(.*?)\})?")


def expressions() -> list[str]:
    """All that the dashboard asks Prometheus for."""
    panels = [target["expr"] for panel in BOARD["panels"] for target in panel.get("targets", ())]
    found = [
        re.fullmatch(r"label_values\((.*), (\w+)\)", one["definition"])
        for one in BOARD["templating"]["list"]
        if one["type"] == "query"
    ]
    return panels + [f"sum by ({one[2]}) ({one[1]})" for one in found if one is not None]


def asked_labels(expression: str) -> dict[str, set[str]]:
    """Series -> the labels by which an expression picks or adds them up."""
    groups = re.findall(r"\bby \((.*?)\)", expression)
    by = {label for names in groups for label in re.split(r",\s*", names)}
    return {
        name: by | set(re.findall(r"(\w+)=~?\"", selector or ""))
        for name, selector in SELECTOR.findall(expression)
    }


@pytest.fixture(scope="module")
def samples(http: httpx.Client, arguments: dict[str, Any]) -> Iterator[list[Sample]]:
    """After requests to the service, and a run on a group that has peers to exchange with."""
    chat = {"model": "tiny", "messages": [{"role": "user", "content": "Count!"}], "seed": 1}
    assert http.post("/v1/chat/completions", json=chat).status_code == 200
    assert http.get("/v1/sessions/nothing").status_code == 404
    pair = service_config({**arguments, "name": "pair", "shards": 2}).group_settings()
    group = ShardGroup.start(pair, name="pair-0")
    for _ in Run(group, "Count!", team(2, LAYOUTS["combined"])):
        pass
    wanted = {name for one in expressions() for name in asked_labels(one)}
    yield scrape_until(lambda found: wanted <= {sample.name for sample in found})
    group.stop()


def test_every_documented_metric_of_an_ingress_is_exported(samples: list[Sample]) -> None:
    own = [sample for sample in samples if sample.labels.get("service") == "hogwild-service"]
    assert tags_of(own) == INGRESS
    lost = [
        sample for sample in own
        if sample.labels.get("route") == "/v1/sessions/{session}"
        and sample.labels["status"] == "404"
    ]  # fmt: skip
    assert total(lost, "ray_hogwild_requests_total") >= 1
    assert total(own, "ray_hogwild_first_token_seconds_count") >= 1


def test_the_dashboard_asks_for_what_there_is(samples: list[Sample]) -> None:
    """Each series that it names is exported, with the labels by which it picks and adds up."""
    for expression in expressions():
        asked = asked_labels(expression)
        assert asked, expression
        for name, labels in asked.items():
            found = [sample.labels.keys() for sample in samples if sample.name == name]
            assert found, f"{name} is not exported"
            assert all(labels <= one for one in found), (name, labels)


def test_a_service_and_its_groups_name_the_model_alike(samples: list[Sample]) -> None:
    """One variable of the dashboard picks both."""
    by_ingress = {
        one.labels["model"] for one in samples if one.labels.get("service") == "hogwild-service"
    }
    by_shards = {
        one.labels["model"] for one in samples
        if one.labels.get("group") == "hogwild-service-0" and "model" in one.labels
    }  # fmt: skip
    assert len(by_ingress) == 1
    assert by_ingress == by_shards


def test_the_dashboard_shows_every_documented_metric() -> None:
    asked = {name for one in expressions() for name in asked_labels(one)}
    shown = {re.sub(r"_(bucket|sum|count)$", "", name) for name in asked}
    assert shown == documented("Driver", "Shards", "Ingresses").keys()


def test_legends_name_labels_of_their_queries() -> None:
    for panel in BOARD["panels"]:
        for target in panel.get("targets", ()):
            named = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
            for labels in asked_labels(target["expr"]).values():
                assert named <= labels, panel["title"]


def test_panels_say_what_they_show_and_do_not_overlap() -> None:
    places = set()
    for panel in BOARD["panels"]:
        at = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(at["x"], at["x"] + at["w"])
            for y in range(at["y"], at["y"] + at["h"])
        }
        assert not cells & places, panel["title"]
        places |= cells
        if panel["type"] != "row":
            assert panel["description"]
            assert panel["fieldConfig"]["defaults"]["unit"]
            assert panel["datasource"]["uid"] == "${datasource}"
    assert max(x for x, _ in places) < 24

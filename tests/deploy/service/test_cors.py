"""Scripts of other web pages: refused unless the settings name their origin."""

from typing import cast

import pytest
from fastapi.testclient import TestClient

from hogwild_dist.deploy.service.config import service_config
from hogwild_dist.deploy.service.http.app import build_http
from hogwild_dist.deploy.service.http.dependencies import Service
from hogwild_dist.deploy.service.keys import Keyring
from hogwild_dist.deploy.service.metrics import ServiceMetrics
from hogwild_dist.deploy.service.sessions.session_service import SessionService
from hogwild_dist.errors import ConfigError

PAGE = "https://app.example.org"


def client(**fields: object) -> TestClient:
    """A client of routes that need no session."""
    config = service_config({"model": "tiny", **fields})
    service = Service(
        config=config,
        sessions=cast(SessionService, None),
        keyring=Keyring(config.keys),
        metrics=ServiceMetrics(config.name, config.load_settings.model),
    )
    return TestClient(build_http(service))


def allowed(http: TestClient, origin: str) -> str | None:
    asked = {"Origin": origin, "Access-Control-Request-Method": "POST"}
    preflight = http.options("/v1/chat/completions", headers=asked)
    simple = http.get("/healthz", headers={"Origin": origin})
    name = "access-control-allow-origin"
    assert preflight.headers.get(name) == simple.headers.get(name)
    return simple.headers.get(name)


def test_by_default_no_other_page_may_use_the_service() -> None:
    assert allowed(client(), PAGE) is None


def test_pages_that_the_settings_name_may() -> None:
    http = client(cors_origins=[PAGE])
    assert allowed(http, PAGE) == PAGE
    assert allowed(http, "https://evil.example.org") is None
    assert allowed(client(cors_origins=["*"]), PAGE) == "*"


@pytest.mark.parametrize("origin", ["app.example.org", "https://app.example.org/page", "ftp://x"])
def test_an_origin_is_a_scheme_and_a_host(origin: str) -> None:
    with pytest.raises(ConfigError, match="cors_origins"):
        client(cors_origins=[origin])

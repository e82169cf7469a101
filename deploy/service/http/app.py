"""The FastAPI application with all routes."""

from importlib.metadata import version
from typing import Any

from fastapi import FastAPI
from fastapi.middleware.cors import CORSMiddleware
from fastapi.openapi.utils import get_openapi

from hogwild_dist.deploy.service.errors import handle_errors
from hogwild_dist.deploy.service.http import chat, health, page, sessions
from hogwild_dist.deploy.service.http.dependencies import Service
from hogwild_dist.deploy.service.http.middleware import (
    RequestLog,
    RequireJson,
    SizeLimit,
    TrustedHosts,
)


def build_http(service: Service) -> FastAPI:
    """Build the HTTP interface of an ingress.

    Args:
        service: configuration, sessions, keys and metrics that the routes use.
    """
    app = FastAPI(
        title="hogwild-dist",
        description="Teams of LLM workers that solve a problem together.",
        version=version("hogwild-dist"),
        docs_url=None,
        redoc_url=None,
    )
    app.state.service = service
    handle_errors(app)
    for part in (chat, sessions, health, page):
        app.include_router(part.router)
    page.add_files(app)
    app.add_middleware(RequireJson)
    app.add_middleware(TrustedHosts, hosts=service.config.hosts)
    app.add_middleware(SizeLimit, max_bytes=service.config.bounds.body_bytes)
    if service.config.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=service.config.cors_origins,
            allow_methods=["*"],
            allow_headers=["*"],
            expose_headers=["X-Request-Id", "Retry-After"],
        )
    app.add_middleware(RequestLog, metrics=service.metrics)
    app.openapi = lambda: _openapi(app)  # type: ignore[method-assign]
    return app


def _openapi(app: FastAPI) -> dict[str, Any]:
    """Return the OpenAPI document; invalid requests get status 400 instead of FastAPI's 422."""
    if app.openapi_schema is None:
        document = get_openapi(
            title=app.title,
            version=app.version,
            description=app.description,
            routes=app.routes,
        )
        for path in document["paths"].values():
            for operation in path.values():
                operation["responses"].pop("422", None)
        app.openapi_schema = document
    return app.openapi_schema

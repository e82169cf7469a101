"""Middleware of every request: host, media type and size checks, headers, log and failures."""

import asyncio
import logging
import time
from collections.abc import Iterable, MutableMapping
from typing import Any
from urllib.parse import urlsplit

from fastapi.responses import JSONResponse
from ray.exceptions import TaskCancelledError
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException

from hogwild_dist.deploy.service.errors import error_body
from hogwild_dist.deploy.service.failures import report_failure
from hogwild_dist.deploy.service.http.request_ids import (
    REQUEST_ID,
    App,
    Receive,
    Scope,
    Send,
    given_id,
    new_id,
)
from hogwild_dist.deploy.service.metrics import ServiceMetrics

log = logging.getLogger("hogwild_dist.service")

HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "connect-src 'self'; img-src 'self' data:; base-uri 'none'; frame-ancestors 'none'; "
    "form-action 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}
GONE = 499
"""Status of a request whose client left before the response; in logs and metrics only."""


class InterruptedResponseError(Exception):
    """The failure of a response that had started, on which Serve closes the connection."""


class TrustedHosts:
    """Refuses requests to unknown hosts, which protects against DNS rebinding.

    Args:
        app: the next ASGI app.
        hosts: host names by which clients may call the service; "*" allows any.
    """

    def __init__(self, app: App, hosts: Iterable[str]) -> None:
        self._app = app
        self._hosts = {host.strip("[]").lower() for host in hosts}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request."""
        if scope["type"] == "http" and "*" not in self._hosts:
            given = Headers(scope=scope).get("host", "")
            if _host(given) not in self._hosts:
                message = (
                    f"The request calls the host {given[:80]!r}, which is not in `hosts` of the "
                    "service's settings; add it there."
                )
                await JSONResponse(error_body(400, message), 400)(scope, receive, send)
                return
        await self._app(scope, receive, send)


class RequireJson:
    """Refuses bodies not declared as JSON, which any web page can make a browser send.

    Args:
        app: the next ASGI app.
    """

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request."""
        headers = Headers(scope=scope) if scope["type"] == "http" else Headers()
        has_body = headers.get("content-length", "0") != "0" or "transfer-encoding" in headers
        kind = headers.get("content-type", "").partition(";")[0].strip().lower()
        if has_body and kind != "application/json":
            message = (
                f"The Content-Type of the body is {kind[:60]!r}; send the header "
                "Content-Type: application/json."
            )
            await JSONResponse(error_body(415, message), 415)(scope, receive, send)
            return
        await self._app(scope, receive, send)


class SizeLimit:
    """Refuses bodies that are too large, while they are read; a Content-Length is not needed.

    Args:
        app: the next ASGI app.
        max_bytes: largest size of a body, in bytes.
    """

    def __init__(self, app: App, max_bytes: int) -> None:
        self._app = app
        self._max_bytes = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request."""
        left = self._max_bytes

        async def limited() -> MutableMapping[str, Any]:
            nonlocal left
            try:
                message = await receive()
            except TaskCancelledError:  # Serve reports in this way that the client has left
                return {"type": "http.disconnect"}
            left -= len(message.get("body", b""))
            if left < 0:
                raise HTTPException(413, f"the body is larger than {self._max_bytes} bytes")
            return message

        await self._app(scope, limited, send)


class RequestLog:
    """Adds headers to every response, and logs each request without any text of the client.

    Args:
        app: the next ASGI app.
        metrics: counts the requests.
    """

    def __init__(self, app: App, metrics: ServiceMetrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        start, status = time.perf_counter(), 0
        given = given_id(scope)
        request_id = given or new_id()
        scope[REQUEST_ID] = request_id
        # Serve's proxy itself returns an id that came with the request.
        more = HEADERS if given else {**HEADERS, "x-request-id": request_id}

        async def with_headers(message: MutableMapping[str, Any]) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [
                    *message.get("headers", ()),
                    *((name.encode(), value.encode()) for name, value in more.items()),
                ]
            await send(message)

        try:
            await self._app(scope, receive, with_headers)
        except asyncio.CancelledError:
            status = status or GONE
            raise
        except Exception as error:
            message = report_failure(error, request_id)
            if status:
                raise InterruptedResponseError(
                    f"The response to request {request_id} failed after it had started."
                ) from None
            await JSONResponse(error_body(500, message), 500)(scope, receive, with_headers)
        finally:
            self._count(scope, request_id, status, time.perf_counter() - start)

    def _count(self, scope: Scope, request_id: str, status: int, seconds: float) -> None:
        route = getattr(scope.get("route"), "path", "other")
        self._metrics.count_request(route, status)
        log.info(
            "request",
            extra={
                "request": request_id,
                "method": scope["method"],
                "route": route,
                "status": status,
                "seconds": round(seconds, 3),
            },
        )


def _host(header: str) -> str | None:
    """Return the name in a Host header, without the port."""
    try:
        return urlsplit(f"//{header}").hostname
    except ValueError:
        return None

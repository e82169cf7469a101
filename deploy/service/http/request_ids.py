"""Request ids: the client's own if it is safe to log, otherwise a new one."""

import re
import uuid
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from starlette.middleware import Middleware

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

HEADER = b"x-request-id"
REQUEST_ID = "hogwild.request_id"
"""Key of the scope under which a request's id is kept for its route."""

CONTROLLER = {
    "runtime_env": {
        "env_vars": {"RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH": f"{__name__}:for_proxies"}
    }
}
"""Options of Serve's controller, which passes its environment on to the proxies it starts."""

_HARMLESS = re.compile(rb"[A-Za-z0-9_.-]{1,64}")


def new_id() -> str:
    """Return a new unique id."""
    return uuid.uuid4().hex


def given_id(scope: Scope) -> str | None:
    """Return the client's id of a request, or None if it is missing or not safe to log."""
    given = [value for name, value in scope["headers"] if name == HEADER]
    return given[0].decode() if len(given) == 1 and _HARMLESS.fullmatch(given[0]) else None


class NamedRequests:
    """Gives a request a new id if its own is missing or not safe to log.

    Args:
        app: the next ASGI app.
    """

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on with its id."""
        if scope["type"] == "http" and given_id(scope) is None:
            others = [(name, value) for name, value in scope["headers"] if name != HEADER]
            scope = {**scope, "headers": [*others, (HEADER, new_id().encode())]}
        await self._app(scope, receive, send)


def for_proxies() -> list[Middleware]:
    """Return the first middleware of Serve's proxies, which log and return the id they receive."""
    return [Middleware(NamedRequests)]

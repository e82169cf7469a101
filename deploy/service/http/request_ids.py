"""Names of requests: the client's own where it is harmless in logs, or a new one."""

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
CONTROLLER = {
    "runtime_env": {
        "env_vars": {"RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH": f"{__name__}:for_proxies"}
    }
}
"""Options of Serve's controller, which hands its environment on to the proxies that it starts."""

_HARMLESS = re.compile(rb"[A-Za-z0-9_.-]{1,64}")


def new_id() -> str:
    """A name that nothing else has."""
    return uuid.uuid4().hex


def given_id(scope: Scope) -> str | None:
    """The client's name for a request, unless it has none or one that logs should not hold."""
    given = [value for name, value in scope["headers"] if name == HEADER]
    return given[0].decode() if len(given) == 1 and _HARMLESS.fullmatch(given[0]) else None


class NamedRequests:
    """Gives a request a new name where its own is missing or not harmless.

    Args:
        app: behind it.
    """

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on under its name."""
        if scope["type"] == "http" and given_id(scope) is None:
            others = [(name, value) for name, value in scope["headers"] if name != HEADER]
            scope = {**scope, "headers": [*others, (HEADER, new_id().encode())]}
        await self._app(scope, receive, send)


def for_proxies() -> list[Middleware]:
    """What Serve's proxies put before all else; they log and return a name as it comes to them."""
    return [Middleware(NamedRequests)]

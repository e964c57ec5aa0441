"""An ASGI application for probes: whether this process lives, whether its stores can serve, and their metrics."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Protocol, TypeAlias

from convostore.call.exposition import CONTENT_TYPE, exposed
from convostore.call.health import BackendHealth, Health
from convostore.call.metrics import BACKEND_LATENCY, BACKEND_UP, METRICS

__all__ = ["BackendHealth", "Health", "app"]

Message: TypeAlias = MutableMapping[str, Any]
Application: TypeAlias = Callable[
    [Message, Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]], Awaitable[None]
]


class HasHealth(Protocol):
    """What tells its health, as `Stores` does."""

    async def health(self) -> Health: ...


def app(stores: HasHealth) -> Application:
    """Return an ASGI application, to be mounted in an application's own or served beside it.

    - `/livez`: 200 as long as the event loop runs; it asks nobody.
    - `/readyz`: 200 if calls succeed, else 503. The body is JSON: `status` is `"ok"`, `"degraded"` (a lost hot tier
      costs speed alone, so that is 200) or `"unavailable"`, and for each backend whether it is ok.
    - `/metrics`: the metrics of this process in the text format of Prometheus.

    No answer names an address, a tenant or a secret.

    Args:
        stores: the stores.
    """

    async def answer(scope: Message, receive: Callable[[], Awaitable[Message]], send: Callable[..., Any]) -> None:
        if scope["type"] == "lifespan":
            return await _live(receive, send)
        if scope["type"] != "http":
            return None
        path = scope["path"].removeprefix(scope.get("root_path", ""))
        if scope["method"] not in ("GET", "HEAD"):
            return await _respond(send, 405, "text/plain", "GET only\n", ("allow", "GET, HEAD"))
        if path == "/livez":
            return await _respond(send, 200, "text/plain", "ok\n")
        if path not in ("/readyz", "/metrics"):
            return await _respond(send, 404, "text/plain", "there are /livez, /readyz and /metrics\n")
        health = await stores.health()
        _note(health)
        if path == "/metrics":
            return await _respond(send, 200, CONTENT_TYPE, "".join(exposed(METRICS.values())))
        return await _respond(send, 200 if health.serves else 503, "application/json", json.dumps(_summary(health)))

    return answer


def _summary(health: Health) -> dict[str, Any]:
    status = "ok" if health.ok else "degraded" if health.serves else "unavailable"
    return {
        "status": status,
        "backends": {name: "ok" if each.ok else "failing" for name, each in health.backends.items()},
    }


def _note(health: Health) -> None:
    """Keep what the probe found among the metrics."""
    found = health.backends
    BACKEND_UP.replace({(name,): int(each.ok) for name, each in found.items()})
    BACKEND_LATENCY.replace({(name,): each.latency for name, each in found.items() if each.latency is not None})


async def _live(receive: Callable[[], Awaitable[Message]], send: Callable[..., Any]) -> None:
    """Answer the server's start and end; the stores are opened and closed by who opened them."""
    while True:
        event = (await receive())["type"]
        await send({"type": f"{event}.complete"})
        if event == "lifespan.shutdown":
            return


async def _respond(
    send: Callable[..., Any], status: int, content_type: str, body: str, *headers: tuple[str, str]
) -> None:
    encoded = body.encode()
    listed = [("content-type", content_type), ("content-length", str(len(encoded))), *headers]
    pairs = [(name.encode(), value.encode()) for name, value in listed]
    await send({"type": "http.response.start", "status": status, "headers": pairs})
    await send({"type": "http.response.body", "body": encoded})

"""The ASGI application for probes tells whether calls succeed, and no address, tenant or secret."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pytest

from convostore import BackendHealth, Health, open_stores
from convostore.embedded import Embedded
from convostore.health import app

WELL = BackendHealth(ok=True, latency=0.002, version="18.1", connections=4, in_use=1, pool_size=10)
LOST = BackendHealth(ok=False, problem="Nothing listens at 10.1.2.3.")


class Reported:
    """Stores whose health is given."""

    def __init__(self, **backends: BackendHealth) -> None:
        truth = backends.get("postgres") or backends["memory"]
        ok = all(each.ok for each in backends.values())
        self._health = Health(ok, truth.ok, backends, datetime(2026, 1, 2, tzinfo=UTC))

    async def health(self) -> Health:
        return self._health


async def get(stores: Any, path: str, method: str = "GET", root: str = "") -> tuple[int, Mapping[str, str], str]:
    """Return status, headers and body of an answer."""
    sent: list[Any] = []

    async def receive() -> Any:
        raise AssertionError("a probe has no body")

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": method, "path": root + path, "root_path": root}
    await app(stores)(scope, receive, send)
    start, body = sent
    headers = {name.decode(): value.decode() for name, value in start["headers"]}
    assert headers["content-length"] == str(len(body["body"]))
    return start["status"], headers, body["body"].decode()


@pytest.mark.parametrize(
    ("stores", "status", "told"),
    [
        (Reported(postgres=WELL, redis=WELL), 200, "ok"),
        (Reported(postgres=WELL, redis=LOST), 200, "degraded"),
        (Reported(postgres=LOST, redis=WELL), 503, "unavailable"),
        (Reported(memory=WELL), 200, "ok"),
    ],
)
async def test_readiness_is_whether_calls_succeed(stores: Reported, status: int, told: str) -> None:
    found, headers, body = await get(stores, "/readyz", root="/probes")
    assert (found, json.loads(body)["status"], headers["content-type"]) == (status, told, "application/json")
    assert "10.1.2.3" not in body


async def test_liveness_asks_nobody() -> None:
    assert (await get(None, "/livez"))[0] == 200


async def test_other_paths_and_methods_are_refused() -> None:
    assert (await get(None, "/"))[0] == 404
    status, headers, _ = await get(None, "/readyz", "POST")
    assert (status, headers["allow"]) == (405, "GET, HEAD")


async def test_figures_are_exposed_for_prometheus() -> None:
    _, headers, body = await get(Reported(postgres=WELL, redis=LOST), "/metrics")
    assert headers["content-type"] == "text/plain; version=0.0.4"
    lines = body.splitlines()
    assert 'convostore_backend_up{convostore_backend="postgres"} 1' in lines
    assert 'convostore_backend_up{convostore_backend="redis"} 0' in lines
    assert 'convostore_backend_latency_seconds{convostore_backend="postgres"} 0.002' in lines
    assert 'convostore_backend_latency_seconds{convostore_backend="redis"}' not in body
    assert "10.1.2.3" not in body


async def test_the_lifespan_of_a_server_is_answered() -> None:
    events, sent = ["lifespan.startup", "lifespan.shutdown"], list[str]()

    async def receive() -> Any:
        return {"type": events.pop(0)}

    async def send(message: Any) -> None:
        sent.append(message["type"])

    await app(Reported(memory=WELL))({"type": "lifespan"}, receive, send)
    assert sent == ["lifespan.startup.complete", "lifespan.shutdown.complete"]


async def test_the_stores_themselves_are_probed(engines: Embedded) -> None:
    async with open_stores(postgres_url=engines.postgres_dsn, redis_url=engines.redis_url) as stores:
        assert (await get(stores, "/readyz"))[0] == 200
    assert (await get(stores, "/readyz"))[0] == 503

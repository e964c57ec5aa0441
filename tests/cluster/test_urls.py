"""URLs of clusters and sentinels: the clients that they give, and which are refused before a connection is opened."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis
from redis.asyncio.cluster import RedisCluster
from redis.asyncio.connection import SSLConnection

from convostore.errors import ValidationError
from convostore.redis import create_client
from convostore.settings import load_settings


def nodes_of(client: Any) -> list[tuple[str, int]]:
    """Return the startup nodes of a cluster's client."""
    return [(node.host, node.port) for node in client.nodes_manager.startup_nodes.values()]


async def test_a_cluster_is_named_by_some_of_its_nodes() -> None:
    async with create_client("redis+cluster://ann:p%40ss@10.0.0.1:7000,10.0.0.2,[::1]:7002") as client:
        assert isinstance(client, RedisCluster)
        assert nodes_of(client) == [("10.0.0.1", 7000), ("10.0.0.2", 6379), ("::1", 7002)]
        given = client.connection_kwargs
        assert (given["username"], given["password"], given["max_connections"]) == ("ann", "p@ss", 11)
        assert not issubclass(given["connection_class"], SSLConnection)


async def test_rediss_connects_to_a_cluster_by_tls(tmp_path: Path) -> None:
    own = tmp_path / "own.pem"
    own.touch()
    async with create_client(f"rediss+cluster://10.0.0.1:7000/0?ssl_ca_certs={own}", max_connections=3) as client:
        given = client.connection_kwargs
        assert issubclass(given["connection_class"], SSLConnection)
        assert (given["ssl_ca_certs"], given["max_connections"]) == (str(own), 4)


@pytest.mark.parametrize("tls", [False, True])
async def test_sentinels_name_the_primary_of_a_service(tls: bool) -> None:
    url = "redis+sentinel://ann:secret@10.0.0.1,10.0.0.2:5000/sessions/2?sentinel_password=other&sentinel_username=bob"
    async with create_client(url.replace("redis+", "rediss+" if tls else "redis+")) as client:
        assert isinstance(client, Redis)
        pool: Any = client.connection_pool
        assert (pool.service_name, pool.max_connections) == ("sessions", 10)
        given = pool.connection_kwargs
        assert (given["username"], given["password"], given["db"]) == ("ann", "secret", 2)
        assert issubclass(pool.connection_class, SSLConnection) is tls
        asked = [sentinel.connection_pool for sentinel in pool.sentinel_manager.sentinels]
        hosts = [(each.connection_kwargs["host"], each.connection_kwargs["port"]) for each in asked]
        assert hosts == [("10.0.0.1", 26_379), ("10.0.0.2", 5_000)]
        assert {each.connection_kwargs["username"] for each in asked} == {"bob"}
        assert {each.connection_kwargs["password"] for each in asked} == {"other"}
        assert {issubclass(each.connection_class, SSLConnection) for each in asked} == {tls}


@pytest.mark.parametrize(
    "url",
    [
        "redis+cluster://",
        "redis+cluster://10.0.0.1:7000,",
        "redis+cluster://10.0.0.1:port",
        "redis+cluster://10.0.0.1:7000/1",
        "redis+cluster://10.0.0.1:7000?nothing=1",
        "unix+cluster://10.0.0.1:7000",
        "redis+sentinel://10.0.0.1",
        "redis+sentinel:///service",
        "redis+sentinel://10.0.0.1/service/database",
        "redis+other://10.0.0.1",
        "http://10.0.0.1",
    ],
)
async def test_other_urls_are_refused_and_not_repeated_in_the_error(url: str) -> None:
    with pytest.raises(ValidationError, match="redis_url") as refused:
        create_client(url)
    assert "10.0.0.1" not in str(refused.value)


@pytest.mark.parametrize("scheme", ["redis+cluster", "rediss+cluster", "redis+sentinel", "rediss+sentinel"])
def test_settings_accept_them(scheme: str) -> None:
    given = load_settings({"redis_url": f"{scheme}://10.0.0.1/service"}).redis_url
    assert given is not None

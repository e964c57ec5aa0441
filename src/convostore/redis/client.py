"""Clients for the stores: of one server, of a cluster or by way of sentinels; bounded, never repeating commands."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from typing import Any, Self
from urllib.parse import urlsplit

import redis.asyncio as aio
from redis.asyncio.cluster import ClusterNode, RedisCluster
from redis.asyncio.connection import Connection, SSLConnection, parse_url
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel, SentinelConnectionPool, SentinelManagedConnection
from redis.backoff import NoBackoff
from redis.exceptions import RedisClusterException, RedisError

from convostore.call.deadlines import DEFAULT_TIMEOUT
from convostore.errors import ConnectionError, ValidationError
from convostore.redis.errors import translated
from convostore.redis.links import Client, Link, Servers, servers_of

_POOL_TIMEOUT = 3_600.0
"""Seconds to wait for a free connection: longer than any deadline, which is what ends the wait."""

_SENTINEL_TIMEOUT = 0.5
"""Seconds to wait for one sentinel before the next is asked."""

_SENTINEL_PORT = 26_379
_FORMS = "redis://, rediss:// or unix://; redis+cluster://host:port,host:port; or redis+sentinel://host:port,host:port/service"


def create_client(url: str, *, max_connections: int = 10) -> Any:
    """Return a client for the session stores, which the caller closes. Nothing is connected before the first call.

    Args:
        url: `redis://`, `rediss://` or `unix://` for one server; `redis+cluster://[user:password@]host:port,host:port`
            for a cluster, of which one node that answers is enough; or
            `redis+sentinel://[user:password@]host:port,host:port/service[/db]` for a primary that sentinels name, who
            are given the credentials `?sentinel_username=…&sentinel_password=…`. `rediss+…` is the same with TLS.
            Options of redis-py follow as `?name=value`.
        max_connections: how many connections to open at most, on a cluster to each node; further calls wait for one
            within their deadline.

    Returns:
        A `redis.asyncio.cluster.RedisCluster` for a cluster, else a `redis.asyncio.Redis`.

    Raises:
        ValidationError: the URL is of another kind.
    """
    _scheme, _, how = url.partition("://")[0].partition("+")
    makers: dict[str, Callable[[str, dict[str, Any]], Client]] = {"": _one, "cluster": _cluster, "sentinel": _sentinel}
    options: dict[str, Any] = {
        "max_connections": max_connections,
        # The driver would send a command again when only its answer was lost, and count a save twice.
        "retry": Retry(NoBackoff(), 0),
        "socket_timeout": None,
        "protocol": 2,
    }
    try:
        return makers[how](url.replace(f"+{how}://", "://", 1), options)
    except (ValueError, KeyError, TypeError) as error:
        raise ValidationError(f"redis_url: must be {_FORMS}") from error


async def check_eviction(client: Client, *, timeout: float = DEFAULT_TIMEOUT) -> None:
    """Refuse servers that may drop sessions to make room.

    Raises:
        ValidationError: the eviction policy of one is `allkeys-*`.
        ConnectionError: one does not answer.
    """
    try:
        async with asyncio.timeout(timeout):
            await refuse_eviction(servers_of(client))
    except RedisError as error:
        raise translated(error) from error
    except TimeoutError as error:
        raise ConnectionError("The server did not answer in time.", code="timeout") from error


async def refuse_eviction(servers: Servers) -> None:
    """Raise ValidationError if a server may drop sessions to make room."""

    async def policy_of(link: Link) -> str:
        return (await link.info("memory")).get("maxmemory_policy", "")

    for policy in await servers.everywhere(policy_of):
        if policy.startswith("allkeys-"):
            raise ValidationError(
                f"redis_url: the server's maxmemory-policy {policy} would drop sessions; use noeviction"
            )


def _one(url: str, options: dict[str, Any]) -> aio.Redis:
    return aio.Redis.from_pool(aio.BlockingConnectionPool.from_url(url, timeout=_POOL_TIMEOUT, **options))


class _Cluster(RedisCluster):
    """A client that can be opened while the cluster is down, as that of one server can, and stays closed."""

    _closed = False

    async def __aenter__(self) -> Self:
        await self._increment_usage()
        return self

    async def initialize(self, *arguments: Any, **named: Any) -> Self:
        if self._closed:
            raise RedisClusterException("The client is closed.")
        _ = await super().initialize(*arguments, **named)
        return self

    async def aclose(self) -> None:
        self._closed = True
        await super().aclose()


def _cluster(url: str, options: dict[str, Any]) -> RedisCluster:
    hosts, path, given = _split(url, 6_379)
    if path not in ("", "/", "/0"):
        raise ValueError("a cluster has one database")
    # One connection to each node is left for asking it who holds which keys.
    options |= {**given, "max_connections": given.get("max_connections", options["max_connections"]) + 1}
    nodes = [ClusterNode(host, port) for host, port in hosts]
    return _Cluster(startup_nodes=nodes, require_full_coverage=False, ssl=_pops_ssl(options), **options)


class _SentinelConnection(SentinelManagedConnection):
    # The driver's own takes the answer READONLY for a lost connection, after which nobody knows what was run.
    read_response = Connection.read_response  # type: ignore[assignment]


class _SentinelSSLConnection(_SentinelConnection, SSLConnection):
    pass


class _SentinelPool(SentinelConnectionPool, aio.BlockingConnectionPool):
    """Waits for a free connection; its sentinels belong to it."""

    async def aclose(self) -> None:
        await super().aclose()
        await self.sentinel_manager.aclose()


def _sentinel(url: str, options: dict[str, Any]) -> aio.Redis:
    hosts, path, given = _split(url, _SENTINEL_PORT)
    service, _, database = path.removeprefix("/").partition("/")
    if not service:
        raise ValueError("the service is not named")
    credentials = {name: given.pop(f"sentinel_{name}", None) for name in ("username", "password")}
    options |= {**given, "db": int(database or 0), "timeout": _POOL_TIMEOUT}
    ssl = _pops_ssl(options)
    options["connection_class"] = _SentinelSSLConnection if ssl else _SentinelConnection
    asked = {
        **{name: value for name, value in options.items() if name.startswith("ssl_")},
        **credentials,
        "ssl": ssl,
        "retry": options["retry"],
        "socket_timeout": _SENTINEL_TIMEOUT,
        "socket_connect_timeout": _SENTINEL_TIMEOUT,
    }
    sentinels: Any = Sentinel
    pool: Any = _SentinelPool
    return aio.Redis.from_pool(pool(service, sentinels(hosts, sentinel_kwargs=asked), **options))


def _split(url: str, default_port: int) -> tuple[list[tuple[str, int]], str, dict[str, Any]]:
    """Return the hosts of a URL with several, its path, and the options that redis-py reads from the rest."""
    scheme, _, rest = url.partition("://")
    # Host by host: with several, one in brackets is no URL to newer versions of Python.
    authority = re.split("[/?#]", rest, maxsplit=1)[0]
    parts = urlsplit(f"{scheme}://{rest.removeprefix(authority)}")
    user, at, hosts = authority.rpartition("@")
    found = [urlsplit(f"//{host}") for host in hosts.split(",")]
    if scheme not in ("redis", "rediss") or not all(each.hostname for each in found):
        raise ValueError("it names no hosts")
    given: dict[str, Any] = dict(parse_url(f"{scheme}://{user}{at}host?{parts.query}"))
    del given["host"]
    return [(str(each.hostname), each.port or default_port) for each in found], parts.path, given


def _pops_ssl(options: dict[str, Any]) -> bool:
    return options.pop("connection_class", None) is SSLConnection

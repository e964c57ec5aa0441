"""Clients for the stores: of one server, of a cluster, or of a primary that sentinels name; without retries."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import redis.asyncio as aio
from redis.asyncio.cluster import ClusterNode
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from convostore.call.deadlines import DEFAULT_TIMEOUT
from convostore.errors import ConnectionError, ValidationError
from convostore.redis import driver
from convostore.redis.connection import Connection
from convostore.redis.driver import Client
from convostore.redis.servers import Servers, servers_of

_POOL_TIMEOUT = 3_600.0
"""Seconds to wait for a free connection: longer than any deadline, which ends the wait."""

_SENTINEL_TIMEOUT = 0.5
"""Seconds until the next sentinel is asked."""

UNCHECKED_EVICTION = (
    "the maxmemory-policy could not be checked, because the user may not call INFO: see that it is noeviction, "
    "or allow the check with ACL SETUSER <user> +info"
)
"""What is logged when the eviction policy could not be checked."""

_log = logging.getLogger("convostore.session")

_SENTINEL_PORT = 26_379
_FORMS = "redis://, rediss:// or unix://; redis+cluster://host:port,host:port; or redis+sentinel://host:port,host:port/service"


def create_client(url: str, *, max_connections: int = 10) -> Any:
    """Return a client for the session stores, which the caller closes. It connects at the first call.

    Args:
        url: `redis://`, `rediss://` or `unix://` for one server; `redis+cluster://[user:password@]host:port,host:port`
            for a cluster, of which one reachable node is enough; or
            `redis+sentinel://[user:password@]host:port,host:port/service[/db]` for the primary of a service, with
            `?sentinel_username=…&sentinel_password=…` as credentials for the sentinels. `rediss+…` is the same with
            TLS. Options of redis-py follow as `?name=value`.
        max_connections: the size of the pool, on a cluster of each node's; calls beyond it wait within their deadline.

    Returns:
        A `redis.asyncio.cluster.RedisCluster` for a cluster, else a `redis.asyncio.Redis`.

    Raises:
        ValidationError: the URL is of another kind.
    """
    _scheme, _, how = url.partition("://")[0].partition("+")
    makers: dict[str, Callable[[str, dict[str, Any]], Client]] = {"": _one, "cluster": _cluster, "sentinel": _sentinel}
    options: dict[str, Any] = {
        "max_connections": max_connections,
        # The driver would retry a command whose reply was lost, and so apply a save twice.
        "retry": Retry(NoBackoff(), 0),
        "socket_timeout": None,
        "protocol": 2,
    }
    try:
        return makers[how](url.replace(f"+{how}://", "://", 1), options)
    except (ValueError, KeyError, TypeError) as error:
        raise ValidationError(f"redis_url: must be {_FORMS}") from error


async def check_eviction(client: Client, *, timeout: float = DEFAULT_TIMEOUT) -> bool:
    """Refuse servers that may evict sessions; return False if the user may not ask one, which is logged.

    Raises:
        ValidationError: the eviction policy of a server is `allkeys-*`.
        ConnectionError: a server does not answer.
    """
    try:
        async with asyncio.timeout(timeout):
            return await refuse_eviction(servers_of(client))
    except TimeoutError as error:
        raise ConnectionError("The server did not answer in time.", code="timeout") from error


async def refuse_eviction(servers: Servers) -> bool:
    """Raise ValidationError if a server may evict sessions; return whether all of them could be asked."""
    policies = await servers.everywhere(Connection.eviction_policy)
    for policy in policies:
        if policy is not None and policy.startswith("allkeys-"):
            raise ValidationError(
                f"redis_url: the server's maxmemory-policy {policy} would drop sessions; use noeviction"
            )
    if None in policies:
        _log.warning(UNCHECKED_EVICTION, extra={"store": "session", "code": "NOPERM"})
    return None not in policies


def _one(url: str, options: dict[str, Any]) -> aio.Redis:
    return aio.Redis.from_pool(driver.Pool.from_url(url, timeout=_POOL_TIMEOUT, **options))


def _cluster(url: str, options: dict[str, Any]) -> driver.ClusterClient:
    hosts, path, given, ssl = _split(url, 6_379)
    if path not in ("", "/", "/0"):
        raise ValueError("a cluster has one database")
    # One connection more to each node, for the driver to ask for the topology.
    options |= {**given, "max_connections": given.get("max_connections", options["max_connections"]) + 1}
    nodes = [ClusterNode(host, port) for host, port in hosts]
    return driver.ClusterClient(startup_nodes=nodes, require_full_coverage=False, ssl=ssl, **options)


def _sentinel(url: str, options: dict[str, Any]) -> aio.Redis:
    hosts, path, given, ssl = _split(url, _SENTINEL_PORT)
    service, _, database = path.removeprefix("/").partition("/")
    if not service:
        raise ValueError("the service is not named")
    credentials = {name: given.pop(f"sentinel_{name}", None) for name in ("username", "password")}
    options |= {**given, "db": int(database or 0), "timeout": _POOL_TIMEOUT}
    sentinel_options = {
        **{name: value for name, value in options.items() if name.startswith("ssl_")},
        **credentials,
        "retry": options["retry"],
        "socket_timeout": _SENTINEL_TIMEOUT,
        "socket_connect_timeout": _SENTINEL_TIMEOUT,
    }
    pool = driver.sentinel_pool(service, hosts, ssl=ssl, sentinel_options=sentinel_options, **options)
    return aio.Redis.from_pool(pool)


def _split(url: str, default_port: int) -> tuple[list[tuple[str, int]], str, dict[str, Any], bool]:
    """Return the hosts of a URL with several, its path, the options of redis-py in the rest, and whether it is TLS."""
    scheme, _, rest = url.partition("://")
    # Host by host: newer versions of Python refuse a host in brackets among several.
    authority = re.split("[/?#]", rest, maxsplit=1)[0]
    parts = urlsplit(f"{scheme}://{rest.removeprefix(authority)}")
    user, at, hosts = authority.rpartition("@")
    found = [urlsplit(f"//{host}") for host in hosts.split(",")]
    if scheme not in ("redis", "rediss") or not all(each.hostname for each in found):
        raise ValueError("it names no hosts")
    given, ssl = driver.options_of(f"{scheme}://{user}{at}host?{parts.query}")
    del given["host"]
    return [(str(each.hostname), each.port or default_port) for each in found], parts.path, given, ssl

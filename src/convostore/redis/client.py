"""Clients for the stores: of one server, of a cluster, or of a primary that sentinels name; without retries."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import redis.asyncio as aio
from redis.asyncio.cluster import ClusterNode
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from convostore import urls
from convostore.call.deadlines import DEFAULT_TIMEOUT
from convostore.errors import ConnectionError, ValidationError
from convostore.redis import driver, topology
from convostore.redis.connection import Connection
from convostore.redis.driver import Client
from convostore.redis.routing import Servers
from convostore.redis.servers import servers_of

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

_FILES = {"ssl_ca_certs", "ssl_certfile", "ssl_keyfile"}
_SENTINEL_PORT = 26_379
_DATABASE = re.compile("[0-9]*")
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
        ValidationError: the URL is of another kind, or names a file or an option that cannot be used.
    """
    makers: dict[str, Callable[[str, urls.Url, dict[str, Any]], Client]] = {
        "": _one,
        "cluster": _cluster,
        "sentinel": _sentinel,
    }
    options: dict[str, Any] = {
        "max_connections": max_connections,
        # The driver would retry a command whose reply was lost, and so apply a save twice.
        "retry": Retry(NoBackoff(), 0),
        "socket_timeout": None,
        "protocol": 2,
    }
    parts = urls.parsed(url, urls.REDIS, name="redis_url")
    how = parts.scheme.partition("+")[2]
    for name in _FILES & parts.options.keys():
        try:
            Path(parts.options[name]).read_bytes()
        except OSError as error:
            raise ValidationError(f"redis_url: cannot read {name}={parts.options[name]}: {error.strerror}") from error
    try:
        client = makers[how](url.replace(f"+{how}://", "://", 1), parts, options)
        if isinstance(client, aio.Redis):
            driver.check_options(client)
        return client
    except (ValueError, KeyError, TypeError, RedisError):
        pass  # Its message may quote the password.
    raise ValidationError(f"redis_url: must be {_FORMS}, with options that redis-py knows")


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


def _one(url: str, parts: urls.Url, options: dict[str, Any]) -> aio.Redis:
    if len(parts.hosts) > 1 or (parts.scheme != "unix" and not _DATABASE.fullmatch(parts.path)):
        raise ValueError("one server, and the number of a database")
    return aio.Redis.from_pool(driver.Pool.from_url(url, timeout=_POOL_TIMEOUT, **options))


def _cluster(url: str, parts: urls.Url, options: dict[str, Any]) -> topology.ClusterClient:
    if parts.path not in ("", "0"):
        raise ValueError("a cluster has one database")
    given, ssl = _options(url)
    # One connection more to each node, for the driver to ask for the topology.
    options |= {**given, "max_connections": given.get("max_connections", options["max_connections"]) + 1}
    nodes = [ClusterNode(host, port) for host, port in _hosts(parts, 6_379)]
    return topology.ClusterClient(startup_nodes=nodes, require_full_coverage=False, ssl=ssl, **options)


def _sentinel(url: str, parts: urls.Url, options: dict[str, Any]) -> aio.Redis:
    service, _, database = parts.path.partition("/")
    if not service:
        raise ValueError("the service is not named")
    given, ssl = _options(url)
    credentials = {name: given.pop(f"sentinel_{name}", None) for name in ("username", "password")}
    options |= {**given, "db": int(database or 0), "timeout": _POOL_TIMEOUT}
    sentinel_options = {
        **{name: value for name, value in options.items() if name.startswith("ssl_")},
        **credentials,
        "retry": options["retry"],
        "socket_timeout": _SENTINEL_TIMEOUT,
        "socket_connect_timeout": _SENTINEL_TIMEOUT,
    }
    hosts = _hosts(parts, _SENTINEL_PORT)
    pool = driver.sentinel_pool(service, hosts, ssl=ssl, sentinel_options=sentinel_options, **options)
    return aio.Redis.from_pool(pool)


def _hosts(parts: urls.Url, default_port: int) -> list[tuple[str, int]]:
    if not all(host for host, _ in parts.hosts) or not parts.hosts:
        raise ValueError("it names no hosts")
    return [(host, port or default_port) for host, port in parts.hosts]


def _options(url: str) -> tuple[dict[str, Any], bool]:
    """Return the options of redis-py in a URL of several hosts, without them, and whether it is TLS."""
    scheme, _, rest = url.partition("://")
    authority = re.split("[/?]", rest, maxsplit=1)[0]
    credentials, at, _ = authority.rpartition("@")
    query = rest.partition("?")[2]
    given, ssl = driver.options_of(f"{scheme}://{credentials}{at}host?{query}")
    del given["host"]
    return given, ssl

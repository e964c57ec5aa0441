"""Clients for the stores: a bounded pool, and no retries of the driver's own."""

from __future__ import annotations

import asyncio

import redis.asyncio as aio
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from convostore.core.boundary import DEFAULT_TIMEOUT
from convostore.errors import ConnectionError, ValidationError
from convostore.redis.errors import translated

_POOL_TIMEOUT = 3_600.0
"""Seconds to wait for a free connection: longer than any deadline, which is what ends the wait."""


def create_client(url: str, *, max_connections: int = 10) -> aio.Redis:
    """Return a client for `RedisSessionStore`, which the caller closes.

    Args:
        url: `redis://`, `rediss://` or `unix://`.
        max_connections: how many connections to open at most; further calls wait for one within their deadline.

    Raises:
        ValidationError: the URL is of another kind.
    """
    if url.startswith("redis+cluster://"):
        raise ValidationError("redis_url: clusters are not supported yet")
    try:
        pool = aio.BlockingConnectionPool.from_url(
            url,
            max_connections=max_connections,
            timeout=_POOL_TIMEOUT,
            # The driver would send a command again when only its answer was lost, and count a save twice.
            retry=Retry(NoBackoff(), 0),
            socket_timeout=None,
            protocol=2,
        )
    except ValueError as error:
        raise ValidationError("redis_url: must start with redis://, rediss:// or unix://") from error
    return aio.Redis.from_pool(pool)


async def check_eviction(client: aio.Redis, *, timeout: float = DEFAULT_TIMEOUT) -> None:
    """Refuse a server that may drop sessions to make room.

    Raises:
        ValidationError: its eviction policy is one of `allkeys-*`.
        ConnectionError: it does not answer.
    """
    try:
        async with asyncio.timeout(timeout):
            policy = (await client.info("memory")).get("maxmemory_policy", "")
    except RedisError as error:
        raise translated(error) from error
    except TimeoutError as error:
        raise ConnectionError("The server did not answer in time.", code="timeout") from error
    if str(policy).startswith("allkeys-"):
        raise ValidationError(f"redis_url: the server's maxmemory-policy {policy} would drop sessions; use noeviction")

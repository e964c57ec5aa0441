"""How the five stores are opened: servers, schema, connections and the sweeper; all are closed in reverse order."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from convostore.engines import Engines, postgres_engine, redis_engine
from convostore.errors import ValidationError
from convostore.stores import Stores

if TYPE_CHECKING:
    from convostore.call.call import Interceptor
    from convostore.models.fields import Language
    from convostore.settings import Settings


_CLOSING = 5.0
"""Seconds that each server has to take leave of its connections."""


_log = logging.getLogger("convostore")


@asynccontextmanager
async def open_stores(
    *,
    backend: Literal["engines", "memory"] | None = None,
    postgres_url: str | None = None,
    redis_url: str | None = None,
    home: Path | str | None = None,
    ephemeral: bool | None = None,
    embedded: bool | None = None,
    hot_ttl: float | None = None,
    max_age: float | None = None,
    sweep_every: float | None = None,
    auto_reindex: bool | None = None,
    timeout: float | None = None,
    pool_size: int | None = None,
    pooler: Literal["session", "transaction"] | None = None,
    language: Language | None = None,
    coalesce: bool | None = None,
    sessions_by_tenant: bool | None = None,
    interceptors: Sequence[Interceptor] = (),
) -> AsyncIterator[Stores]:
    """Open the five stores, with the schema migrated, and close them afterwards.

    Omitted settings come from `CONVOSTORE_…` environment variables, else from the defaults: embedded PostgreSQL and
    Valkey that keep their data in the platform's directory for user data.

    Args:
        backend: `"engines"` for PostgreSQL and Redis or Valkey, `"memory"` for the in-memory reference.
        postgres_url: a PostgreSQL server to use instead of the embedded one.
        redis_url: a Redis or Valkey server to use instead of the embedded one.
        home: where embedded engines keep their data.
        ephemeral: embed in a temporary home that is removed afterwards.
        embedded: False refuses to embed a server whose URL is not set; True embeds it without a warning.
        hot_ttl: idle seconds after which a session is demoted.
        max_age: idle seconds after which a session is deleted; 0 for never.
        sweep_every: seconds between two sweeps of the sessions; 0 for no sweeps.
        auto_reindex: the sweeper also does what `convostore memory reindex` does, hourly; the user of `postgres_url`
            must be the one that migrated the schema, or a superuser.
        timeout: the deadline of a call, in seconds.
        pool_size: the maximum number of connections to each server.
        pooler: what stands between this process and PostgreSQL, such as PgBouncer: `"session"` keeps a session of the
            server for a connection. `"transaction"` may give each transaction another one: then the user of
            `postgres_url` must be a member of the role `convostore_app` alone, and statements are not cached.
        language: the text search configuration of episodes that have no `language` of their own, and of rules and
            entities. Set it: the default, `"simple"`, neither stems words nor drops stop words.
        coalesce: False sends each call by itself, for comparison; by default concurrent calls travel together.
        sessions_by_tenant: a session id is unique per tenant alone, so `sessions.get(session_id)` and the like must
            name the tenant, as those of `for_tenant` do. A database is set up for either when its schema is made;
            later, `convostore migrate --sessions-by-tenant` changes it.
        interceptors: wrap every call of the five stores, the first outermost.

    Raises:
        ValidationError: a setting is invalid.
        ConnectionError: a server cannot be reached or started.
    """
    given = {
        "backend": backend,
        "postgres_url": postgres_url,
        "redis_url": redis_url,
        "home": home,
        "ephemeral": ephemeral,
        "embedded": embedded,
        "hot_ttl": hot_ttl,
        "max_age": max_age,
        "sweep_every": sweep_every,
        "auto_reindex": auto_reindex,
        "timeout": timeout,
        "pool_size": pool_size,
        "pooler": pooler,
        "language": language,
        "coalesce": coalesce,
        "sessions_by_tenant": sessions_by_tenant,
    }
    if ephemeral and home is not None:
        raise ValidationError("ephemeral: cannot be combined with home")
    from convostore.settings import load_settings

    settings = load_settings({name: value for name, value in given.items() if value is not None})
    async with AsyncExitStack() as opened:
        process = os.getpid()
        stores = await (_in_memory if settings.backend == "memory" else _on_engines)(settings, opened)
        opened.callback(stores._end)
        if settings.sweep_every:
            await opened.enter_async_context(_swept(stores, settings.sweep_every))
        try:
            yield stores.with_interceptors(*interceptors) if interceptors else stores
        finally:
            if os.getpid() != process:
                # A forked child: connections and engines are the parent's, to whom a farewell would do harm.
                opened.pop_all()


def _tiers(settings: Settings) -> dict[str, Any]:
    max_age = timedelta(seconds=settings.max_age) if settings.max_age else None
    return {"hot_ttl": timedelta(seconds=settings.hot_ttl), "max_age": max_age}


@asynccontextmanager
async def _swept(stores: Stores, every: float) -> AsyncIterator[None]:
    from convostore.operations.sweeping import sweep_for_ever

    def finished(at: datetime) -> None:
        stores._sweeps.last = at

    async with _beside(sweep_for_ever(stores.sessions, every, stores.audit, finished)):
        yield


@asynccontextmanager
async def _beside(work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait({task})


async def _in_memory(settings: Settings, opened: AsyncExitStack) -> Stores:
    from convostore import inmemory

    return Stores(
        sessions=inmemory.InMemorySessionStore(
            **_tiers(settings), timeout=settings.timeout, sessions_by_tenant=settings.sessions_by_tenant
        ),
        config=inmemory.InMemoryConfigStore(timeout=settings.timeout, language=settings.language),
        memory=inmemory.InMemoryMemoryStore(timeout=settings.timeout, language=settings.language),
        audit=inmemory.InMemoryAuditStore(timeout=settings.timeout),
        profiles=inmemory.InMemoryProfileStore(timeout=settings.timeout),
        _opened=opened,
    )


async def server_urls(settings: Settings, opened: AsyncExitStack) -> tuple[str, str]:
    """Return the URLs of PostgreSQL and of Redis or Valkey; start embedded servers for those that are not set.

    Args:
        settings: the settings.
        opened: stops the servers that are started.

    Raises:
        ConnectionError: a server cannot be started.
    """
    postgres_url = settings.postgres_url.get_secret_value() if settings.postgres_url else None
    redis_url = settings.redis_url.get_secret_value() if settings.redis_url else None
    if postgres_url is None or redis_url is None:
        from convostore.embedded import open_embedded

        engines = await opened.enter_async_context(
            open_embedded(
                None if settings.ephemeral else settings.home,
                ephemeral=settings.ephemeral,
                postgres=postgres_url is None,
                valkey=redis_url is None,
            )
        )
        postgres_url, redis_url = postgres_url or engines.postgres_dsn, redis_url or engines.redis_url
    return postgres_url, redis_url


def _engines(settings: Settings, postgres_url: str, redis_url: str) -> Engines:
    """Return which servers are used, and log them."""
    found = Engines(
        postgres=postgres_engine(postgres_url, embedded=settings.postgres_url is None, pooler=settings.pooler),
        redis=redis_engine(redis_url, embedded=settings.redis_url is None),
    )
    _log.info("PostgreSQL: %s. Redis or Valkey: %s.", found.postgres, found.redis)
    if settings.embedded is None and (settings.postgres_url is None) != (settings.redis_url is None):
        missing = "postgres_url" if settings.postgres_url is None else "redis_url"
        _log.warning("%s is not set, so that server is embedded; embedded=False refuses that", missing)
    return found


async def _close(close: Callable[[], Awaitable[object]], abort: Callable[[], object] = lambda: None) -> None:
    """Close connections; those of a server that stays silent are aborted."""
    try:
        async with asyncio.timeout(_CLOSING):
            await close()
    except TimeoutError:
        abort()


async def _on_engines(settings: Settings, opened: AsyncExitStack) -> Stores:
    from convostore import postgres, redis
    from convostore.tiered import TieredSessionStore

    postgres_url, redis_url = await server_urls(settings, opened)
    engines = _engines(settings, postgres_url, redis_url)
    await postgres.migrate(postgres_url, sessions_by_tenant=settings.sessions_by_tenant)
    pool = await postgres.create_pool(postgres_url, max_size=settings.pool_size, pooler=settings.pooler)
    opened.push_async_callback(_close, pool.close, pool.terminate)
    client = redis.create_client(redis_url, max_connections=settings.pool_size)
    opened.push_async_callback(_close, client.aclose)
    tiers = _tiers(settings)
    options: dict[str, Any] = {"timeout": settings.timeout, "coalesce": settings.coalesce}
    persistent = postgres.PostgresSessionStore(
        pool, max_age=tiers["max_age"], sessions_by_tenant=settings.sessions_by_tenant, **options
    )
    sessions = TieredSessionStore(client, persistent, hot_ttl=tiers["hot_ttl"], **options)
    opened.push_async_callback(sessions.aclose)
    failure, hot = await asyncio.gather(persistent._failure_of(persistent._look), sessions._health())
    if failure:
        raise failure
    if problem := hot["redis"].problem:
        _log.warning("redis_url: %s; until that is mended, PostgreSQL alone serves the sessions", problem.rstrip("."))
    if settings.auto_reindex and settings.sweep_every:
        from convostore.postgres.reindexing import reindex_for_ever

        await opened.enter_async_context(_beside(reindex_for_ever(postgres_url, settings.sweep_every)))
    return Stores(
        sessions=sessions,
        config=postgres.PostgresConfigStore(pool, language=settings.language, **options),
        memory=postgres.PostgresMemoryStore(pool, language=settings.language, **options),
        audit=postgres.PostgresAuditStore(pool, **options),
        profiles=postgres.PostgresProfileStore(pool, **options),
        engines=engines,
        _opened=opened,
    )

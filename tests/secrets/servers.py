"""Both servers behind proxies, with canaries for user and password."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import asyncpg

from convostore import inmemory
from convostore.embedded import Embedded
from convostore.postgres import PostgresSessionStore, create_pool
from convostore.redis import RedisSessionStore, create_client
from convostore.testing.faults import Proxy, proxy_to
from convostore.tiered import TieredSessionStore
from tests.postgres.databases import connected
from tests.postgres.rewriting import stores_on
from tests.redis.administration import flush
from tests.secrets.canaries import TOKEN

USER, PASSWORD = f"user_{TOKEN}", f"password_{TOKEN}"

DATABASE = 13
"""Of the shared Valkey; these tests empty it."""

BACKENDS = {
    **{f"in memory, {kind}": kind for kind in ("config", "memory", "audit", "profiles", "sessions")},
    **{f"PostgreSQL, {kind}": kind for kind in ("config", "memory", "audit", "profiles", "sessions")},
    "Redis, sessions": "sessions",
    "tiered, sessions": "sessions",
}
"""Every store on every backend."""

_IN_MEMORY: dict[str, type[Any]] = {
    "config": inmemory.InMemoryConfigStore,
    "memory": inmemory.InMemoryMemoryStore,
    "audit": inmemory.InMemoryAuditStore,
    "profiles": inmemory.InMemoryProfileStore,
    "sessions": inmemory.InMemorySessionStore,
}


@dataclass
class Servers:
    """The servers, as an application sees them.

    Attributes:
        postgres_url: through the proxy, with credentials.
        redis_url: likewise.
        postgres: the proxy.
        redis: the proxy.
    """

    postgres_url: str
    redis_url: str
    postgres: Proxy
    redis: Proxy

    @property
    def proxies(self) -> tuple[Proxy, Proxy]:
        """Both of them."""
        return self.postgres, self.redis

    @asynccontextmanager
    async def store(self, backend: str) -> AsyncIterator[Any]:
        """A store of a backend."""
        kind = BACKENDS[backend]
        if backend.startswith("in memory"):
            yield _IN_MEMORY[kind]()
            return
        async with AsyncExitStack() as stack:
            pool = await stack.enter_async_context(await create_pool(self.postgres_url, max_size=4))
            if backend.startswith("PostgreSQL"):
                yield stores_on(pool)[kind]
                return
            client = await stack.enter_async_context(create_client(self.redis_url))
            tiered = backend.startswith("tiered")
            store: Any = TieredSessionStore(client, PostgresSessionStore(pool)) if tiered else RedisSessionStore(client)
            stack.push_async_callback(store.aclose)
            yield store


@asynccontextmanager
async def opened(engines: Embedded) -> AsyncIterator[Servers]:
    """The servers, for the duration of a block."""
    found = re.search(r"host=([^&]+)", engines.postgres_dsn)
    assert found is not None
    async with AsyncExitStack() as stack:
        admin = await stack.enter_async_context(connected(engines.postgres_dsn))
        await stack.enter_async_context(_user(admin))
        client = await stack.enter_async_context(create_client(f"{engines.redis_url}?db={DATABASE}"))
        await client.execute_command("ACL", "SETUSER", USER, "on", f">{PASSWORD}", "~*", "&*", "+@all")
        stack.push_async_callback(client.acl_deluser, USER)
        stack.push_async_callback(flush, client)
        postgres = await stack.enter_async_context(proxy_to(Path(unquote(found[1]), ".s.PGSQL.5432")))
        redis = await stack.enter_async_context(proxy_to(Path(engines.redis_url.removeprefix("unix://"))))
        credentials = f"{USER}:{PASSWORD}@127.0.0.1"
        postgres_url = f"postgresql://{credentials}:{postgres.port}/convostore?sslmode=disable"
        await _password_is_asked_for(postgres_url)
        yield Servers(postgres_url, f"redis://{credentials}:{redis.port}/{DATABASE}", postgres, redis)
        await admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = $1", USER)


@asynccontextmanager
async def _user(admin: Any) -> AsyncIterator[None]:
    """A user who logs in by password."""
    file = Path(await admin.fetchval("SHOW hba_file"))
    await admin.execute(
        f"CREATE ROLE {USER} LOGIN PASSWORD '{PASSWORD}' IN ROLE convostore_app, "
        "convostore_maintenance, convostore_reader"
    )
    before = _put_before(file, f"local all {USER} scram-sha-256\n")
    await admin.execute("SELECT pg_reload_conf()")
    try:
        yield
    finally:
        _put_before(file, "", before)
        await admin.execute("SELECT pg_reload_conf()")
        await admin.execute(f"DROP ROLE {USER}")


def _put_before(file: Path, line: str, before: str | None = None) -> str:
    """Put a line before what is in a file, or before something else; return what was in it."""
    text = file.read_text()
    file.write_text(f"{line}{text if before is None else before}")
    return text


async def _password_is_asked_for(url: str) -> None:
    """Return as soon as the server has read its file again."""
    while True:
        try:
            await (await asyncpg.connect(wrong(url))).close()
        except asyncpg.InvalidPasswordError:
            return


def wrong(url: str) -> str:
    """Return a URL with another password, and a canary in it all the same."""
    return url.replace(PASSWORD, f"wrong_{PASSWORD}")

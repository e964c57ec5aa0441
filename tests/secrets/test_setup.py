"""No credentials in what opening stores and connecting says, nor in the `repr` of what is opened."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any
from uuid import uuid4

import pytest

from convostore import open_stores
from convostore.call.call import Call
from convostore.call.effects import Effect
from convostore.embedded import Embedded
from convostore.engines import postgres_engine, redis_engine
from convostore.errors import StoreError
from convostore.health import app
from convostore.postgres import PostgresConfigStore, create_pool, migrate, schema_version
from convostore.postgres.database import Database
from convostore.postgres.migrations import prepare_roles
from convostore.postgres.reindexing import reindex, tenants_with_embeddings
from convostore.redis import RedisSessionStore, check_eviction, create_client
from convostore.redis.servers import servers_of
from convostore.settings import load_settings
from tests.secrets.canaries import TOKEN
from tests.secrets.servers import PASSWORD, USER, Servers, wrong
from tests.secrets.watching import Watch, watching
from tests.unit.test_urls import MALFORMED, READERS

CREDENTIALS = f"{USER}:{PASSWORD}"
REDIS_URLS = (
    f"redis://{CREDENTIALS}@127.0.0.1:1/2",
    f"redis://127.0.0.1:1?username={USER}&password={PASSWORD}",
    f"rediss://{CREDENTIALS}@127.0.0.1:1?ssl_password={PASSWORD}",
    f"unix://{CREDENTIALS}@/nowhere/valkey.sock?db=2",
    f"redis+cluster://{CREDENTIALS}@127.0.0.1:1,127.0.0.1:2",
    f"rediss+cluster://127.0.0.1:1?username={USER}&password={PASSWORD}",
    f"redis+sentinel://{CREDENTIALS}@127.0.0.1:1/main/2?sentinel_username={USER}&sentinel_password={PASSWORD}",
)
POSTGRES_URLS = (
    f"postgresql://{CREDENTIALS}@127.0.0.1:1/x",
    f"postgresql://127.0.0.1:1/x?user={USER}&password={PASSWORD}",
    f"postgres://{CREDENTIALS}@127.0.0.1:1,127.0.0.1:2/x?connect_timeout=1",
    f"postgresql://{CREDENTIALS}@/x?host=/nowhere",
    f"postgresql://{CREDENTIALS}@127.0.0.1:1/x?sslmode=verify-full&sslrootcert=/nowhere/ca.pem&sslpassword={PASSWORD}",
    f"postgresql://{CREDENTIALS}@127.0.0.1:1/x?connect_timeout=soon",
    f"postgresql://{CREDENTIALS}@127.0.0.1:1/x?channel_binding=require",
    f"postgresql://{CREDENTIALS}@127.0.0.1:1/x?target_session_attrs=fast",
)


async def tried(watch: Watch, where: str, work: Callable[[], Any]) -> None:
    """Do something that may fail, and search what it returns or raises."""
    try:
        result = work()
        if isinstance(result, Awaitable):
            result = await result
    except StoreError as error:
        watch.hear_error(error, where)
    else:
        watch.hear("repr", f"{result} {result!r}", where)


@pytest.mark.parametrize("reader", READERS)
async def test_a_malformed_url_is_not_quoted(reader: str) -> None:
    scheme, read = READERS[reader]
    with watching() as watch:
        for url in MALFORMED:
            await tried(watch, url, lambda url=url: read(url.format(scheme, TOKEN)))  # type: ignore[misc]
    assert list(watch.leaks) == []
    assert watch.errors["ValidationError"] == len(MALFORMED)


async def test_a_setting_is_not_quoted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONVOSTORE_POSTGRES_PASSWORD", PASSWORD)
    with watching() as watch:
        for url in (f"{TOKEN}://x", TOKEN, *POSTGRES_URLS, *REDIS_URLS):
            for name in ("postgres_url", "redis_url"):
                await tried(watch, name, lambda url=url, name=name: load_settings({name: url}))  # type: ignore[misc]
                monkeypatch.setenv(f"CONVOSTORE_{name.upper()}", url)
                await tried(watch, name, lambda: load_settings({}))
                monkeypatch.delenv(f"CONVOSTORE_{name.upper()}")
    assert list(watch.leaks) == []
    assert watch.errors["ValidationError"]
    assert watch.said["log"], "the unknown variable is named"


async def test_credentials_are_shown_and_quoted_nowhere() -> None:
    with watching() as watch:
        for url in REDIS_URLS:
            client = create_client(url)
            pool = getattr(client, "connection_pool", client)
            manager = getattr(pool, "sentinel_manager", None) or getattr(client, "nodes_manager", None)
            watch.hear("repr", f"{client!r} {client} {pool!r} {manager!r} {manager}", url.partition(":")[0])
            await tried(watch, "engine", lambda url=url: redis_engine(url, embedded=False))  # type: ignore[misc]
            await tried(watch, "session", lambda client=client: RedisSessionStore(client).within(0.1).get(uuid4()))  # type: ignore[misc]
            await tried(watch, "eviction", lambda client=client: check_eviction(client))  # type: ignore[misc]
            await client.aclose()
        for url in POSTGRES_URLS:
            await tried(watch, "engine", lambda url=url: postgres_engine(url, embedded=False))  # type: ignore[misc]
            await tried(watch, "opening", lambda url=url: _configured(watch, url))  # type: ignore[misc]
            for work in (migrate, schema_version, reindex, tenants_with_embeddings):
                await tried(watch, work.__name__, lambda work=work, url=url: work(url))  # type: ignore[misc]
    assert list(watch.leaks) == []
    assert watch.errors["ConnectionError"] > 20


async def _configured(watch: Watch, url: str) -> Any:
    async with await create_pool(url, max_size=1) as pool:
        watch.hear("repr", f"{pool!r} {pool}", "pool")
        return await PostgresConfigStore(pool).get_agent(uuid4(), uuid4())


@pytest.mark.parametrize("wrongly", ["right", "PostgreSQL", "Redis", "lost"])
async def test_opening_stores_tells_no_credentials(servers: Servers, wrongly: str) -> None:
    given: dict[str, Any] = {"postgres_url": servers.postgres_url, "redis_url": servers.redis_url, "timeout": 2.0}
    broken = {"PostgreSQL": "postgres_url", "Redis": "redis_url"}.get(wrongly)
    given |= {broken: wrong(given[broken])} if broken else {}
    with watching() as watch:
        await tried(watch, "opening", lambda: _opened(watch, servers, given, lost=wrongly == "lost"))
        for proxy in servers.proxies:
            proxy.lead_to(proxy.target)
    assert list(watch.leaks) == []
    assert watch.said["log"]
    assert wrongly == "right" or watch.errors["ConnectionError"] or watch.said["health"]


async def _opened(watch: Watch, servers: Servers, given: dict[str, Any], *, lost: bool) -> None:
    async with AsyncExitStack() as stack:
        stores = await stack.enter_async_context(open_stores(**given, sweep_every=0))
        targets = [proxy.target for proxy in servers.proxies]
        for proxy in servers.proxies if lost else ():
            proxy.lead_to(None)
        for said in (stores, stores.for_tenant(uuid4()), stores.engines, stores.engines.postgres, stores.engines.redis):
            watch.hear("repr", f"{said} {said!r}")
        watch.hear("health", f"{await stores.health()!r}")
        for path in ("/livez", "/readyz", "/metrics"):
            watch.hear("health", await _answered(app(stores), path))
        for store in (stores.config, stores.sessions):
            watch.hear("repr", repr(store))
            await tried(watch, "check", store.health_check)
        await tried(watch, "get", lambda: stores.sessions.get(uuid4()))
        await tried(watch, "agent", lambda: stores.config.get_agent(uuid4(), uuid4()))
        for proxy, target in zip(servers.proxies, targets, strict=True):
            proxy.target = target


async def _answered(application: Any, path: str) -> str:
    """Return what an ASGI application answers, as text."""
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    await application({"type": "http", "method": "GET", "path": path}, None, send)
    return repr(sent)


FAILING = ("SELECT $1::text::uuid", "SELECT $1::text::integer", "SELECT set_config('timezone', $1, false)")
"""Statements whose errors quote a value."""


async def test_what_postgresql_quotes_stays_in_its_error(servers: Servers) -> None:
    with watching() as watch:
        async with await create_pool(servers.postgres_url, max_size=1) as pool:
            database = Database(pool)
            for statement in FAILING:
                await tried(watch, statement, lambda statement=statement: database.fetch(statement, TOKEN))  # type: ignore[misc]
            await tried(watch, "unique", lambda: _doubled(database))
        for work in (migrate, schema_version, reindex, lambda url: prepare_roles(url, "nobody")):
            for url in (wrong(servers.postgres_url), servers.postgres_url.replace(USER, f"nobody_{USER}")):
                await tried(watch, "refused", lambda work=work, url=url: work(url))  # type: ignore[misc]
    assert list(watch.leaks) == []
    assert watch.errors["ValidationError"] == len(FAILING)
    assert watch.errors["ConflictError"] == 1


async def _doubled(database: Database) -> None:
    """Break a unique key of a table without row-level security, under which PostgreSQL tells no values."""
    async with database.transaction() as connection:
        await connection.execute("CREATE TEMP TABLE doubled (a text UNIQUE) ON COMMIT DROP")
        await connection.fetch("INSERT INTO doubled SELECT $1 FROM generate_series(1, 2)", TOKEN)


async def test_what_redis_quotes_stays_in_its_error(servers: Servers, engines: Embedded) -> None:
    user = f"limited_{TOKEN}"
    with watching() as watch:
        async with create_client(servers.redis_url) as client, create_client(engines.redis_url) as admin:
            for command in (("NONSENSE", "key", TOKEN), ("OBJECT", "NONSENSE", TOKEN)):
                (failure,) = await servers_of(client).send([command])
                watch.hear_error(failure, command[0])
            await admin.execute_command("ACL", "SETUSER", user, "on", f">{PASSWORD}", "~x", "+get")
            async with create_client(servers.redis_url.replace(USER, user).rpartition("/")[0]) as limited:
                for refused in (("GET", f"key {TOKEN}"), ("SET", "x", TOKEN)):
                    (failure,) = await servers_of(limited).send([refused])
                    watch.hear_error(failure, refused[0])
                await tried(watch, "get", lambda: RedisSessionStore(limited).get(uuid4()))
            await admin.acl_deluser(user)
    assert list(watch.leaks) == []
    assert watch.errors.total() == 5


def test_a_call_does_not_show_its_arguments() -> None:
    call = Call("config", "save_rule", uuid4(), {"rule": TOKEN}, uuid4(), 1.0, Effect.READ)
    assert TOKEN not in f"{call} {call!r}"

"""Which servers are in use is told without credentials, and what looks like a setting and is none is named."""

from __future__ import annotations

import logging
from typing import Any
from uuid import uuid4

import pytest

from convostore import Engine, Engines, open_stores
from convostore.embedded import Embedded
from convostore.engines import postgres_engine, redis_engine
from convostore.errors import ValidationError
from convostore.settings import load_settings

SECRET = "hunter2"


@pytest.mark.parametrize(
    ("url", "engine", "text"),
    [
        ("a:{}@db:5433/shop", Engine("db", 5433, "shop", None, False), "db:5433, database shop"),
        ("a:{}@one,[::1]:6000/shop", Engine("one,::1", 5432, "shop", None, False), "one,::1:5432, database shop"),
        ("a:{}@/shop?host=/run/pg", Engine(None, None, "shop", "/run/pg", False), "/run/pg, database shop"),
    ],
)
def test_a_postgresql_server(url: str, engine: Engine, text: str) -> None:
    found = postgres_engine(f"postgresql://{url.format(SECRET)}", embedded=False)
    assert found.socket is None or found.socket.startswith(str(engine.socket))
    assert (found.host, found.port, found.database) == (engine.host, engine.port, engine.database)
    assert str(engine) == text


@pytest.mark.parametrize(
    ("url", "engine", "text"),
    [
        ("redis://:{}@cache:6380/2", Engine("cache", 6380, "2", None, True), "cache:6380, database 2, embedded"),
        ("redis://:{}@cache?db=3", Engine("cache", 6379, "3", None, True), "cache:6379, database 3, embedded"),
        (
            "unix://:{}@/run/v.sock?db=1",
            Engine(None, None, "1", "/run/v.sock", True),
            "/run/v.sock, database 1, embedded",
        ),
        ("redis+cluster://a,b:7000", Engine("a,b", 6379, "0", None, True), "a,b:6379, database 0, embedded"),
        ("redis+sentinel://a/main", Engine("a", 26379, "main", None, True), "a:26379, database main, embedded"),
    ],
)
def test_a_redis_or_valkey_server(url: str, engine: Engine, text: str) -> None:
    assert redis_engine(url.format(SECRET), embedded=True) == engine
    assert str(engine) == text


def test_a_pooler_that_was_declared_is_told() -> None:
    found = postgres_engine("postgresql://a@db/shop", embedded=False, pooler="transaction")
    assert str(found) == "db:5432, database shop, behind a pooler in transaction mode"


async def test_open_stores_tells_and_logs_its_engines(engines: Embedded, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "convostore")
    async with open_stores(postgres_url=engines.postgres_dsn, redis_url=engines.redis_url) as stores:
        postgres, redis = stores.engines.postgres, stores.engines.redis
        assert postgres is not None
        assert redis is not None
        assert (postgres.database, postgres.embedded, redis.database, redis.embedded) == (
            "convostore",
            False,
            "0",
            False,
        )
        assert stores.for_tenant(uuid4()).engines is stores.engines
    (line,) = [record.getMessage() for record in caplog.records if record.name == "convostore"]
    assert line == f"PostgreSQL: {postgres}. Redis or Valkey: {redis}."


async def test_one_server_without_the_other_is_said(engines: Embedded, caplog: pytest.LogCaptureFixture) -> None:
    async with open_stores(postgres_url=engines.postgres_dsn, ephemeral=True) as stores:
        assert stores.engines.redis is not None
        assert stores.engines.redis.embedded
    assert "redis_url is not set, so that server is embedded" in caplog.text


async def test_in_memory_there_are_no_engines() -> None:
    async with open_stores(backend="memory", embedded=False) as stores:
        assert stores.engines == Engines(None, None)


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({}, "postgres_url"),
        ({"redis_url": "redis://h"}, "postgres_url"),
        ({"postgres_url": "postgresql://h"}, "redis_url"),
        ({"postgres_url": "postgresql://h", "redis_url": "redis://h", "ephemeral": True}, "ephemeral"),
    ],
)
def test_embedding_can_be_forbidden(given: dict[str, Any], named: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONVOSTORE_EMBEDDED", "false")
    with pytest.raises(ValidationError, match=f"^{named}: ") as refused:
        load_settings(given)
    assert "embedded=False" in str(refused.value)


@pytest.mark.parametrize(
    ("variable", "nearest"),
    [
        ("CONVOSTORE_POSTGRES_URI", "CONVOSTORE_POSTGRES_URL"),
        ("CONVOSTORE_REDISURL", "CONVOSTORE_REDIS_URL"),
        ("convostore_pool_sise", "CONVOSTORE_POOL_SIZE"),
        ("CONVOSTORE_", "CONVOSTORE_HOME"),
    ],
)
def test_a_variable_that_is_no_setting_is_named_without_its_value(
    variable: str, nearest: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv(variable, SECRET)
    monkeypatch.setenv("CONVOSTORE_TIMEOUT", "3")
    load_settings({})
    (line,) = [record.getMessage() for record in caplog.records]
    assert line == f"the environment variable {variable} is no setting; did you mean {nearest}?"

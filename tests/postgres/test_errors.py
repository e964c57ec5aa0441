"""What real errors of PostgreSQL and its driver become: class, whether to retry, whether applied, code, and one log."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable
from typing import Any
from uuid import uuid4

import asyncpg
import pytest

from convostore.embedded import Embedded
from convostore.errors import ConflictError, ConnectionError, NotFoundError, StoreError
from convostore.models import Session
from convostore.postgres import (
    PostgresConfigStore,
    PostgresMemoryStore,
    PostgresSessionStore,
    create_pool,
)
from convostore.testing.factories import make_agent, make_entity, make_relationship, make_session
from tests.postgres.blocking import blocking, single, waiting
from tests.postgres.databases import connected, fresh_user

pytestmark = pytest.mark.slow

SECRET = "sesame"
LOCKED = "SELECT FROM convostore.session WHERE session_id = $1 FOR UPDATE"
STARTED = "SELECT query_start FROM pg_stat_activity WHERE pid = $1"
EXTRAS = ("store", "operation", "tenant_id", "entity_id", "code", "outcome", "duration")


@pytest.fixture
async def session(engines: Embedded) -> Session:
    """A stored session whose content nobody should read in an error or a log."""
    session = make_session(uuid4(), user_channel_id=f"{SECRET} {uuid4()}", variables={SECRET: SECRET})
    async with await create_pool(engines.postgres_dsn) as pool:
        await PostgresSessionStore(pool).save(session)
    return session


@pytest.fixture
async def admin(engines: Embedded) -> AsyncIterator[Any]:
    """A superuser's connection."""
    async with connected(engines.postgres_dsn) as connection:
        yield connection


async def failure(call: Awaitable[object], caplog: pytest.LogCaptureFixture) -> StoreError:
    """Return the error of a call that fails, after a look at it and at the one log record it leaves."""
    with caplog.at_level(logging.DEBUG, "convostore"), pytest.raises(StoreError) as caught:
        await call
    error = caught.value
    (record,) = [record for record in caplog.records if record.name.startswith("convostore")]
    assert record.name == f"convostore.{error.store}"
    assert (record.store, record.operation, record.code, record.outcome) == (  # type: ignore[attr-defined]
        error.store,
        error.operation,
        error.code,
        error.outcome,
    )
    assert all(hasattr(record, name) for name in EXTRAS)
    assert record.duration >= 0  # type: ignore[attr-defined]
    assert record.exc_info is None
    assert (record.levelno == logging.ERROR) == isinstance(error, ConnectionError)
    assert SECRET not in f"{vars(record)} {record.getMessage()} {error!r} {vars(error)}"
    return error


def facts(error: StoreError) -> tuple[type, bool, str, str | None]:
    """Return what a caller decides by."""
    return type(error), error.retryable, error.outcome, error.code


async def test_a_unique_violation_is_a_conflict(engines: Embedded, caplog: pytest.LogCaptureFixture) -> None:
    tenant = uuid4()
    second = make_agent(tenant, name=SECRET)
    async with await create_pool(engines.postgres_dsn) as pool:
        store = PostgresConfigStore(pool)
        await store.save_agent(make_agent(tenant, name=SECRET))
        error = await failure(store.save_agent(second), caplog)
    assert facts(error) == (ConflictError, False, "not_applied", "agent_name_key")
    assert isinstance(error.__cause__, asyncpg.UniqueViolationError)
    assert (caplog.records[0].tenant_id, caplog.records[0].entity_id) == (  # type: ignore[attr-defined]
        str(tenant),
        str(second.id),
    )


async def test_a_foreign_key_violation_is_a_parent_not_found(
    engines: Embedded, caplog: pytest.LogCaptureFixture
) -> None:
    source, target = make_entity(uuid4(), uuid4()), make_entity(uuid4(), uuid4())
    edge = make_relationship(source, target, relation_type=SECRET)
    async with await create_pool(engines.postgres_dsn) as pool:
        await PostgresMemoryStore(pool).add_entity(source)
        error = await failure(PostgresMemoryStore(pool).add_relationship(edge), caplog)
    assert facts(error) == (NotFoundError, False, "not_applied", "relationship_to_entity_id_fkey")
    assert isinstance(error.__cause__, asyncpg.ForeignKeyViolationError)


@pytest.mark.parametrize(
    ("setting", "code", "cause"),
    [
        ({"lock_timeout": "10"}, "55P03", asyncpg.LockNotAvailableError),
        ({"statement_timeout": "20"}, "57014", asyncpg.QueryCanceledError),
        ({"default_transaction_read_only": "on"}, "25006", asyncpg.ReadOnlySQLTransactionError),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
async def test_a_transient_refusal_is_retryable_and_not_applied(
    engines: Embedded,
    session: Session,
    caplog: pytest.LogCaptureFixture,
    setting: dict[str, str],
    code: str,
    cause: type[Exception],
) -> None:
    async with single(engines.postgres_dsn, **setting) as (pool, _):
        store = PostgresSessionStore(pool)
        async with blocking(engines.postgres_dsn, LOCKED, session.session_id):
            error = await failure(store.delete(session.session_id), caplog)
        assert facts(error) == (ConnectionError, True, "not_applied", code)
        assert isinstance(error.__cause__, cause)
        assert await store.get(session.session_id) == session


async def test_a_call_that_was_cancelled_on_the_server_is_retried(
    engines: Embedded, admin: Any, session: Session
) -> None:
    async with single(engines.postgres_dsn) as (pool, pid):
        async with blocking(engines.postgres_dsn, LOCKED, session.session_id):
            call = asyncio.create_task(PostgresSessionStore(pool).delete(session.session_id))
            await waiting(admin, pid)
            started = await admin.fetchval(STARTED, pid)
            assert await admin.fetchval("SELECT pg_cancel_backend($1)", pid)
            while await admin.fetchval(STARTED, pid) == started:
                pass
        assert await call is True


async def test_a_write_whose_connection_is_killed_has_an_unknown_outcome_and_is_not_retried(
    engines: Embedded, admin: Any, session: Session, caplog: pytest.LogCaptureFixture
) -> None:
    async with single(engines.postgres_dsn) as (pool, pid):
        store = PostgresSessionStore(pool)
        async with blocking(engines.postgres_dsn, LOCKED, session.session_id):
            call = asyncio.create_task(store.delete(session.session_id))
            await waiting(admin, pid)
            assert await admin.fetchval("SELECT pg_terminate_backend($1)", pid)
            error = await failure(call, caplog)
        # The driver reports the lost connection, with the server's last words as its cause since asyncpg 0.32.
        code = getattr(error.__cause__.__cause__, "sqlstate", "08003") if error.__cause__ else None
        assert facts(error) == (ConnectionError, True, "unknown", code)
        assert isinstance(error.__cause__, asyncpg.ConnectionDoesNotExistError)
        assert await store.get(session.session_id) == session


async def test_a_read_whose_connection_is_killed_is_retried_on_another(
    engines: Embedded, admin: Any, session: Session
) -> None:
    async with single(engines.postgres_dsn) as (pool, pid):
        store = PostgresSessionStore(pool)
        await store.get(session.session_id)
        async with blocking(engines.postgres_dsn, "LOCK TABLE convostore.session IN ACCESS EXCLUSIVE MODE"):
            call = asyncio.create_task(store.get(session.session_id))
            await waiting(admin, pid)
            assert await admin.fetchval("SELECT pg_terminate_backend($1)", pid)
        assert await call == session


async def test_a_user_with_too_many_connections_may_retry(
    engines: Embedded, session: Session, caplog: pytest.LogCaptureFixture
) -> None:
    async with (
        fresh_user(engines.postgres_dsn, "CONNECTION LIMIT 1 IN ROLE convostore_app") as dsn,
        await create_pool(dsn, max_size=2) as pool,
        pool.acquire(),
    ):
        error = await failure(PostgresSessionStore(pool).save(session), caplog)
    assert facts(error) == (ConnectionError, True, "not_applied", "53300")
    assert isinstance(error.__cause__, asyncpg.TooManyConnectionsError)


async def test_a_pool_with_no_free_connection_is_waited_for_until_the_deadline(
    engines: Embedded, session: Session, caplog: pytest.LogCaptureFixture
) -> None:
    async with single(engines.postgres_dsn) as (pool, _):
        store = PostgresSessionStore(pool)
        async with pool.acquire():
            error = await failure(store.within(0.05).get(session.session_id), caplog)
        assert facts(error) == (ConnectionError, True, "not_applied", "timeout")
        assert isinstance(error.__cause__, TimeoutError)
        assert await store.get(session.session_id) == session

"""The contract suite in the form that statements have where tables are distributed, on plain PostgreSQL.

The database is distributed as `convostore migrate --citus` distributes one, by a stand-in for Citus on one server.
Every statement that is sent keeps the rules of Citus: see `citus_rules`, and of transactions `acting_roles`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from functools import cache
from typing import Any, TypeAlias
from uuid import uuid4
from weakref import WeakKeyDictionary

import asyncpg
import pytest

from convostore.call.call import Call, Proceed
from convostore.contracts import AuditStore, ConfigStore, MemoryStore, ProfileStore, SessionStore, TurnStore
from convostore.embedded import Embedded
from convostore.postgres import (
    PostgresAuditStore,
    PostgresConfigStore,
    PostgresMemoryStore,
    PostgresProfileStore,
    PostgresSessionStore,
    PostgresTurnStore,
    create_pool,
)
from convostore.redis import create_client
from convostore.testing import (
    AuditStoreContract,
    ConfigStoreContract,
    MemoryStoreContract,
    ProfileStoreContract,
    SessionsByTenantContract,
    TurnStoreContract,
)
from convostore.testing.factories import make_session, make_turn
from convostore.tiered import TieredSessionStore
from tests.postgres import citus_rules
from tests.postgres.acting_roles import CALLER, FUNCTIONS, ActingRoles
from tests.postgres.databases import connected

Pool: TypeAlias = "asyncpg.Pool[Any]"
BY_HAND = "SELECT tenant_id FROM convostore.session WHERE session_id = $1"
"""A statement of these tests themselves."""
ONE_SHARD = {"citus.multi_task_query_log_level": "error"}
"""Lets Citus refuse a statement that asks several shards; elsewhere it is a name that nothing reads."""
broken = cache(citus_rules.broken)


@pytest.fixture(scope="module")
async def rules(prepared: str) -> AsyncIterator[None]:
    """Fails a test whose store sends a statement that Citus refuses."""
    async with connected(prepared) as administrator:
        functions = {name: (role, writes) for name, role, writes in await administrator.fetch(FUNCTIONS)}
    transactions = WeakKeyDictionary[Any, ActingRoles]()

    def checked(execute: Any) -> Any:
        async def check(self: Any, query: str, *arguments: Any, **more: Any) -> Any:
            if "convostore." in query and query != BY_HAND:
                acting = transactions[self] if self.is_in_transaction() else ActingRoles(functions)
                found = [*broken(query), *acting.refused(query)]
                assert not found, f"{found}: {query}"
            return await execute(self, query, *arguments, **more)

        return check

    async def begin(self: Any, query: str, *arguments: Any, **more: Any) -> Any:
        if query.startswith("BEGIN"):
            transactions[self] = ActingRoles(functions)
        return await run(self, query, *arguments, **more)

    run = asyncpg.Connection.execute
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(asyncpg.Connection, "execute", begin)
        for name in ("_execute", "_executemany"):
            patched.setattr(asyncpg.Connection, name, checked(getattr(asyncpg.Connection, name)))
        yield


@pytest.fixture(scope="module")
async def pool(prepared: str, rules: None) -> AsyncIterator[Pool]:
    async with await create_pool(prepared, settings=ONE_SHARD) as opened:
        yield opened


class InOneTier:
    @pytest.fixture
    def by_tenant(self, pool: Pool) -> SessionStore:
        return PostgresSessionStore(pool, sessions_by_tenant=True)


class InTwoTiers:
    @pytest.fixture
    async def by_tenant(self, engines: Embedded, pool: Pool) -> AsyncIterator[SessionStore]:
        async with create_client(engines.redis_url) as client:
            store = TieredSessionStore(client, PostgresSessionStore(pool, sessions_by_tenant=True))
            yield store
            await store.aclose()


class TestSessions(InOneTier, SessionsByTenantContract):
    pass


class TestSessionsInTwoTiers(InTwoTiers, SessionsByTenantContract):
    pass


class TestConfig(ConfigStoreContract):
    @pytest.fixture
    def store(self, pool: Pool) -> ConfigStore:
        return PostgresConfigStore(pool)


class TestMemory(MemoryStoreContract):
    @pytest.fixture
    def store(self, pool: Pool) -> MemoryStore:
        return PostgresMemoryStore(pool)


class TestAudit(AuditStoreContract):
    @pytest.fixture
    def store(self, pool: Pool) -> AuditStore:
        return PostgresAuditStore(pool)

    @pytest.fixture
    async def operator(self, prepared: str) -> AsyncIterator[AuditStore]:
        async with await create_pool(prepared, role="convostore_maintenance") as pool:
            yield PostgresAuditStore(pool)


class TestProfiles(ProfileStoreContract):
    @pytest.fixture
    def store(self, pool: Pool) -> ProfileStore:
        return PostgresProfileStore(pool)


class AskTenants:
    """Names, in calls that leave the tenant out, the one that holds the session."""

    def __init__(self, administrator: Any) -> None:
        self._administrator = administrator

    async def __call__(self, call: Call, proceed: Proceed) -> Any:
        session_id = call.arguments.get("session_id")
        if call.tenant_id is None and session_id is not None:
            holder = await self._administrator.fetchval(BY_HAND, session_id) or uuid4()
            call = call.with_arguments({**call.arguments, "tenant_id": holder})
        return await proceed(call)


def turns(pool: Pool, sessions: SessionStore, **of_audit: Any) -> TurnStore:
    """Return a store of turns on a pool, over a session store, and an audit store with these options."""
    return PostgresTurnStore(
        sessions,
        PostgresConfigStore(pool),
        PostgresMemoryStore(pool),
        PostgresAuditStore(pool, **of_audit),
        PostgresProfileStore(pool),
    )


class TestTurns(InOneTier, TurnStoreContract):
    @pytest.fixture
    async def administrator(self, prepared: str) -> AsyncIterator[Any]:
        async with connected(prepared) as connection:
            yield connection

    async def test_a_session_id_of_another_tenant_refuses_the_unit(self, store: TurnStore) -> None:
        """Does not: the id is free in every other tenant."""
        one = make_session(uuid4())
        other = make_session(uuid4(), session_id=one.session_id)
        for session in (one, other):
            async with store.unit_of_work(session.tenant_id) as work:
                work.save_session(session)
            assert await store.sessions.get(session.session_id, tenant_id=session.tenant_id) == session

    @pytest.fixture
    def store(self, pool: Pool, by_tenant: SessionStore, administrator: Any) -> TurnStore:
        return turns(pool, by_tenant.with_interceptors(AskTenants(administrator)))


class TestTurnsInTwoTiers(InTwoTiers, TestTurns):
    pass


async def test_a_month_without_partition_is_made_by_a_transaction_of_its_own(pool: Pool) -> None:
    moment, session = datetime(1932, 5, 1, tzinfo=UTC), make_session(uuid4())
    store = turns(pool, PostgresSessionStore(pool, sessions_by_tenant=True), clock=lambda: moment)
    async with store.unit_of_work(session.tenant_id) as work:
        work.save_session(session)
        work.save_turn(make_turn(session.tenant_id, session_id=session.session_id))
    (record,) = await store.audit.list_records(session.tenant_id)
    assert record.recorded_at == moment
    assert session.revision == 1


def test_another_role_is_refused_what_was_written_and_may_read_before() -> None:
    functions = {"record_audit_item": ("convostore_search", True), "text_tenants": ("convostore_search", False)}
    save, read = "DELETE FROM convostore.rule AS t WHERE t.tenant_id = $1", "SELECT convostore.text_tenants()"
    record = "SELECT convostore.record_audit_item($1)"
    for statements, found in (
        ((save, record), [f"convostore_search after {CALLER}"]),
        ((save, read), [f"convostore_search after {CALLER}"]),
        ((record, save), [f"{CALLER} after convostore_search"]),
        ((read, save, save), []),
        ((read, record, read), []),
    ):
        transaction = ActingRoles(functions)
        assert [each for statement in statements for each in transaction.refused(statement)] == found

"""Reads of several tenants in one statement: each row under its own tenant's binding, and each caller by itself."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID, uuid4

import pytest

from convostore.embedded import Embedded
from convostore.errors import ConnectionError
from convostore.models import Channel, Rule
from convostore.postgres import PostgresConfigStore, PostgresProfileStore, PostgresSessionStore, create_pool
from convostore.postgres.gathered_statements import gathered
from convostore.postgres.gathering import GatheredReads
from convostore.postgres.queries import queries
from convostore.testing.factories import make_asset, make_field, make_identity, make_profile, make_rule, make_session
from tests.postgres.blocking import blocking
from tests.postgres.conftest import Pool
from tests.postgres.databases import connected
from tests.postgres.test_queries import generated

TENANTS = 20


@pytest.fixture(autouse=True)
def gathering_from_the_second_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """Gather reads beside a single one."""
    monkeypatch.setattr(GatheredReads, "few", 1)


class Counting(PostgresConfigStore):
    """Counts the statements that are sent."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.sent: list[int] = []
        lend = self._database._lend

        def lent() -> Any:
            self.sent.append(1)
            return lend()

        self._database._lend = lent  # type: ignore[method-assign]


async def rules(store: PostgresConfigStore, count: int = TENANTS) -> list[Rule]:
    saved = [make_rule(uuid4(), uuid4()) for _ in range(count)]
    for rule in saved:
        await store.save_rule(rule)
    return saved


async def test_reads_of_many_tenants_take_two_statements_and_each_is_right(pool: Pool) -> None:
    store = Counting(pool)
    saved = await rules(store)
    asked = [(rule.tenant_id, rule.id) for rule in saved]
    asked += [(saved[number - 1].tenant_id, rule.id) for number, rule in enumerate(saved)]  # another tenant's
    asked += [(rule.tenant_id, uuid4()) for rule in saved] + asked[:5]
    store.sent.clear()
    found = await asyncio.gather(*(store.get_rule(*key) for key in asked))
    assert found == [*saved, *[None] * 2 * TENANTS, *saved[:5]]
    assert len(store.sent) == 2
    assert found[0] is not found[-5]


async def test_without_coalescing_each_read_is_a_statement(pool: Pool) -> None:
    store = Counting(pool, coalesce=False)
    saved = await rules(store, 5)
    store.sent.clear()
    assert await asyncio.gather(*(store.get_rule(rule.tenant_id, rule.id) for rule in saved)) == saved
    assert len(store.sent) == 5


async def test_profiles_and_sessions_of_many_tenants_are_read_together(pool: Pool) -> None:
    profiles, sessions = PostgresProfileStore(pool), PostgresSessionStore(pool)
    own = [
        make_profile(
            uuid4(),
            channel_identities=[make_identity(channel=Channel.SMS, channel_user_id=str(number))],
            fields={"city": make_field("city", f"city {number}")},
            assets=[make_asset()],
        )
        for number in range(TENANTS)
    ]
    talks = [make_session(profile.tenant_id) for profile in own]
    for profile, session in zip(own, talks, strict=True):
        await profiles.save_profile(profile)
        await sessions.save(session)
    assert await asyncio.gather(*(profiles.get_profile(each.tenant_id, each.id) for each in own)) == own
    swapped = zip(own, [*own[1:], own[0]], strict=True)
    assert await asyncio.gather(*(profiles.get_profile(a.tenant_id, b.id) for a, b in swapped)) == [None] * TENANTS
    # A session is found by its id alone, and hidden from another tenant.
    for tenants in ([None] * TENANTS, [each.tenant_id for each in talks]):
        found = [sessions.get(each.session_id, tenant_id=tenant) for each, tenant in zip(talks, tenants, strict=True)]
        assert await asyncio.gather(*found) == talks
    hidden = (sessions.get(each.session_id, tenant_id=uuid4()) for each in talks)
    assert await asyncio.gather(*hidden) == [None] * TENANTS
    loaded = await asyncio.gather(*(sessions.within(60).get(each.session_id) for each in talks))
    assert loaded == talks


MANY = {
    "rule": gathered(generated("rule", "get")[0]),
    "profile": gathered(queries("profile").profile_by_id.sql),
    "session": gathered(queries("session").get_session_of_tenant.sql),
}


@pytest.mark.parametrize("kind", MANY)
@pytest.mark.parametrize("mode", ["force_generic_plan", "force_custom_plan"])
@pytest.mark.parametrize("memoize", ["on", "off"])
async def test_row_level_security_holds_for_each_row_whatever_the_plan(
    server: Embedded, pool: Pool, kind: str, mode: str, memoize: str
) -> None:
    """As if the statement compared no tenant at all: the policy alone decides."""
    ids = []
    for _ in range(5):
        tenant, item = uuid4(), uuid4()
        if kind == "rule":
            await PostgresConfigStore(pool).save_rule(make_rule(tenant, uuid4(), id=item))
        elif kind == "profile":
            await PostgresProfileStore(pool).save_profile(make_profile(tenant, id=item))
        else:
            await PostgresSessionStore(pool).save(make_session(tenant, session_id=item))
        ids.append((tenant, item))
    loose = MANY[kind]
    for condition in ("t.tenant_id = k.p1 AND ", "p.tenant_id = k.p1 AND "):
        loose = loose.replace(condition, "")
    tenants, items = map(list, zip(*ids, strict=True))
    shifted = [*items[1:], items[0]]
    async with connected(server.postgres_dsn, role="convostore_app", plan_cache_mode=mode) as connection:
        await connection.execute(f"SET enable_memoize = {memoize}")
        for statement in (MANY[kind], loose):
            found = await connection.fetch(statement, tenants * 2, items * 2)
            assert [(row["tenant_id"], row["n"]) for row in found] == [
                (tenant, number) for number, tenant in enumerate(tenants * 2, 1)
            ]
            assert await connection.fetch(statement, tenants * 2, shifted * 2) == []
            assert await connection.fetchval("SELECT current_setting('convostore.tenant', true)") in (None, "")
        nobody: list[UUID | None] = [UUID(int=9)] * 5
        assert await connection.fetch(loose, nobody, items) == []


async def test_a_late_caller_leaves_and_the_others_get_their_answers(server: Embedded) -> None:
    async with await create_pool(server.postgres_dsn, max_size=2) as pool:
        store = PostgresConfigStore(pool, timeout=60.0)
        saved = await rules(store, 6)
        async with blocking(server.postgres_dsn, "LOCK TABLE convostore.rule IN ACCESS EXCLUSIVE MODE"):
            patient = [asyncio.create_task(store.get_rule(rule.tenant_id, rule.id)) for rule in saved]
            hurried = store.within(0.3)
            late = await asyncio.gather(
                *(hurried.get_rule(rule.tenant_id, rule.id) for rule in saved), return_exceptions=True
            )
            assert all(isinstance(each, ConnectionError) and each.code == "timeout" for each in late)
            patient[2].cancel()
        found = await asyncio.gather(*patient, return_exceptions=True)
        assert isinstance(found[2], asyncio.CancelledError)
        assert [*found[:2], *found[3:]] == [*saved[:2], *saved[3:]]


async def test_cancelled_reads_leave_no_connection_behind(server: Embedded) -> None:
    async with await create_pool(server.postgres_dsn, max_size=1) as pool:
        store = PostgresConfigStore(pool)
        saved = await rules(store, 8)
        for turns in range(12):
            tasks = [asyncio.create_task(store.get_rule(rule.tenant_id, rule.id)) for rule in saved]
            for _ in range(turns):
                await asyncio.sleep(0)
            for task in tasks[turns % 2 :]:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        assert await asyncio.gather(*(store.get_rule(rule.tenant_id, rule.id) for rule in saved)) == saved
        assert pool.get_idle_size() == pool.get_size() == 1

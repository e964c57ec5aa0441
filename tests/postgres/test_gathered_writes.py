"""Writes that travel together: each under its own tenant's binding, and each caller with what a single call gives."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from convostore import urls
from convostore.domain.declarations import DECLARATIONS
from convostore.embedded import Embedded
from convostore.errors import ConflictError, ConnectionError, NotFoundError, StoreError, ValidationError
from convostore.models import Agent, ItemStatus
from convostore.postgres import (
    PostgresAuditStore,
    PostgresConfigStore,
    PostgresMemoryStore,
    PostgresProfileStore,
    PostgresSessionStore,
    create_pool,
)
from convostore.postgres.gathered_statements import pipelined
from convostore.postgres.gathering import GatheredWrites, Present
from convostore.testing.factories import (
    make_agent,
    make_entity,
    make_episode,
    make_event,
    make_field,
    make_migration_plan,
    make_profile,
    make_relationship,
    make_rule,
    make_scenario,
    make_session,
    make_template,
    make_tool_activation,
    make_turn,
    make_variable,
)
from convostore.testing.faults import Flow, Proxy, proxy_to
from tests.faults.cancelled import cancelled_at
from tests.postgres.blocking import blocking
from tests.postgres.conftest import Pool
from tests.postgres.databases import connected
from tests.postgres.test_queries import generated

MANY = 60


@pytest.fixture(autouse=True)
def gathering_from_the_second_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """Gather writes beside a single one."""
    monkeypatch.setattr(GatheredWrites, "few", 1)


class Counting(PostgresConfigStore):
    """Counts the statements that are sent."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.sent = 0
        lend = self._database._lend

        def lent() -> Any:
            self.sent += 1
            return lend()

        self._database._lend = lent  # type: ignore[method-assign]


async def pipelines(pool: Pool) -> bool:
    return int(await pool.fetchval("SHOW server_version_num")) >= 170_000


async def together(*calls: Any) -> list[Any]:
    """Make calls at once; return what each returns or raises."""
    return await asyncio.gather(*calls, return_exceptions=True)


async def test_saves_of_many_tenants_take_few_statements_and_each_is_right(pool: Pool) -> None:
    store = Counting(pool)
    rules = [make_rule(uuid4(), uuid4()) for _ in range(MANY)]
    await store.save_rule(make_rule(uuid4(), uuid4()))
    for revision in (1, 2, 3):
        store.sent = 0
        await asyncio.gather(*map(store.save_rule, rules))
        assert store.sent == (2 if await pipelines(pool) else MANY)
        assert {rule.revision for rule in rules} == {revision}
        for rule in rules:
            assert await store.get_rule(rule.tenant_id, rule.id) == rule
            rule.description = f"revision {revision + 1}"
    other = uuid4()
    assert {await store.get_rule(other, rule.id) for rule in rules} == {None}


async def test_without_coalescing_each_save_is_a_statement(pool: Pool) -> None:
    store = Counting(pool, coalesce=False)
    rules = [make_rule(uuid4(), uuid4()) for _ in range(5)]
    await asyncio.gather(*map(store.save_rule, rules))
    assert store.sent == 5


async def test_sessions_turns_and_events_of_one_tenant_and_of_many_are_saved_together(pool: Pool) -> None:
    sessions, audit, one = PostgresSessionStore(pool), PostgresAuditStore(pool), uuid4()
    for tenants in ([one] * MANY, [uuid4() for _ in range(MANY)]):
        saved = [make_session(tenant) for tenant in tenants]
        turns = [make_turn(each.tenant_id, session_id=each.session_id, turn_number=0) for each in saved]
        events = [make_event(tenant) for tenant in tenants]
        await asyncio.gather(*map(sessions.save, saved), *map(audit.save_turn, turns), *map(audit.save_event, events))
        assert [await sessions.get(each.session_id) for each in saved] == saved
        assert [await audit.get_turn(each.tenant_id, each.turn_id) for each in turns] == turns
        assert [await audit.get_event(each.tenant_id, each.id) for each in events] == events
        # Again, as a retry of which nobody knows: nothing is written.
        await asyncio.gather(*map(audit.save_turn, turns), *map(audit.save_event, events))
        for tenant in {*tenants}:
            assert len(await audit.list_records(tenant, limit=1_000)) == 2 * tenants.count(tenant)
            assert (await audit.verify(tenant)).ok


async def test_rows_of_every_kind_are_saved_together(pool: Pool) -> None:
    config, tenant, agent = PostgresConfigStore(pool), uuid4(), uuid4()
    kinds: dict[Any, Any] = {
        config.save_rule: make_rule,
        config.save_scenario: make_scenario,
        config.save_template: make_template,
        config.save_variable: make_variable,
        config.save_tool_activation: make_tool_activation,
        config.save_migration_plan: lambda tenant_id, _: make_migration_plan(tenant_id),
    }
    for save, make in kinds.items():
        rows = [make(tenant, agent) for _ in range(10)]
        assert await together(*map(save, rows)) == [row.id for row in rows]
    scenario = make_scenario(tenant, agent)
    versions = [scenario.model_copy(update={"version": version}) for version in range(1, 11)]
    assert await together(*(config.archive_scenario_version(tenant, each) for each in versions)) == [None] * 10
    for version in versions:
        assert await config.get_archived_scenario(tenant, scenario.id, version.version) == version


async def test_what_is_added_and_fields_that_are_set_travel_together(pool: Pool) -> None:
    memory, profiles, tenant = PostgresMemoryStore(pool), PostgresProfileStore(pool), uuid4()
    agent, profile = uuid4(), make_profile(tenant)
    await profiles.save_profile(profile)
    episodes = [make_episode(each, agent) for each in [tenant] * 10 + [uuid4() for _ in range(10)]]
    pairs = [[make_episode(each.tenant_id, agent) for _ in range(2)] for each in episodes]
    entities = [make_entity(tenant, agent) for _ in range(10)]
    fields = [make_field(f"name_{number % 5}", number) for number in range(20)]
    for _ in range(2):  # The second time all is there already.
        await asyncio.gather(
            *map(memory.add_episode, episodes),
            *map(memory.add_episodes, pairs),
            *map(memory.add_entity, entities),
            *(profiles.update_field(tenant, profile.id, field) for field in fields),
        )
    assert [await memory.get_episode(each.tenant_id, each.id) for each in episodes] == episodes
    for pair in pairs:
        assert [await memory.get_episode(each.tenant_id, each.id) for each in pair] == pair
    assert [await memory.get_entity(tenant, each.id) for each in entities] == entities
    stored = await profiles.get_profile(tenant, profile.id)
    assert stored is not None
    assert stored.revision == 21
    for number in range(5):
        history = await profiles.get_field_history(tenant, profile.id, f"name_{number}")
        assert {each.id for each in history} == {each.id for each in fields if each.name == f"name_{number}"}
        assert [each.status for each in history].count(ItemStatus.ACTIVE) == 1
    one, other = entities[:2]
    edges = [make_relationship(one, other) for _ in range(6)]
    edges[3] = make_relationship(one, other, to_entity_id=uuid4())
    found = await together(*map(memory.add_relationship, edges))
    assert isinstance(found[3], NotFoundError)
    assert found[:3] + found[4:] == [edge.id for edge in edges if edge is not edges[3]]


STATEMENTS = {
    "new": generated("rule", "save_new")[0],
    "next": generated("rule", "save_next")[0],
}


@pytest.mark.parametrize("mode", ["force_generic_plan", "force_custom_plan"])
async def test_row_level_security_holds_for_each_write_of_a_pipeline(server: Embedded, pool: Pool, mode: str) -> None:
    """As if the statement compared no tenant at all: the policy alone decides."""
    store = PostgresConfigStore(pool, coalesce=False)
    rules = [make_rule(uuid4(), uuid4()) for _ in range(5)]
    for rule in rules:
        await store.save_rule(rule)
    table = store._table(next(each for each in DECLARATIONS if each.name == "rule"))
    own, loose = (
        pipelined(text) for text in (STATEMENTS["next"], STATEMENTS["next"].replace("t.tenant_id = $1 AND ", ""))
    )
    assert own != loose
    async with connected(server.postgres_dsn, role="convostore_app", plan_cache_mode=mode) as connection:
        for statement, revision in ((own, 1), (loose, 2)):
            columns = ("id", *table._statements.replaced)
            values = [table.mapping.parameters(rule, columns) for rule in rules]
            shifted = [[rules[n - 1].tenant_id, *values[n], uuid4(), revision, n] for n in range(5)]
            given = [[rules[n].tenant_id, *values[n], uuid4(), revision, n] for n in range(5)]
            found = await connection.fetchmany(statement, [*shifted, *given, *shifted])
            assert [(row["n"], row["revision"]) for row in found] == [(n, revision + 1) for n in range(5)]
            assert await connection.fetchval("SELECT current_setting('convostore.tenant', true)") in (None, "")
            assert await connection.fetchval("SELECT current_setting('lock_timeout')") == "0"


def outcome(answer: Any) -> Any:
    """Return what a call returned or raised, without what differs between two of the same."""
    if isinstance(answer, StoreError):
        return type(answer), answer.code, answer.retryable, answer.outcome, getattr(answer, "current_revision", None)
    return type(answer)


async def test_each_caller_gets_what_a_single_call_gives(pool: Pool) -> None:
    """Revision conflicts, names in use, deleted rows and refused references, among saves that succeed."""

    async def made(store: PostgresConfigStore) -> tuple[list[Agent], list[dict[str, bool]]]:
        tenant = uuid4()
        kept = [make_agent(tenant, name=f"kept {n}") for n in range(8)]
        for agent in kept:
            await store.save_agent(agent)
        await store.delete_agent(tenant, kept[7].id)
        stale = kept[0].model_copy(update={"revision": 7})
        gone = kept[7].model_copy(update={"name": "gone"})
        created = make_agent(tenant, id=kept[2].id, name="exists")
        taken = make_agent(tenant, name="kept 3")
        renamed = kept[4].model_copy(update={"name": "kept 3"})
        fresh = [make_agent(tenant, name=f"fresh {n}") for n in range(6)]
        over = kept[5].model_copy(update={"revision": 40})
        never = make_agent(tenant, revision=3, name="never")
        agents = [stale, fresh[0], gone, fresh[1], created, taken, fresh[2], renamed, kept[1], over, never, *fresh[3:]]
        return agents, [{"overwrite": agent is over} for agent in agents]

    async def answers(coalesce: bool) -> list[Any]:
        store = PostgresConfigStore(pool, coalesce=coalesce)
        agents, options = await made(store)
        calls = [store.save_agent(agent, **given) for agent, given in zip(agents, options, strict=True)]
        found = await together(*calls)
        stored = [await store.get_agent(agent.tenant_id, agent.id) for agent in agents]
        return [
            (outcome(answer), agent.revision, each is not None and (each == agent, each.revision))
            for answer, agent, each in zip(found, agents, stored, strict=True)
        ]

    expected, found = await answers(False), await answers(True)
    assert found == expected
    assert sum(each[0] is UUID for each in found) == 8


async def test_what_a_trigger_refuses_is_the_error_of_its_caller_alone(pool: Pool, admin: Any) -> None:
    name = f"refuse_{uuid4().hex}"
    await admin.execute(
        f"CREATE FUNCTION convostore.{name}() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE check_violation USING CONSTRAINT = 'not_this_one'; END $$"
    )
    await admin.execute(
        f"CREATE TRIGGER {name} BEFORE INSERT OR UPDATE ON convostore.rule FOR EACH ROW "
        f"WHEN (NEW.description = 'refused') EXECUTE FUNCTION convostore.{name}()"
    )
    try:
        store, rules = Counting(pool), [make_rule(uuid4(), uuid4()) for _ in range(6)]
        await store.save_rule(make_rule(uuid4(), uuid4()))
        rules[3].description = "refused"
        found = await together(*map(store.save_rule, rules))
        assert isinstance(found[3], ValidationError)
        assert (found[3].code, found[3].outcome) == ("not_this_one", "not_applied")
        assert found[:3] + found[4:] == [rule.id for rule in rules if rule is not rules[3]]
        assert [rule.revision for rule in rules] == [1, 1, 1, 0, 1, 1]
    finally:
        await admin.execute(f"DROP FUNCTION convostore.{name} CASCADE")


async def test_a_locked_row_delays_its_own_caller_alone(server: Embedded) -> None:
    """Three times, while the row is locked: all others are saved, and its caller still waits."""
    async with await create_pool(server.postgres_dsn) as pool:
        store = PostgresSessionStore(pool, timeout=60.0)
        sessions = [make_session(uuid4()) for _ in range(8)]
        await asyncio.gather(*map(store.save, sessions))
        locked, *others = sessions
        waits: list[asyncio.Task[UUID]] = []
        async with blocking(
            server.postgres_dsn, "SELECT FROM convostore.session WHERE session_id = $1 FOR UPDATE", locked.session_id
        ):
            for revision in (2, 3, 4):
                first = asyncio.create_task(store.save(others[0]))
                waits.append(asyncio.create_task(store.save(locked.model_copy())))
                rest = [asyncio.create_task(store.save(each)) for each in others[1:]]
                await asyncio.gather(first, *rest)
                assert {each.revision for each in others} == {revision}
                assert not any(task.done() for task in waits)
        ends = await together(*waits)
        assert sorted(type(end).__name__ for end in ends) == ["ConflictError", "ConflictError", "UUID"]
        stored = await store.get(locked.session_id)
        assert stored is not None
        assert stored.revision == 2
        assert await pool.fetchval("SELECT current_setting('lock_timeout')") == "0"


async def test_a_new_row_that_another_inserts_meanwhile_delays_its_own_caller_alone(server: Embedded) -> None:
    """Upserts of one new row pass one after the other, by an advisory lock of its key."""
    key = "SELECT pg_advisory_xact_lock(hashtextextended('session ' || $1::uuid || ' ' || $2::uuid, 0))"
    async with await create_pool(server.postgres_dsn) as pool:
        store, locked = PostgresSessionStore(pool, timeout=60.0), make_session(uuid4())
        await store.save(make_session(uuid4()))
        async with blocking(server.postgres_dsn, key, locked.tenant_id, locked.session_id):
            sessions = [make_session(uuid4()) for _ in range(8)]
            first = asyncio.create_task(store.save(sessions[0]))
            waits = asyncio.create_task(store.save(locked))
            rest = [asyncio.create_task(store.save(each)) for each in sessions[1:]]
            await asyncio.gather(first, *rest)
            assert not waits.done()
        await waits
        assert [await store.get(each.session_id) for each in (*sessions, locked)] == [*sessions, locked]


async def test_concurrent_writers_end_as_one_after_the_other(pool: Pool) -> None:
    """Of the same and of different keys: each revision has one writer, and the last one's content is what is stored."""
    store, dice = PostgresSessionStore(pool, timeout=30.0), random.Random(17)
    sessions = [make_session(uuid4()) for _ in range(12)]
    await asyncio.gather(*map(store.save, sessions))
    won: dict[UUID, dict[int, int]] = {each.session_id: {} for each in sessions}
    refused: list[bool] = []

    async def writer(number: int) -> None:
        for turn in range(12):
            known = await store.get(dice.choice(sessions).session_id)
            assert known is not None
            known.turn_count = number * 1_000 + turn + 1
            overwrite = dice.random() < 0.3
            before = known.revision
            try:
                await store.save(known, overwrite=overwrite)
            except ConflictError as conflict:
                found = conflict.current_revision or 0
                refused.append(not overwrite and found > before)
                continue
            assert overwrite or known.revision == before + 1
            assert known.revision not in won[known.session_id]
            won[known.session_id][known.revision] = known.turn_count

    await asyncio.gather(*map(writer, range(24)))
    assert refused
    assert all(refused)
    for session in sessions:
        stored = await store.get(session.session_id)
        assert stored is not None
        revisions = won[session.session_id]
        assert sorted(revisions) == list(range(2, stored.revision + 1))
        assert stored.turn_count == revisions.get(stored.revision, session.turn_count)


async def test_batches_of_two_processes_take_their_locks_in_one_order(server: Embedded) -> None:
    """The server does not look for deadlocks."""
    settings, tenants = {"deadlock_timeout": "1h"}, [uuid4() for _ in range(3)]
    async with (
        await create_pool(server.postgres_dsn, max_size=1, settings=settings) as one,
        await create_pool(server.postgres_dsn, max_size=1, settings=settings) as other,
    ):
        stores, dice = [PostgresSessionStore(pool, timeout=30.0) for pool in (one, other)], random.Random(3)
        sessions = [make_session(dice.choice(tenants)) for _ in range(30)]
        await asyncio.gather(*map(stores[0].save, sessions))
        for _ in range(20):
            calls = [
                store.save(session.model_copy(), overwrite=True)
                for store in stores
                for session in dice.sample(sessions, len(sessions))
            ]
            await asyncio.gather(*calls)
        stored = [await stores[0].get(session.session_id) for session in sessions]
        assert [each and each.revision for each in stored] == [41] * len(sessions)


@pytest.fixture
async def proxied(server: Embedded) -> AsyncIterator[tuple[Proxy, Pool]]:
    """A pool of one connection by way of a proxy."""
    where = Path(urls.parsed(server.postgres_dsn, urls.POSTGRES, name="dsn").options["host"], ".s.PGSQL.5432")
    async with (
        proxy_to(where) as proxy,
        await create_pool(f"postgresql://postgres@127.0.0.1:{proxy.port}/convostore", max_size=1) as pool,
    ):
        yield proxy, pool


def cutting(store: PostgresSessionStore, proxy: Proxy, *, before_commit: bool) -> list[int]:
    """Cut the connection of the next batch; return where the sizes of batches are noted."""
    sizes: list[int] = []
    send = store._database.fetch_in_time

    async def cut(statement: str, present: Present) -> Any:
        if not sizes:
            proxy.to_server = Flow(cut_after=2_000 if before_commit else None, times=1)
            proxy.to_client = Flow(cut_after=None if before_commit else 0, times=1)
        sizes.append(len(present()))
        return await send(statement, present)

    store._database.fetch_in_time = cut  # type: ignore[method-assign]
    return sizes


@pytest.mark.parametrize("before_commit", [True, False])
async def test_a_cut_connection_applies_all_of_a_batch_or_nothing_and_each_save_is_repeated_once(
    proxied: tuple[Proxy, Pool], before_commit: bool
) -> None:
    proxy, pool = proxied
    store = PostgresSessionStore(pool, timeout=60.0)
    sessions = [make_session(uuid4()) for _ in range(10)]
    for _ in range(2):  # The second time prepares the statement of the third.
        await asyncio.gather(*map(store.save, sessions))
    if not store._database._pipelines:
        pytest.skip("PostgreSQL 16: nothing is sent together")
    sizes = cutting(store, proxy, before_commit=before_commit)
    assert await together(*map(store.save, sessions)) == [each.session_id for each in sessions]
    assert sizes[0] == 9
    assert proxy.to_server.cuts + proxy.to_client.cuts == 1
    # What was applied is recognised by its write id: no revision is skipped.
    assert {each.revision for each in sessions} == {3}
    assert [await store.get(each.session_id) for each in sessions] == sessions


@pytest.mark.parametrize("before_commit", [True, False])
async def test_of_a_cut_batch_what_is_not_idempotent_is_unknown_to_its_callers(
    proxied: tuple[Proxy, Pool], before_commit: bool
) -> None:
    proxy, pool = proxied
    store = PostgresSessionStore(pool, timeout=60.0)
    sessions = [make_session(uuid4()) for _ in range(6)]
    for _ in range(2):  # The second time prepares the statement of the third.
        await asyncio.gather(*(store.save(each, overwrite=True) for each in sessions))
    if not store._database._pipelines:
        pytest.skip("PostgreSQL 16: nothing is sent together")
    cutting(store, proxy, before_commit=before_commit)
    first, *others = await together(*(store.save(each, overwrite=True) for each in sessions))
    assert first == sessions[0].session_id
    assert {type(error) for error in others} == {ConnectionError}
    assert {error.outcome for error in others} == {"unknown"}
    assert len({id(error) for error in others}) == 5
    assert [each.revision for each in sessions] == [3, 2, 2, 2, 2, 2]
    stored = [await store.get(each.session_id) for each in sessions]
    assert [each and each.revision for each in stored] == [3] + [2 if before_commit else 3] * 5


async def test_in_silence_each_caller_leaves_at_its_own_deadline_and_the_connection_is_given_up_with_the_last(
    proxied: tuple[Proxy, Pool],
) -> None:
    proxy, pool = proxied
    store = PostgresSessionStore(pool, timeout=60.0)
    sessions = [make_session(uuid4()) for _ in range(7)]
    for _ in range(2):  # The second time prepares the statement of the third.
        await asyncio.gather(*map(store.save, sessions))
    if not store._database._pipelines:
        pytest.skip("PostgreSQL 16: nothing is sent together")
    send = store._database.fetch_in_time

    async def silenced(statement: str, present: Present) -> Any:
        proxy.to_client = Flow(silent=True)
        return await send(statement, present)

    store._database.fetch_in_time = silenced  # type: ignore[method-assign]
    hurried, patient = store.within(0.5), store.within(1.5)
    first = asyncio.create_task(patient.save(sessions[0]))
    late = [asyncio.create_task(hurried.save(each)) for each in sessions[1:4]]
    last = [asyncio.create_task(patient.save(each)) for each in sessions[4:]]
    assert await first == sessions[0].session_id
    await asyncio.wait(late)
    assert not any(task.done() for task in last)
    assert pool.get_idle_size() == 0
    errors = await together(*late, *last)
    assert {(type(error), error.code, error.outcome) for error in errors} == {(ConnectionError, "timeout", "unknown")}
    proxy.heal()
    store._database.fetch_in_time = send  # type: ignore[method-assign]
    await asyncio.gather(*(store.save(each, overwrite=True) for each in sessions))
    assert [await store.get(each.session_id) for each in sessions] == sessions


async def test_a_caller_that_is_cancelled_at_any_await_harms_no_other(server: Embedded) -> None:
    async with await create_pool(server.postgres_dsn, max_size=1) as pool:
        store, tenant, suspension, cancelled = PostgresSessionStore(pool), uuid4(), 0, {0, 1}
        while cancelled:
            for place in [*cancelled]:
                sessions = [make_session(tenant) for _ in range(4)]
                calls = [
                    asyncio.create_task(cancelled_at(suspension, work) if number == place else work)
                    for number, work in enumerate(map(store.save, sessions))
                ]
                answers = await together(*calls)
                rest = [n for n in range(4) if n != place]
                assert [answers[n] for n in rest] == [sessions[n].session_id for n in rest]
                assert [await store.get(sessions[n].session_id) for n in rest] == [sessions[n] for n in rest]
                stored = await store.get(sessions[place].session_id)
                assert stored is None or stored.revision == 1
                if not isinstance(answers[place], asyncio.CancelledError):
                    assert stored == sessions[place]
                    cancelled.remove(place)
            suspension += 1
        assert suspension >= 2
        assert pool.get_idle_size() == pool.get_size() == 1


async def test_who_leaves_while_a_batch_waits_for_a_connection_is_told_and_is_not_saved(server: Embedded) -> None:
    async with await create_pool(server.postgres_dsn, max_size=1) as pool:
        store, events = PostgresAuditStore(pool, timeout=60.0), [make_event(uuid4()) for _ in range(5)]
        await store.save_event(events.pop())
        first, late, *patient = events
        async with pool.acquire():
            hurried = store.within(0.3)
            calls = store.save_event(first), hurried.save_event(late), *map(store.save_event, patient)
            saved, leaving, *waiting = map(asyncio.create_task, calls)
            with pytest.raises(ConnectionError) as told:
                await leaving
            assert (told.value.code, told.value.outcome) == ("timeout", "not_applied")
        await asyncio.gather(saved, *waiting)
        assert [await store.get_event(each.tenant_id, each.id) for each in (first, *patient)] == [first, *patient]
        assert await store.get_event(late.tenant_id, late.id) is None


async def test_a_late_caller_leaves_and_the_others_are_saved(server: Embedded) -> None:
    """All wait for a lock of the whole table: who has the time is saved in the end, and who has not is told."""
    async with await create_pool(server.postgres_dsn) as pool:
        store = PostgresSessionStore(pool, timeout=60.0)
        sessions = [make_session(uuid4()) for _ in range(6)]
        await asyncio.gather(*map(store.save, sessions))
        async with blocking(server.postgres_dsn, "LOCK TABLE convostore.session IN SHARE MODE"):
            patient = [asyncio.create_task(store.save(each)) for each in sessions[:4]]
            late = await together(*(store.within(0.3).save(each) for each in sessions[4:]))
            assert {(type(error), error.code, error.outcome) for error in late} == {
                (ConnectionError, "timeout", "unknown")
            }
            assert not any(task.done() for task in patient)
        await asyncio.gather(*patient)
        assert [each.revision for each in sessions] == [2] * 4 + [1] * 2

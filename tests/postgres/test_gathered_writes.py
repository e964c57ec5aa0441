"""Writes that travel together: each under its own tenant's binding, and each caller with what a single call gives."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID, uuid4

import pytest

from convostore.domain.declarations import DECLARATIONS
from convostore.embedded import Embedded
from convostore.errors import NotFoundError, StoreError, ValidationError
from convostore.models import Agent, ItemStatus
from convostore.postgres import (
    PostgresAuditStore,
    PostgresConfigStore,
    PostgresMemoryStore,
    PostgresProfileStore,
    PostgresSessionStore,
)
from convostore.postgres.gathered_statements import pipelined
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
from tests.postgres.conftest import Pool
from tests.postgres.databases import connected
from tests.postgres.test_queries import generated

pytestmark = pytest.mark.usefixtures("gathering_from_the_second_on")

MANY = 60


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

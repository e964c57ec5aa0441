"""Upserts beside concurrent inserts: ON CONFLICT arbitrates by the primary key, other unique indexes raise an error."""

from __future__ import annotations

from collections.abc import AsyncIterator
from uuid import uuid4

import pytest

from convostore.embedded import Embedded
from convostore.errors import ConflictError
from convostore.models import Agent
from convostore.postgres import PostgresConfigStore, create_pool, migrate
from convostore.testing.factories import make_agent
from tests.postgres.databases import connected, fresh_database

pytestmark = pytest.mark.slow

VIOLATIONS = """
CREATE SEQUENCE convostore.violations;
GRANT USAGE, SELECT ON convostore.violations TO PUBLIC;
CREATE FUNCTION convostore.violate() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    IF nextval('convostore.violations') <= {times} THEN
        RAISE unique_violation USING CONSTRAINT = 'agent_name_key';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER violate BEFORE INSERT ON convostore.agent
FOR EACH ROW WHEN (NEW.description = 'concurrent') EXECUTE FUNCTION convostore.violate();
"""
"""The first inserts of certain rows violate a unique index, as beside an insert of the same row that is repeated."""


@pytest.fixture
async def store(engines: Embedded, request: pytest.FixtureRequest) -> AsyncIterator[PostgresConfigStore]:
    """A store in whose database so many inserts violate a unique index."""
    async with fresh_database(engines.postgres_dsn) as dsn:
        await migrate(dsn)
        async with connected(dsn) as admin:
            await admin.execute(VIOLATIONS.format(times=request.param))
        async with await create_pool(dsn) as pool:
            yield PostgresConfigStore(pool)


def concurrent(agent: Agent) -> Agent:
    return agent.model_copy(update={"description": "concurrent", "revision": 0})


async def violations(store: PostgresConfigStore) -> int:
    """Return how many inserts were tried."""
    tries: int = await store._database.fetchval("SELECT last_value FROM convostore.violations")
    return tries


@pytest.mark.parametrize("store", [5], indirect=True)
async def test_an_upsert_is_repeated_while_its_row_exists(store: PostgresConfigStore) -> None:
    agent = make_agent(uuid4())
    await store.save_agent(agent)
    await store.save_agent(concurrent(agent), overwrite=True)
    stored = await store.get_agent(agent.tenant_id, agent.id)
    assert stored is not None
    assert (stored.description, stored.revision) == ("concurrent", 2)


@pytest.mark.parametrize("store", [5], indirect=True)
async def test_an_upsert_of_several_rows_is_repeated(store: PostgresConfigStore) -> None:
    agents = [concurrent(make_agent(uuid4()))]
    await store.within(30).save_agents(agents)
    assert await store.get_agent(agents[0].tenant_id, agents[0].id) == agents[0]


@pytest.mark.parametrize("store", [1_000], indirect=True)
async def test_a_violation_without_a_row_of_that_key_is_a_conflict_at_once(store: PostgresConfigStore) -> None:
    agent = concurrent(make_agent(uuid4()))
    for overwrite in (False, True):
        with pytest.raises(ConflictError) as taken:
            await store.save_agent(agent, overwrite=overwrite)
        assert taken.value.code == "agent_name_key"
    assert await violations(store) == 2
    assert await store.get_agent(agent.tenant_id, agent.id) is None


@pytest.mark.parametrize("store", [1_000], indirect=True)
async def test_a_violation_that_persists_is_a_conflict(store: PostgresConfigStore) -> None:
    agent = make_agent(uuid4())
    await store.save_agent(agent)
    with pytest.raises(ConflictError, match="is taken"):
        await store.save_agent(concurrent(agent), overwrite=True)
    assert await violations(store) == 6
    assert await store.get_agent(agent.tenant_id, agent.id) == agent

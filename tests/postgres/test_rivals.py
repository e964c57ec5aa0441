"""Saves of one row at once: PostgreSQL reports what they meet in other unique keys than the first, even repeatedly."""

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

MEETS = """
CREATE SEQUENCE convostore.meetings;
GRANT USAGE, SELECT ON convostore.meetings TO PUBLIC;
CREATE FUNCTION convostore.meet() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    IF nextval('convostore.meetings') <= {times} THEN
        RAISE unique_violation USING CONSTRAINT = 'agent_name_key';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER meet BEFORE INSERT ON convostore.agent
FOR EACH ROW WHEN (NEW.description = 'rival') EXECUTE FUNCTION convostore.meet();
"""
"""The first inserts of a rival meet another one, as they would if it were replaced again and again meanwhile."""


@pytest.fixture
async def store(engines: Embedded, request: pytest.FixtureRequest) -> AsyncIterator[PostgresConfigStore]:
    """A store in whose database a rival meets others so many times."""
    async with fresh_database(engines.postgres_dsn) as dsn:
        await migrate(dsn)
        async with connected(dsn) as admin:
            await admin.execute(MEETS.format(times=request.param))
        async with await create_pool(dsn) as pool:
            yield PostgresConfigStore(pool)


def rival(agent: Agent) -> Agent:
    return agent.model_copy(update={"description": "rival", "revision": 0})


async def meetings(store: PostgresConfigStore) -> int:
    """Return how often a rival tried to insert."""
    tries: int = await store._database.fetchval("SELECT last_value FROM convostore.meetings")
    return tries


@pytest.mark.parametrize("store", [5], indirect=True)
async def test_a_save_goes_on_while_others_insert_and_replace_its_row(store: PostgresConfigStore) -> None:
    agent = make_agent(uuid4())
    await store.save_agent(agent)
    await store.save_agent(rival(agent), overwrite=True)
    stored = await store.get_agent(agent.tenant_id, agent.id)
    assert stored is not None
    assert (stored.description, stored.revision) == ("rival", 2)


@pytest.mark.parametrize("store", [5], indirect=True)
async def test_saves_of_many_go_on_while_others_insert_their_rows(store: PostgresConfigStore) -> None:
    agents = [rival(make_agent(uuid4()))]
    await store.within(30).save_agents(agents)
    assert await store.get_agent(agents[0].tenant_id, agents[0].id) == agents[0]


@pytest.mark.parametrize("store", [1_000], indirect=True)
async def test_a_key_that_another_row_holds_is_a_conflict_at_once(store: PostgresConfigStore) -> None:
    agent = rival(make_agent(uuid4()))
    for overwrite in (False, True):
        with pytest.raises(ConflictError) as taken:
            await store.save_agent(agent, overwrite=overwrite)
        assert taken.value.code == "agent_name_key"
    assert await meetings(store) == 2
    assert await store.get_agent(agent.tenant_id, agent.id) is None


@pytest.mark.parametrize("store", [1_000], indirect=True)
async def test_a_conflict_that_does_not_end_is_reported(store: PostgresConfigStore) -> None:
    agent = make_agent(uuid4())
    await store.save_agent(agent)
    with pytest.raises(ConflictError, match="is taken"):
        await store.save_agent(rival(agent), overwrite=True)
    assert await meetings(store) == 6
    assert await store.get_agent(agent.tenant_id, agent.id) == agent

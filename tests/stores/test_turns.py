"""`Stores.load_turn` and `Stores.unit_of_work`: one call each, on stores of one backend, surrounded as all are."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any
from uuid import uuid4

import pytest

from convostore import Call, Stores, open_stores
from convostore.embedded import Embedded
from convostore.errors import StoreError, ValidationError
from convostore.inmemory import InMemoryAuditStore
from convostore.models import Channel
from convostore.postgres import PostgresAuditStore, PostgresMemoryStore, create_pool
from convostore.redis import RedisSessionStore, create_client
from convostore.testing.factories import make_agent, make_episode, make_event, make_session
from tests.counting import Counted

DURATION = "db.client.operation.duration"


@pytest.fixture(params=["memory", "engines"])
async def stores(request: pytest.FixtureRequest, engines: Embedded) -> AsyncIterator[Stores]:
    options: dict[str, Any] = {"backend": "memory"}
    if request.param == "engines":
        options = {"postgres_url": engines.postgres_dsn, "redis_url": engines.redis_url, "sweep_every": 0}
    async with open_stores(**options) as opened:
        yield opened


async def test_a_turn_is_loaded_and_committed(stores: Stores) -> None:
    tenant = uuid4()
    agent = make_agent(tenant)
    await stores.config.save_agent(agent)
    turn = await stores.load_turn(tenant, agent_id=agent.id, channel=Channel.EMAIL, user_channel_id="ann", timeout=60)
    episode = make_episode(tenant, agent.id)
    async with stores.unit_of_work(tenant, timeout=60) as work:
        work.save_session(turn.session)
        work.add_episodes([episode])
    assert turn.session.revision == 2
    assert await stores.sessions.get(turn.session.session_id) == turn.session
    assert (await stores.load_turn(tenant, session_id=turn.session.session_id)).session == turn.session
    assert await stores.memory.get_episode(tenant, episode.id) == episode


async def test_a_unit_and_a_load_are_one_call_each(stores: Stores) -> None:
    seen: list[tuple[str, str, Any]] = []

    async def see(call: Call, proceed: Any) -> Any:
        seen.append((call.store, call.operation, call.tenant_id))
        return await proceed(call)

    tenant = uuid4()
    agent = make_agent(tenant)
    session = make_session(tenant, agent_id=agent.id)
    await stores.config.save_agent(agent)
    watched, counted = stores.with_interceptors(see), Counted()
    async with watched.unit_of_work(tenant) as work:
        work.save_session(session)
        work.save_event(make_event(tenant))
    await watched.load_turn(tenant, session_id=session.session_id)
    assert seen == [("turn", "commit", tenant), ("turn", "load_turn", tenant)]
    system = stores.config.system
    assert counted[DURATION] == {(system, "turn", "commit", ""): 1, (system, "turn", "load_turn", ""): 1}


async def test_bound_stores_have_turns_of_their_tenant_alone(stores: Stores) -> None:
    tenant = uuid4()
    bound = stores.for_tenant(tenant)
    async with bound.unit_of_work(tenant) as work:
        work.save_session(make_session(tenant))
    with pytest.raises(ValidationError, match="another tenant"):
        bound.unit_of_work(uuid4())
    with pytest.raises(ValidationError, match="another tenant"):
        await bound.load_turn(uuid4(), session_id=uuid4())


async def test_closed_stores_refuse_turns() -> None:
    async with open_stores(backend="memory") as stores:
        work = stores.unit_of_work(uuid4())
    with pytest.raises(StoreError) as caught:
        await stores.load_turn(uuid4(), session_id=uuid4())
    assert caught.value.code == "closed"
    async with work:
        pass


async def test_stores_of_several_backends_have_no_turns(stores: Stores, engines: Embedded) -> None:
    async with await create_pool(engines.postgres_dsn) as pool, create_client(engines.redis_url) as client:
        other = InMemoryAuditStore() if stores.config.system != "memory" else PostgresAuditStore(pool)
        for mixed in (
            replace(stores, audit=other),
            replace(stores, memory=PostgresMemoryStore(pool)),
            replace(stores, sessions=RedisSessionStore(client)),
            replace(
                stores, audit=InMemoryAuditStore() if stores.config.system != "memory" else PostgresAuditStore(pool)
            ),
        ):
            with pytest.raises(ValidationError, match="one"):
                mixed.unit_of_work(uuid4())
            with pytest.raises(ValidationError, match="one"):
                await mixed.load_turn(uuid4(), session_id=uuid4())

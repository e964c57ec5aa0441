"""The five stores are opened on embedded servers, on given servers or in memory; settings are validated."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import NamedTuple
from uuid import UUID, uuid4

import pytest

from convostore import Stores, open_stores
from convostore.embedded import Embedded, open_embedded
from convostore.errors import ConnectionError, ValidationError
from convostore.models import Agent, AuditEvent, Channel, CustomerProfile, Entity, Session
from convostore.models.fields import now


class Written(NamedTuple):
    """One record of every store, as saved."""

    tenant: UUID
    agent: Agent
    session: Session
    entity: Entity
    event: AuditEvent
    profile: CustomerProfile


async def write_one_of_each(stores: Stores) -> Written:
    tenant = uuid4()
    agent = Agent(tenant_id=tenant, name="Support")
    session = Session(tenant_id=tenant, agent_id=agent.id, channel=Channel.EMAIL, user_channel_id="ann@example.com")
    entity = Entity(
        tenant_id=tenant, agent_id=agent.id, group_id=uuid4(), name="Ann", entity_type="person", valid_from=now()
    )
    event = AuditEvent(tenant_id=tenant, event_type="opened", event_data={"by": "test"})
    await stores.config.save_agent(agent)
    await stores.sessions.save(session)
    await stores.memory.add_entity(entity)
    await stores.audit.save_event(event)
    profile = await stores.profiles.get_or_create(tenant, Channel.EMAIL, "ann@example.com")
    return Written(tenant, agent, session, entity, event, profile)


async def assert_each_is_there(stores: Stores, written: Written) -> None:
    tenant, agent, session, entity, event, profile = written
    assert await stores.config.get_agent(tenant, agent.id) == agent
    assert await stores.sessions.get(session.session_id) == session
    assert await stores.memory.get_entity(tenant, entity.id) == entity
    assert await stores.audit.get_event(tenant, event.id) == event
    assert await stores.profiles.get_profile(tenant, profile.id) == profile


@pytest.mark.parametrize("options", [{"backend": "memory"}, {"ephemeral": True}], ids=["memory", "ephemeral"])
async def test_every_store_returns_what_was_saved(options: dict[str, object]) -> None:
    async with open_stores(**options) as stores:  # type: ignore[arg-type]
        await assert_each_is_there(stores, await write_one_of_each(stores))
        health = await stores.health()
        assert (health.ok, health.serves) == (True, True)
        assert set(health.backends) == ({"memory"} if "backend" in options else {"postgres", "redis"})


async def test_a_home_is_persistent(area: Path) -> None:
    async with open_stores(home=area / "home") as stores:
        written = await write_one_of_each(stores)
    async with open_stores(home=area / "home") as stores:
        await assert_each_is_there(stores, written)


async def test_a_home_can_be_opened_twice_and_shares_its_data(area: Path) -> None:
    async with open_stores(home=area / "home") as first, open_stores(home=area / "home") as second:
        await assert_each_is_there(second, await write_one_of_each(first))


async def test_given_servers_are_used_and_left_running(engines: Embedded) -> None:
    async with open_stores(postgres_url=engines.postgres_dsn, redis_url=engines.redis_url) as stores:
        written = await write_one_of_each(stores)
    async with open_stores(postgres_url=engines.postgres_dsn, redis_url=engines.redis_url) as stores:
        await assert_each_is_there(stores, written)


@pytest.mark.usefixtures("area")
async def test_health_is_false_when_postgresql_is_unreachable() -> None:
    async with open_embedded(ephemeral=True, postgres=False) as valkey:
        async with open_embedded(ephemeral=True, valkey=False) as postgres:
            opened = open_stores(postgres_url=postgres.postgres_dsn, redis_url=valkey.redis_url, timeout=2.0)
            stores = await opened.__aenter__()
        health = await stores.health()
        await opened.__aexit__(None, None, None)
    assert (health.ok, health.serves) == (False, False)
    assert health.backends["postgres"].problem is not None
    assert health.backends["redis"].ok


async def test_stores_bound_to_a_tenant_refuse_others() -> None:
    async with open_stores(backend="memory") as stores:
        tenant, agent, session, *_ = await write_one_of_each(stores)
        theirs = stores.for_tenant(tenant)
        others = stores.for_tenant(uuid4())
        assert await theirs.sessions.get(session.session_id) == session
        assert await others.sessions.get(session.session_id) is None
        with pytest.raises(ValidationError, match="bound to another tenant"):
            await others.config.get_agent(tenant, agent.id)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"backend": "oracle"}, "backend"),
        ({"timeout": 0}, "timeout"),
        ({"pool_size": 0}, "pool_size"),
        ({"pooler": "statement"}, "pooler"),
        ({"pooler": "session"}, "pooler"),
        ({"home": "somewhere", "ephemeral": True}, "ephemeral"),
        ({"home": ""}, "home: is empty"),
        ({"redis_url": "http://example.com"}, "redis_url"),
        ({"postgres_url": "mysql://example.com"}, "postgres_url"),
    ],
)
async def test_an_invalid_setting_is_refused_by_name(options: dict[str, object], named: str) -> None:
    with pytest.raises(ValidationError, match=named):
        async with open_stores(**options):  # type: ignore[arg-type]
            pass


async def test_an_unreachable_server_is_a_connection_error() -> None:
    with pytest.raises(ConnectionError):
        async with open_stores(postgres_url="postgresql://127.0.0.1:1/x", redis_url="redis://127.0.0.1:1"):
            pass


async def test_a_keyword_takes_precedence_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONVOSTORE_BACKEND", "oracle")
    with pytest.raises(ValidationError, match="backend"):
        async with open_stores():
            pass
    async with open_stores(backend="memory") as stores:
        assert (await stores.health()).ok


def test_importing_convostore_loads_no_driver_and_no_model() -> None:
    program = "import convostore, sys; print(sorted({'asyncpg', 'redis', 'alembic', 'pydantic'} & set(sys.modules)))"
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"

"""Sessions: reads and saves on Valkey against redis-py, in two tiers against asyncpg and redis-py."""

from __future__ import annotations

from operator import attrgetter
from typing import Any
from uuid import uuid4

from bench.data import columns, spread
from bench.engines import Engines
from bench.harness import Operation, Way
from convostore.models import Session
from convostore.models.fields import now
from convostore.postgres import PostgresSessionStore
from convostore.redis import RedisSessionStore
from convostore.redis.keys import channel_of, indexes_of, value_key
from convostore.testing.factories import make_session, make_visit
from convostore.tiered import TieredSessionStore


def typical_session(tenant: Any) -> Session:
    visits = [make_visit(step_name=f"step {n}", turn_number=n, step_content_hash=f"hash {n}") for n in range(4)]
    return make_session(
        tenant,
        customer_profile_id=uuid4(),
        active_scenario_id=uuid4(),
        active_step_id=visits[-1].step_id,
        active_scenario_version=2,
        step_history=visits,
        rule_fires={str(uuid4()): n for n in range(3)},
        variables={"order_id": "A-1723", "cart": [{"sku": f"sku {n}", "count": n, "price": 9.5} for n in range(3)]},
        turn_count=4,
    )


async def get_alone(engines: Engines) -> Operation:
    return await _get(engines, "session get, alone", goal=1.1, concurrency=1)


async def get(engines: Engines) -> Operation:
    return await _get(engines, "session get, 64 concurrent", goal=0.5, concurrency=64)


async def get_recent(engines: Engines) -> Operation:
    title = "session get, max_staleness, 64 concurrent"
    return await _get(engines, title, goal=0.15, concurrency=64, max_staleness=3_600.0)


async def _get(engines: Engines, title: str, *, goal: float, concurrency: int, max_staleness: float = 0.0) -> Operation:
    store, client = RedisSessionStore(engines.client), engines.bare_client
    sessions = spread(typical_session)
    ids: dict[int, list[Any]] = {}
    for tenants, items in sessions.items():
        for session in items:
            await store.save(session)
            await client.set(f"session:{session.session_id}", session.model_dump_json())
        ids[tenants] = [session.session_id for session in items]

    async def bare(session_id: Any) -> Session | None:
        value = await client.get(f"session:{session_id}")
        return Session.model_validate_json(value) if value else None

    async def call(session_id: Any) -> Session | None:
        return await store.get(session_id, max_staleness=max_staleness)

    inputs = ids.__getitem__
    return Operation(
        title,
        goal,
        Way(call if max_staleness else store.get, inputs),
        Way(bare, inputs),
        concurrency,
        agree=lambda a, b: bool(a and a == b),
    )


async def save(engines: Engines) -> Operation:
    store, client = RedisSessionStore(engines.client), engines.bare_client
    saved, written = spread(typical_session), spread(typical_session)

    async def bare(session: Session) -> None:
        session.last_activity_at = now()
        member, score = str(session.session_id), -session.last_activity_at.timestamp()
        agent, customer, step = indexes_of(session)
        channel = channel_of(session)
        pipeline: Any = client.pipeline(transaction=True)
        pipeline.set(value_key(session.session_id), session.model_dump_json())
        pipeline.zadd(f"bare:{agent}", {member: score})
        pipeline.zadd(f"bare:{customer}", {member: score})
        pipeline.sadd(f"bare:{step}", member)
        pipeline.zadd("bare:hot", {member: score})
        pipeline.zadd(f"{channel}open", {member: score})
        pipeline.zrem(f"{channel}closed", member)
        await pipeline.execute()

    return Operation(
        "session save, all indexes, 64 concurrent",
        0.4,
        Way(store.save, saved.__getitem__),
        Way(bare, written.__getitem__),
    )


async def save_tiered(engines: Engines) -> Operation:
    pool, client = engines.bare_pool, engines.bare_client
    store = TieredSessionStore(engines.client, PostgresSessionStore(engines.pool))
    saved, written = spread(typical_session), spread(typical_session)
    fields = tuple(Session.model_fields)
    values = attrgetter(*fields)
    replaced = ", ".join(f'"{name}" = excluded."{name}"' for name in fields if name not in ("session_id", "created_at"))
    upsert = (
        f"INSERT INTO convostore.session ({columns(Session)}) "
        f"VALUES ({', '.join(f'${number}' for number in range(1, len(fields) + 1))}) "
        f"ON CONFLICT (tenant_id, session_id) DO UPDATE SET {replaced}"
    )

    async def bare(session: Session) -> None:
        session.last_activity_at = now()
        await pool.execute(upsert, *values(session))
        await client.set(f"session:{session.session_id}", session.model_dump_json(), ex=1_800)

    return Operation(
        "session save, tiered, 64 concurrent",
        0.7,
        Way(store.save, saved.__getitem__),
        Way(bare, written.__getitem__),
    )


OPERATIONS = {
    "session-get-alone": get_alone,
    "session-get": get,
    "session-get-recent": get_recent,
    "session-save": save,
    "session-save-tiered": save_tiered,
}

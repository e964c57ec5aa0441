"""Audit: turns recorded in a hash chain, against asyncpg and a plain table."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from operator import attrgetter
from typing import Any
from uuid import UUID, uuid5

from bench.data import ITEMS, columns
from bench.engines import TENANTS, Engines
from bench.harness import Operation, Way
from convostore.models import AuditEvent, ToolCall, TurnRecord
from convostore.postgres import PostgresAuditStore
from convostore.testing.factories import make_event, make_turn

# A table as an application would have it: unique ids and turn numbers, an index by time; no hash chain, no policy.
PLAIN = """
CREATE SCHEMA IF NOT EXISTS bench;
CREATE TABLE IF NOT EXISTS bench.turn (
    turn_id uuid, tenant_id uuid, agent_id uuid, session_id uuid, customer_profile_id uuid, turn_number bigint,
    user_message text, agent_response text, matched_rule_ids uuid[], scenario_id uuid, step_id uuid, tool_calls jsonb,
    template_ids_used uuid[], latency_ms double precision, tokens_used bigint, metadata jsonb, "timestamp" timestamptz,
    PRIMARY KEY (tenant_id, turn_id),
    UNIQUE (tenant_id, session_id, turn_number)
);
CREATE INDEX IF NOT EXISTS turn_timestamp_idx ON bench.turn (tenant_id, "timestamp" DESC, turn_id);
CREATE TABLE IF NOT EXISTS bench.event (
    id uuid, tenant_id uuid, event_type text, event_data jsonb, session_id uuid, turn_id uuid,
    customer_profile_id uuid, "timestamp" timestamptz,
    PRIMARY KEY (tenant_id, id)
);
CREATE INDEX IF NOT EXISTS event_timestamp_idx ON bench.event (tenant_id, "timestamp" DESC, id);
CREATE INDEX IF NOT EXISTS event_session_idx ON bench.event (tenant_id, session_id, "timestamp" DESC, id);
"""

_FIELDS = tuple(TurnRecord.model_fields)
_VALUES = attrgetter(*_FIELDS)
_JSON = _FIELDS.index("tool_calls")
_BATCH = 500

_numbers = count()


def row(turn: TurnRecord) -> tuple[Any, ...]:
    values = list(_VALUES(turn))
    values[_JSON] = [call.model_dump() for call in turn.tool_calls]
    return tuple(values)


def _turn(tenant: UUID, session: UUID) -> TurnRecord:
    return make_turn(
        tenant,
        session_id=session,
        turn_number=next(_numbers),
        user_message="Where is my parcel? It should have been here on Monday. " * 3,
        agent_response="I am sorry about that. I have looked it up, and it will arrive tomorrow before noon. " * 4,
        matched_rule_ids=[uuid5(tenant, "rule")],
        tool_calls=[
            ToolCall(
                tool_id="parcels",
                tool_name="find parcel",
                input={"order": 4711},
                output={"status": "on its way", "stops": [1, 2, 3]},
                success=True,
                latency_ms=81.5,
            )
        ],
        metadata={"channel": "web", "model": "one"},
    )


def insert(table: str, model: type[Any]) -> str:
    numbers = ", ".join(f"${number}" for number in range(1, len(model.model_fields) + 1))
    return f"INSERT INTO {table} ({columns(model)}) VALUES ({numbers})"


def _turns(number: int) -> Callable[[int], list[TurnRecord]]:
    """Return a function that makes turns of as many sessions as a block has items, round-robin."""

    def inputs(tenants: int) -> list[TurnRecord]:
        sessions = [(TENANTS[n % tenants], uuid5(TENANTS[n % tenants], f"session {n}")) for n in range(ITEMS)]
        return [_turn(*sessions[n % ITEMS]) for n in range(number)]

    return inputs


async def save(engines: Engines) -> Operation:
    return await _save(engines, "turn save, 64 concurrent", goal=1.0, concurrency=64)


async def save_alone(engines: Engines) -> Operation:
    return await _save(engines, "turn save, alone", goal=1.5, concurrency=1)


async def _save(engines: Engines, title: str, *, goal: float, concurrency: int) -> Operation:
    store, pool = PostgresAuditStore(engines.pool), engines.bare_pool
    await pool.execute(PLAIN)
    into = insert("bench.turn", TurnRecord)

    async def bare(turn: TurnRecord) -> None:
        await pool.execute(into, *row(turn))

    inputs = _turns(ITEMS)
    ways = Way(store.save_turn, inputs), Way(bare, inputs)
    return Operation(title, goal, *ways, concurrency=concurrency, server_goal=goal)


async def save_event_alone(engines: Engines) -> Operation:
    return await _save_event(engines, "event save, alone", goal=1.5, concurrency=1)


async def save_event(engines: Engines) -> Operation:
    return await _save_event(engines, "event save, 64 concurrent", goal=1.0, concurrency=64)


async def _save_event(engines: Engines, title: str, *, goal: float, concurrency: int) -> Operation:
    store, pool = PostgresAuditStore(engines.pool), engines.bare_pool
    await pool.execute(PLAIN)
    into, values = insert("bench.event", AuditEvent), attrgetter(*AuditEvent.model_fields)

    async def bare(event: AuditEvent) -> None:
        await pool.execute(into, *values(event))

    def inputs(tenants: int) -> list[AuditEvent]:
        owners = [TENANTS[n % tenants] for n in range(ITEMS)]
        return [
            make_event(
                owner,
                session_id=uuid5(owner, f"session {n}"),
                turn_id=uuid5(owner, f"turn {n}"),
                event_type="rule_matched",
                event_data={"rule": "greeting", "scores": [0.5, 0.25], "reason": "The customer said hello."},
            )
            for n, owner in enumerate(owners)
        ]

    ways = Way(store.save_event, inputs), Way(bare, inputs)
    return Operation(title, goal, *ways, concurrency=concurrency, server_goal=goal)


async def save_many(engines: Engines) -> Operation:
    store, pool = PostgresAuditStore(engines.pool), engines.bare_pool
    await pool.execute(PLAIN)

    async def bare(turns: list[TurnRecord]) -> None:
        async with pool.acquire() as connection:
            await connection.copy_records_to_table(
                "turn", schema_name="bench", columns=list(_FIELDS), records=map(row, turns)
            )

    def inputs(tenants: int) -> list[list[TurnRecord]]:
        # A call has one tenant.
        return [_turns(_BATCH)(1) for _ in range(4)]

    return Operation(
        f"turns save, {_BATCH} at once, vs COPY", None, Way(store.save_turns, inputs), Way(bare, inputs), concurrency=1
    )


OPERATIONS = {
    "turn-save-alone": save_alone,
    "turn-save": save,
    "event-save-alone": save_event_alone,
    "event-save": save_event,
    "turns-save": save_many,
}

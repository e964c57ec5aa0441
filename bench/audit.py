"""Audit: turns recorded in a hash chain, against asyncpg and a plain table."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from operator import attrgetter
from typing import Any
from uuid import UUID, uuid5

from bench.data import columns
from bench.engines import TENANTS, Engines
from bench.harness import Operation, Way
from convostore.models import ToolCall, TurnRecord
from convostore.postgres import PostgresAuditStore
from convostore.testing.factories import make_turn

# A table as an application would have it: unique ids and turn numbers, an index by time; no hash chain, no policy.
_PLAIN = """
CREATE SCHEMA IF NOT EXISTS bench;
CREATE TABLE IF NOT EXISTS bench.turn (
    turn_id uuid, tenant_id uuid, agent_id uuid, session_id uuid, customer_profile_id uuid, turn_number bigint,
    user_message text, agent_response text, matched_rule_ids uuid[], scenario_id uuid, step_id uuid, tool_calls jsonb,
    template_ids_used uuid[], latency_ms double precision, tokens_used bigint, metadata jsonb, "timestamp" timestamptz,
    PRIMARY KEY (tenant_id, turn_id),
    UNIQUE (tenant_id, session_id, turn_number)
);
CREATE INDEX IF NOT EXISTS turn_timestamp_idx ON bench.turn (tenant_id, "timestamp" DESC, turn_id);
"""

_FIELDS = tuple(TurnRecord.model_fields)
_VALUES = attrgetter(*_FIELDS)
_JSON = _FIELDS.index("tool_calls")
_BATCH = 500

_numbers = count()


def _row(turn: TurnRecord) -> tuple[Any, ...]:
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


def _turns(number: int) -> Callable[[int], list[TurnRecord]]:
    """Return a function that makes turns of 64 sessions, round-robin."""

    def inputs(tenants: int) -> list[TurnRecord]:
        sessions = [(TENANTS[n % tenants], uuid5(TENANTS[n % tenants], f"session {n}")) for n in range(64)]
        return [_turn(*sessions[n % 64]) for n in range(number)]

    return inputs


async def save(engines: Engines) -> Operation:
    return await _save(engines, "turn save, 64 concurrent", concurrency=64)


async def save_alone(engines: Engines) -> Operation:
    return await _save(engines, "turn save, alone", concurrency=1)


async def _save(engines: Engines, title: str, *, concurrency: int) -> Operation:
    store, pool = PostgresAuditStore(engines.pool), engines.bare_pool
    await pool.execute(_PLAIN)
    insert = (
        f"INSERT INTO bench.turn ({columns(TurnRecord)}) "
        f"VALUES ({', '.join(f'${number}' for number in range(1, len(_FIELDS) + 1))})"
    )

    async def bare(turn: TurnRecord) -> None:
        await pool.execute(insert, *_row(turn))

    inputs = _turns(256)
    return Operation(title, None, Way(store.save_turn, inputs), Way(bare, inputs), concurrency=concurrency)


async def save_many(engines: Engines) -> Operation:
    store, pool = PostgresAuditStore(engines.pool), engines.bare_pool
    await pool.execute(_PLAIN)

    async def bare(turns: list[TurnRecord]) -> None:
        async with pool.acquire() as connection:
            await connection.copy_records_to_table(
                "turn", schema_name="bench", columns=list(_FIELDS), records=map(_row, turns)
            )

    def inputs(tenants: int) -> list[list[TurnRecord]]:
        # A call has one tenant.
        return [_turns(_BATCH)(1) for _ in range(4)]

    return Operation(
        f"turns save, {_BATCH} at once, vs COPY", None, Way(store.save_turns, inputs), Way(bare, inputs), concurrency=1
    )


OPERATIONS = {"turn-save-alone": save_alone, "turn-save": save, "turns-save": save_many}

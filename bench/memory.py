"""Memory: episodes added and searched on PostgreSQL, against asyncpg."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain, cycle, islice
from math import sqrt
from operator import attrgetter, mul
from random import Random
from typing import Any
from uuid import UUID, uuid4

from bench.data import DIMENSIONS, ITEMS, Vectors, columns
from bench.engines import SPREAD, TENANTS, Engines
from bench.harness import Operation, Way
from convostore.models import Episode
from convostore.postgres import PostgresMemoryStore
from convostore.postgres.pool import decode_vector, encode_vector
from convostore.testing.factories import make_episode

_MODEL = f"random-{DIMENSIONS}"
_TOTAL, _FILTERED = 200_000, 5_000
_FOUND = 10
_QUERIES = 2
_ROUNDING = 1e-6
"""Scores are rounded to six decimals; a smaller difference is a tie."""

_FIELDS = tuple(Episode.model_fields)
_VALUES = attrgetter(*_FIELDS)

Filter = tuple[UUID, UUID, UUID]
"""Tenant, agent, customer."""


async def add(engines: Engines) -> Operation:
    store, pool, vectors = PostgresMemoryStore(engines.pool), engines.bare_pool, Vectors()
    insert = _insert(1)

    def inputs(tenants: int) -> list[Episode]:
        return [_episode(TENANTS[number % tenants], vectors) for number in range(ITEMS)]

    async def bare(episode: Episode) -> None:
        await pool.execute(insert, *_VALUES(episode))

    return Operation(
        f"episode add, {DIMENSIONS} floats, 64 concurrent",
        None,
        Way(store.add_episode, inputs),
        Way(bare, inputs),
    )


async def add_two(engines: Engines) -> Operation:
    store, pool, vectors = PostgresMemoryStore(engines.pool), engines.bare_pool, Vectors()
    insert = _insert(2)

    def inputs(tenants: int) -> list[list[Episode]]:
        return [[_episode(TENANTS[number % tenants], vectors) for _ in range(2)] for number in range(ITEMS)]

    async def bare(episodes: list[Episode]) -> None:
        await pool.execute(insert, *chain.from_iterable(map(_VALUES, episodes)))

    return Operation(
        f"episodes add, 2 with {DIMENSIONS} floats, alone",
        1.5,
        Way(store.add_episodes, inputs),
        Way(bare, inputs),
        concurrency=1,
    )


def _insert(rows: int) -> str:
    """Return the statement that one would write by hand for so many episodes."""
    numbers = [[f"${row * len(_FIELDS) + number}" for number in range(1, len(_FIELDS) + 1)] for row in range(rows)]
    values = ", ".join(f"({', '.join(row)})" for row in numbers)
    return f"INSERT INTO convostore.episode ({columns(Episode)}) VALUES {values}"


def _episode(tenant: UUID, vectors: Vectors) -> Episode:
    return make_episode(
        tenant,
        uuid4(),
        customer_profile_id=uuid4(),
        embedding=vectors.floats(),
        embedding_model=_MODEL,
        language="simple",
        metadata={"channel": "web"},
    )


async def search(engines: Engines) -> Operation:
    store, pool = PostgresMemoryStore(engines.pool), engines.bare_pool
    filters = await _fill(pool)
    vectors, dice = Vectors(2), Random(3)
    select = (
        f"SELECT {columns(Episode)}, 1 - (embedding <=> $4) AS score FROM convostore.episode "
        "WHERE tenant_id = $1 AND agent_id = $2 AND customer_profile_id = $3 "
        "ORDER BY embedding <=> $4, id LIMIT $5"
    )

    async def call(query: tuple[Filter, list[float]]) -> list[tuple[Episode, float]]:
        (tenant, agent, customer), vector = query
        return await store.vector_search_episodes(
            vector, tenant, agent, customer_profile_id=customer, limit=_FOUND, min_score=-1.0
        )

    async def bare(query: tuple[Filter, list[float]]) -> list[tuple[Episode, float]]:
        where, vector = query
        rows = await pool.fetch(select, *where, vector, _FOUND)
        return [(Episode.model_validate({name: row[name] for name in _FIELDS}), row["score"]) for row in rows]

    # The same queries for both sides: the rows that a search reads depend on its filter.
    queries = {
        tenants: [(where, vectors.floats()) for where in dice.choices(filters[tenants], k=_QUERIES)]
        for tenants in SPREAD
    }

    async def recall(tenants: int) -> str:
        found = [await _recall(pool, *query, await call(query)) for query in queries[tenants]]
        return f"recall@{_FOUND} {sum(found) / len(found):.3g}"

    way = queries.__getitem__
    return Operation(
        f"vector search, ≤ {_FILTERED:,} of {_TOTAL:,}, by wall",
        1.3,
        Way(call, way),
        Way(bare, way),
        concurrency=1,
        clock="wall",
        agree=lambda a, b: [item for item, _ in a] == [item for item, _ in b],
        note=recall,
    )


async def _fill(pool: Any) -> dict[int, list[Filter]]:
    """Fill the table: one half belongs to one tenant, the other to one customer of each tenant.

    Half of the one tenant's episodes belong to customers with 5,000 each, half to agents and customers with one each:
    the planner estimates agents and customers as rare, as it would in production.
    """
    half, quarter = _TOTAL // 2, _TOTAL // 4
    agent = uuid4()
    filters = {
        SPREAD[0]: [(TENANTS[0], agent, uuid4()) for _ in range(quarter // _FILTERED)],
        SPREAD[1]: [(tenant, uuid4(), uuid4()) for tenant in TENANTS],
    }
    vectors, prototype = (
        Vectors(),
        dict(make_episode(TENANTS[0], agent, language="simple", embedding=[1.0], embedding_model=_MODEL)),
    )

    def rows() -> Iterator[tuple[Any, ...]]:
        regulars, elsewhere = filters.values()
        newcomers = ((TENANTS[0], uuid4(), uuid4()) for _ in range(quarter))
        owners = chain(islice(cycle(regulars), quarter), newcomers, islice(cycle(elsewhere), half))
        for tenant, agent_id, customer in owners:
            changes = {"id": uuid4(), "tenant_id": tenant, "agent_id": agent_id, "customer_profile_id": customer}
            yield tuple((prototype | changes | {"embedding": vectors.wire()}).values())

    async with pool.acquire() as connection:
        await connection.set_type_codec("vector", encoder=bytes, decoder=decode_vector, format="binary")
        await connection.copy_records_to_table(
            "episode", schema_name="convostore", columns=list(prototype), records=rows()
        )
        await connection.set_type_codec("vector", encoder=encode_vector, decoder=decode_vector, format="binary")
        await connection.execute("VACUUM ANALYZE convostore.episode")
    return filters


async def _recall(pool: Any, where: Filter, query: list[float], found: list[tuple[Episode, float]]) -> float:
    """Return the recall of a result, by an exact scan in this process."""
    rows = await pool.fetch(
        "SELECT embedding FROM convostore.episode WHERE tenant_id = $1 AND agent_id = $2 AND customer_profile_id = $3",
        *where,
    )
    scores = sorted((_cosine(query, row["embedding"]) for row in rows), reverse=True)
    worst = scores[:_FOUND][-1] - _ROUNDING
    return sum(_cosine(query, item.embedding or []) >= worst for item, _ in found) / _FOUND


def _cosine(a: list[float], b: list[float]) -> float:
    return float(sum(map(mul, a, b)) / sqrt(sum(map(mul, a, a)) * sum(map(mul, b, b))))


OPERATIONS = {"episode-add": add, "episodes-add-two": add_two, "vector-search": search}

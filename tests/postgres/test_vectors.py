"""Vector search on PostgreSQL: the plans it gets, large spaces with an index, and what happens around it."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from datetime import timedelta
from random import Random
from typing import Any
from uuid import UUID, uuid4

import pytest

from convostore.domain.scoring import cosine
from convostore.embedded import Embedded
from convostore.errors import ConflictError, ValidationError
from convostore.models import Episode
from convostore.operations.reembedding import reembed
from convostore.postgres import PostgresMemoryStore, create_pool, migrate, reindexing, spaces, vector_statements
from convostore.postgres.hybrid import fused
from convostore.postgres.reindexing import reindex
from convostore.postgres.vector_statements import EPISODES, FIXED, VectorStatements, numbered
from convostore.postgres.vectors import Search, margin
from convostore.replay.embedder import HashingEmbedder
from convostore.testing.factories import at, make_episode
from tests.counting import Counted
from tests.postgres.databases import connected, fresh_database

BIG, AGENT, CUSTOMER, SESSION, GROUP = (UUID(int=n) for n in range(1, 6))
DIMENSIONS, LONG = 300, 1_300
MANY = 2_500
SINCE, UNTIL = at(1), at(1) + timedelta(hours=20)
LARGE = 200
"""In these tests a space is large from here on."""


ROWS = """
INSERT INTO convostore.episode (
    tenant_id, id, agent_id, customer_profile_id, session_id, group_id, content, content_type, source, language,
    embedding, embedding_model, importance, entity_ids, metadata, occurred_at, recorded_at)
SELECT {tenant}, CASE WHEN $1::uuid IS NOT NULL THEN gen_random_uuid() END, $2,
       CASE n % 6 WHEN 0 THEN $3 ELSE gen_random_uuid() END, CASE n % 99 WHEN 0 THEN $4 ELSE gen_random_uuid() END,
       CASE n % 99 WHEN 0 THEN $5 ELSE gen_random_uuid() END, 'tea', 'message', 'user', 'simple',
       ARRAY(SELECT random() - 0.5 FROM generate_series(1, $6 + 0 * n))::vector, 'm', 0.5, '{{}}', '{{}}',
       $7::timestamptz + n * interval '1 minute', now()
FROM generate_series(1, $8) AS n
"""
"""As many rows as the plans of large tables need: one by one through the store would take longer than the tests."""


@pytest.fixture(scope="module")
async def filled(server: Embedded) -> AsyncIterator[str]:
    """A database with a tenant of 2,500 short and 30 long vectors, and 200 tenants of 5."""
    async with fresh_database(server.postgres_dsn) as dsn:
        await migrate(dsn)
        async with connected(dsn) as admin, await create_pool(dsn) as pool:
            store, dice = PostgresMemoryStore(pool), Random(1)
            await store.add_episode(episode(dice, 0))
            for number in range(30):
                await store.add_episode(episode(dice, number, dimensions=LONG))
            owners = (BIG, AGENT, CUSTOMER, SESSION, GROUP)
            for tenant, count in (("$1", MANY), ("md5((n % 200)::text)::uuid", 1_000)):
                await admin.execute(ROWS.format(tenant=tenant), *owners, DIMENSIONS, SINCE, count)
            await admin.execute("VACUUM ANALYZE convostore.episode")
            # A table that is written to never is all visible, which is where index-only scans are cheapest.
            await admin.execute(ROWS.format(tenant="gen_random_uuid()"), *owners, DIMENSIONS, SINCE, 1)
            await admin.execute("ANALYZE convostore.episode")
        yield dsn


def episode(dice: Random, number: int, *, dimensions: int = DIMENSIONS, tenant: UUID = BIG) -> Episode:
    """Make an episode; one in six is the customer's, the session's and the group's."""
    mine = number % 6 == 0
    return make_episode(
        tenant,
        AGENT,
        embedding=[dice.gauss(0, 1) for _ in range(dimensions)],
        embedding_model="m",
        customer_profile_id=CUSTOMER if mine else uuid4(),
        session_id=SESSION if mine else uuid4(),
        group_id=GROUP if mine else uuid4(),
        occurred_at=at(1 + number % 9),
    )


@pytest.fixture
async def large(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a space be large from 200 episodes on."""
    for module in (spaces, vector_statements, reindexing):
        monkeypatch.setattr(module, "EXACT_ROWS", LARGE)


async def plan(
    dsn: str, statement: str, *values: Any, dimensions: int = DIMENSIONS, mode: str = "force_generic_plan"
) -> str:
    """Return the plan that the application gets, by default for any values."""
    query = [1.0] * dimensions
    parameters = [BIG, query, 10, 0, -1.0, margin(dimensions), dimensions, *values]
    texts = ", ".join("NULL" if value is None else f"'{value}'" for value in parameters)
    async with connected(dsn, role="convostore_app", plan_cache_mode=mode) as connection:
        await connection.execute(f"PREPARE search AS {statement}")
        lines = await connection.fetch(f"EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF) EXECUTE search({texts})")
    return "\n".join(line for (line,) in lines if "never executed" not in line)


FILTERS: dict[tuple[str, ...], list[Any]] = {
    ("agent_id",): [AGENT],
    ("agent_id", "customer_profile_id"): [AGENT, CUSTOMER],
    ("agent_id", "customer_profile_id", "since", "until"): [AGENT, CUSTOMER, SINCE, UNTIL],
    ("agent_id", "customer_profile_id", "since"): [AGENT, CUSTOMER, SINCE],
    ("agent_id", "customer_profile_id", "until"): [AGENT, CUSTOMER, UNTIL],
    ("agent_id", "since"): [AGENT, SINCE],
    ("agent_id", "since", "until"): [AGENT, SINCE, UNTIL],
    ("agent_id", "content_type", "as_of"): [AGENT, "message", SINCE],
}


@pytest.mark.parametrize("filters", FILTERS)
async def test_an_exact_search_reads_the_covering_index_alone(filled: str, filters: tuple[str, ...]) -> None:
    text = await plan(filled, VectorStatements(EPISODES).nearest(filters, covered=True), *FILTERS[filters])
    assert set(re.findall(r"Scan using (\w+) on episode", text)) == {"episode_direction_idx", "episode_pkey"}
    assert "Index Only Scan using episode_direction_idx" in text
    assert "Heap Fetches: 0" in text
    assert "Seq Scan" not in text
    assert "Bitmap" not in text


@pytest.mark.parametrize("name", ["session_id", "group_id", "embedding_model"])
@pytest.mark.parametrize("dimensions", [DIMENSIONS, LONG])
async def test_no_search_scans_the_table(filled: str, name: str, dimensions: int) -> None:
    covered = dimensions == DIMENSIONS
    values = {"session_id": SESSION, "group_id": GROUP, "embedding_model": "m"}
    statement = VectorStatements(EPISODES).nearest(("agent_id", name), covered=covered)
    text = await plan(filled, statement, AGENT, values[name], dimensions=dimensions)
    assert "Seq Scan" not in text
    assert "episode_pkey" in text


async def test_long_vectors_are_found_by_an_index(filled: str) -> None:
    text = await plan(filled, VectorStatements(EPISODES).nearest(("agent_id",), covered=False), AGENT, dimensions=LONG)
    assert "episode_long_direction_idx" in text
    assert "Seq Scan" not in text


async def test_a_hybrid_search_reads_the_indexes_of_both_searches(filled: str) -> None:
    exact = VectorStatements(EPISODES).nearest(("agent_id",), covered=True)
    search = Search(exact, (None,) * (FIXED + 1), numbered(("agent_id",)))
    text = await plan(filled, fused(search, context=False), AGENT, "tea", "{tea}", "simple", 0.5, None, None, 10, 0)
    assert set(re.findall(r"Scan using (\w+) on episode", text)) == {"episode_direction_idx", "episode_pkey"}
    assert "Heap Fetches: 0" in text
    assert "Seq Scan" not in text


@pytest.mark.parametrize("mode", ["force_generic_plan", "force_custom_plan"])
@pytest.mark.parametrize(
    "filters", [("agent_id", "customer_profile_id"), ("agent_id", "customer_profile_id", "content_type")]
)
async def test_neighbours_are_read_by_the_index_of_their_session(
    filled: str, filters: tuple[str, ...], mode: str
) -> None:
    exact = VectorStatements(EPISODES).nearest(filters, covered=True)
    search = Search(exact, (None,) * (FIXED + len(filters)), numbered(filters))
    values = [*[AGENT, CUSTOMER, "message"][: len(filters)], "tea", "{tea}", "simple", 0.5, None, None, 10, 0, 3]
    text = await plan(filled, fused(search, context=True), *values, mode=mode)
    scans = re.findall(r"Scan(?: Backward)? using (\w+) on episode", text)
    assert scans.count("episode_session_id_idx") == 2
    assert {*scans} <= {"episode_direction_idx", "episode_pkey", "episode_session_id_idx"}
    assert "Seq Scan" not in text
    assert "Bitmap" not in text
    # Of 100 candidates and more, a few turns each on either side.
    rows = [float(rows) for rows in re.findall(r"using episode_session_id_idx .* rows=([\d.]+) loops", text)]
    assert len(rows) == 2
    assert max(rows) <= 3


@pytest.mark.usefixtures("large")
async def test_a_large_space_gets_an_index_that_searches_use_until_it_is_small_again(filled: str) -> None:
    seen: list[str] = []
    done = await reindex(filled, watch=lambda space, phase, share: seen.append(f"{space.dimensions} {phase} {share}"))
    (name,) = done.built
    assert name == spaces.table_name(BIG, DIMENSIONS)
    assert seen[0].startswith(f"{DIMENSIONS} copying ")
    assert (await reindex(filled)).kept == [name]

    statement = VectorStatements(EPISODES).approximate(("agent_id",), name, 100, covered=True)
    text = await plan(filled, statement, AGENT, None)
    assert f"Index Scan using {name}_hnsw" in text
    assert set(re.findall(r"Scan using (\w+) on episode", text)) == {"episode_direction_idx", "episode_pkey"}
    assert "Seq Scan" not in text
    # What the filters leave is counted and not sorted.
    assert re.search(r"rows=2[45]\d\d", text) is None

    async with connected(filled) as admin, await create_pool(filled) as pool:
        known = spaces.Spaces(PostgresMemoryStore(pool)._database)
        assert await known.has(name)
        await admin.execute(
            "UPDATE pg_index SET indisvalid = false WHERE indexrelid = $1::regclass", f"convostore.{name}_hnsw"
        )
        known.forget()
        assert not await known.has(name)
        assert (await reindex(filled)).built == [name]
        await admin.execute("DELETE FROM convostore.episode WHERE tenant_id = $1 AND dimensions = $2", BIG, DIMENSIONS)
        assert await admin.fetch(f"SELECT FROM convostore.{name}") == []
        done = await reindex(filled)
        assert (done.built, done.dropped, done.kept) == ([], [name], [])
        assert await admin.fetchval("SELECT to_regclass($1)", f"convostore.{name}") is None


async def test_one_process_at_a_time_builds_indexes(filled: str) -> None:
    async with connected(filled) as other:
        await other.execute("SELECT pg_advisory_lock($1)", reindexing._LOCK)
        with pytest.raises(ConflictError):
            await reindex(filled)
    with pytest.raises(ValidationError, match="memory"):
        await reindex(filled, memory="a lot")


@pytest.fixture
async def indexed(server: Embedded, large: None) -> AsyncIterator[tuple[PostgresMemoryStore, list[Episode]]]:
    """A store with an index for 400 episodes of one tenant, and those."""
    async with fresh_database(server.postgres_dsn) as dsn:
        await migrate(dsn)
        async with await create_pool(dsn) as pool:
            store, dice = PostgresMemoryStore(pool), Random(2)
            episodes = [episode(dice, number) for number in range(400)]
            for item in episodes:
                await store.add_episode(item)
            assert len((await reindex(dsn)).built) == 1
            yield store, episodes


def nearest(query: list[float], episodes: list[Episode], limit: int) -> list[tuple[UUID, float]]:
    """Return what a search must find."""
    scored = [(item.id, cosine(query, item.embedding or [])) for item in episodes]
    return sorted(scored, key=lambda pair: (-pair[1], pair[0]))[:limit]


async def test_approximate_searches_find_what_is_there(indexed: tuple[PostgresMemoryStore, list[Episode]]) -> None:
    store, episodes = indexed
    dice, hits, wanted, counted = Random(3), 0, 0, Counted()
    for _ in range(20):
        query = [dice.gauss(0, 1) for _ in range(DIMENSIONS)]
        # More than 200 remain, so that is approximate; 67 remain, and that is exact; deep pages are exact too.
        for filters, left in (
            ({}, episodes),
            ({"embedding_model": "m"}, episodes),
            ({"customer_profile_id": CUSTOMER}, [e for e in episodes if e.customer_profile_id == CUSTOMER]),
        ):
            found = await store.vector_search_episodes(query, BIG, AGENT, min_score=-1.0, **filters)
            expected = nearest(query, left, 10)
            assert len(found) == 10
            hits += len({item.id for item, _ in found} & {item for item, _ in expected})
            wanted += 10
            if len(left) <= LARGE:
                assert [item.id for item, _ in found] == [item for item, _ in expected]
        found = await store.vector_search_episodes(query, BIG, AGENT, min_score=-1.0, limit=400)
        scores = [score for _, score in nearest(query, episodes, 400)]
        assert [score for _, score in found] == pytest.approx(scores, abs=2e-6)
    assert hits >= 0.99 * wanted
    searches = counted["convostore.vector.searches"]
    assert searches == {("memory", "vector_search_episodes", how): 40 for how in ("approximate", "exact")}


async def test_a_search_is_exact_when_the_index_returns_too_few(
    indexed: tuple[PostgresMemoryStore, list[Episode]],
) -> None:
    store, episodes = indexed
    away = [-value for value in episodes[0].embedding or []]
    for _ in range(5):
        await store.add_episode(make_episode(BIG, AGENT, content_type="fact", embedding=away))
    found = await store.vector_search_episodes(
        episodes[0].embedding or [], BIG, AGENT, content_type="fact", min_score=-1
    )
    assert [score for _, score in found] == [-1.0] * 5


async def test_searches_return_every_row_that_concurrent_writes_leave_alone(
    indexed: tuple[PostgresMemoryStore, list[Episode]],
) -> None:
    store, episodes = indexed
    query, dice = [1.0] * DIMENSIONS, Random(4)
    best = [item for item, _ in nearest(query, episodes, 5)]
    others = [item for item in episodes if item.id not in best]
    stop = asyncio.Event()

    async def disturb() -> None:
        while not stop.is_set():
            item = dice.choice(others)
            if await store.delete_episode(BIG, item.id):
                await store.add_episode(item)

    tasks = [asyncio.create_task(disturb()) for _ in range(3)]
    try:
        for number in range(60):
            filters: dict[str, Any] = {} if number % 2 else {"embedding_model": "m"}
            found = await store.vector_search_episodes(query, BIG, AGENT, min_score=-1.0, limit=8, **filters)
            assert [item.id for item, _ in found[:5]] == best
            assert len(found) == 8
            assert found == sorted(found, key=lambda pair: (-pair[1], pair[0].id))
    finally:
        stop.set()
        await asyncio.gather(*tasks)


async def test_reembedding_runs_beside_searches_and_resumes_after_an_interruption(
    server: Embedded,
) -> None:
    tenant, agent = uuid4(), uuid4()
    old, new = HashingEmbedder(16), HashingEmbedder(24)
    async with await create_pool(server.postgres_dsn) as pool:
        store = PostgresMemoryStore(pool)
        texts = [f"tea number {number}" for number in range(25)]
        for text in texts:
            await store.add_episode(
                make_episode(tenant, agent, content=text, embedding=old.embed(text), embedding_model=old.model)
            )
        calls: list[int] = []

        def embedder(batch: list[str]) -> list[list[float]]:
            if len(calls) == 2:
                calls.append(0)
                raise RuntimeError("out of credit")
            calls.append(len(batch))
            return [new.embed(text) for text in batch]

        with pytest.raises(RuntimeError):
            await reembed(store, tenant, embedder, new.model, batch=10)
        for model, count in ((old, 25), (new, 20)):
            found = await store.vector_search_episodes(
                model.embed(texts[0]), tenant, agent, embedding_model=model.model, limit=100, min_score=-1.0
            )
            assert len(found) == count
        late = make_episode(tenant, agent, content="late", embedding=old.embed("late"), embedding_model=old.model)

        async def slow(batch: list[str]) -> list[list[float]]:
            if not await store.get_episode(tenant, late.id):
                await store.add_episode(late)
            return embedder(batch)

        assert await reembed(store, tenant, slow, new.model, batch=10) == 26
        assert sum(calls) == 26
        episodes = await store.get_episodes(tenant, agent)
        assert {item.embedding_model for item in episodes} == {new.model}
        for item in episodes:
            assert item.embedding == pytest.approx(new.embed(item.content), abs=1e-6)
        with pytest.raises(ValidationError, match="embedder"):
            await reembed(store, tenant, lambda batch: [], "third")

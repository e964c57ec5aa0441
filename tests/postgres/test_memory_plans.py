"""What memory reads: no table as a whole, nothing of other tenants, no sort where an index has the order."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from convostore.domain.declaration import Declaration
from convostore.domain.declarations import ENTITY, EPISODE, RELATIONSHIP
from convostore.domain.text import read_name
from convostore.embedded import Embedded
from convostore.gateway.memory import EntityFilter, Filter
from convostore.gateway.table import valid_at
from convostore.postgres import PostgresMemoryStore, create_pool, migrate
from convostore.postgres.checking import prepare
from convostore.postgres.mapping import RowMapping
from convostore.postgres.memory import names
from convostore.postgres.queries import queries
from convostore.postgres.statements import Statements, split
from convostore.postgres.vector_statements import EPISODES, VectorStatements
from convostore.postgres.vectors import margin
from convostore.testing.factories import MOMENT, make_entity, make_episode, make_relationship
from tests.postgres.databases import connected, fresh_database

MINE, OTHERS = 300, 20


class Filled:
    """A database in which one tenant has some hundred rows of each kind, and twenty others have as many."""

    def __init__(self, dsn: str, tenant: UUID, agent: UUID, connection: Any) -> None:
        self.dsn = dsn
        self.tenant = tenant
        self.agent = agent
        self.connection = connection

    async def plan(self, statement: str, *parameters: Any) -> list[dict[str, Any]]:
        """Run a statement and return the nodes of its plan."""
        text = await self.connection.fetchval(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {statement}", *parameters)
        return list(nodes(json.loads(text)[0]["Plan"]))

    async def row(self, statement: str) -> Any:
        """Return the first row of a statement that sees the tenant's rows alone."""
        async with self.connection.transaction():
            await self.connection.execute("SELECT convostore.bind($1)", self.tenant)
            return await self.connection.fetchrow(statement)


def nodes(plan: dict[str, Any]) -> Any:
    """Yield the nodes of a plan, but for those that bind the tenant."""
    yield plan
    for child in plan.get("Plans", []):
        if child["Node Type"] != "Subquery Scan" or child["Parent Relationship"] != "InitPlan":
            yield from nodes(child)


@pytest.fixture(scope="module")
async def filled(server: Embedded) -> AsyncIterator[Filled]:
    async with fresh_database(server.postgres_dsn) as dsn:
        await migrate(dsn)
        async with await create_pool(dsn, max_size=1) as pool:
            store, agent = PostgresMemoryStore(pool, timeout=60), uuid4()
            tenants = [uuid4() for _ in range(OTHERS + 1)]
            for tenant in tenants:
                # Tenants remember at the same time: the planner takes the columns for independent, and here they are.
                moments = [MOMENT + timedelta(seconds=number) for number in range(MINE)]
                episodes = [
                    make_episode(tenant, agent, session_id=uuid4(), content="tea", recorded_at=moment)
                    for moment in moments
                ]
                entities = [
                    make_entity(tenant, agent, name=f"entity {n}", entity_type=f"type {n % 3}") for n in range(MINE)
                ]
                edges = [
                    make_relationship(a, b, relation_type=a.entity_type)
                    for a, b in zip(entities, entities[1:] + entities[:1], strict=True)
                ]
                await store.add_episodes(episodes)
                await store.add_entities(entities)
                await store.add_relationships(edges)
            async with connected(dsn) as admin:
                await admin.execute("VACUUM ANALYZE")
            async with pool.acquire() as connection:
                await prepare(connection)
                yield Filled(dsn, tenants[0], agent, connection)


LISTS = [
    (EPISODE, {}, "episode_agent_id_idx"),
    (EPISODE, {"customer_profile_id": uuid4()}, "episode_customer_profile_id_idx"),
    (EPISODE, {"session_id": uuid4()}, "episode_session_id_idx"),
    (EPISODE, {"group_id": uuid4()}, "episode_group_id_idx"),
    (EPISODE, {"content_type": "message", **valid_at(MOMENT)}, "episode_agent_id_idx"),
    (ENTITY, {}, "entity_agent_id_idx"),
    (ENTITY, {"entity_type": "type 1"}, "entity_entity_type_idx"),
    (ENTITY, {"customer_profile_id": uuid4()}, "entity_customer_profile_id_idx"),
    (RELATIONSHIP, {**valid_at(MOMENT)}, "relationship_agent_id_idx"),
    (RELATIONSHIP, {"relation_type": "type 1"}, "relationship_relation_type_idx"),
    (RELATIONSHIP, {"from_entity_id": uuid4()}, "relationship_from_entity_id_idx"),
    (RELATIONSHIP, {"to_entity_id": uuid4()}, "relationship_to_entity_id_idx"),
]


@pytest.mark.parametrize(("declaration", "where", "index"), LISTS, ids=lambda value: getattr(value, "name", None))
async def test_a_list_is_a_scan_of_the_index_with_its_order(
    filled: Filled, declaration: Declaration[Any], where: dict[str, Any], index: str
) -> None:
    mapping = RowMapping(declaration)
    shape, values = split({"agent_id": filled.agent, **where})
    # A limit that leaves rows over: otherwise a sort of the few that there are is as good.
    await filled.connection.execute("SET plan_cache_mode = force_generic_plan")
    plan = await filled.plan(Statements(declaration, mapping).select(shape), filled.tenant, *values, 5, 0)
    assert {node["Node Type"] for node in plan} <= {"Limit", "Result", "Index Scan", "Index Only Scan"}
    assert [node["Index Name"] for node in plan if "Index Name" in node] == [index]


async def test_a_page_after_a_cursor_reads_at_most_two_pages_of_rows(filled: Filled) -> None:
    statement = Statements(EPISODE, RowMapping(EPISODE)).select((("agent_id", "{} = {}"),), after=True)
    middle = await filled.row("SELECT recorded_at, id FROM convostore.episode ORDER BY recorded_at DESC, id OFFSET 150")
    await filled.connection.execute("SET plan_cache_mode = force_custom_plan")
    plan = await filled.plan(statement, filled.tenant, filled.agent, 10, 0, *middle)
    scans = [node for node in plan if "Index Name" in node]
    assert {node["Index Name"] for node in scans} == {"episode_agent_id_idx"}
    assert sum(node["Actual Rows"] for node in scans) <= 20


async def test_text_search_reads_the_agents_episodes_and_no_others(filled: Filled) -> None:
    # All episodes of all tenants hold the word; those of one agent are found among them.
    stranger = uuid4()
    buffers = {}
    for name, tenant in (("mine", filled.tenant), ("nobody", stranger)):
        query = queries("memory").text_search_episodes(
            tenant_id=tenant,
            agent_id=filled.agent,
            query="tea",
            terms=["tea"],
            every=False,
            language="simple",
            **Filter()._asdict(),
            limit=5,
            offset=0,
        )
        await filled.plan(*query)
        plan = await filled.plan(*query)
        buffers[name] = plan[0]["Shared Hit Blocks"] + plan[0]["Shared Read Blocks"]
        assert not [node for node in plan if node["Node Type"] == "Seq Scan"]
    pages = await filled.connection.fetchval("SELECT pg_relation_size('convostore.episode') / 8192")
    assert buffers["nobody"] < 60 < pages
    assert buffers["mine"] < pages / 4 + 60


@pytest.mark.parametrize("mode", ["force_custom_plan", "force_generic_plan"])
async def test_text_search_reads_by_their_keys_what_it_returns(filled: Filled, mode: str) -> None:
    await filled.connection.execute(f"SET plan_cache_mode = {mode}")
    query = queries("memory").text_search_episodes(
        tenant_id=filled.tenant,
        agent_id=filled.agent,
        query="tea",
        terms=["tea"],
        every=False,
        language=None,
        **Filter()._asdict(),
        limit=5,
        offset=0,
    )
    read = [node for node in await filled.plan(*query) if node.get("Relation Name") == "episode"]
    assert [(node["Index Name"], node["Actual Rows"] * node["Actual Loops"]) for node in read] == [("episode_pkey", 5)]


@pytest.mark.parametrize("customer", [None, uuid4()], ids=["agent", "customer"])
async def test_names_are_looked_for_among_the_agents_entities_alone(filled: Filled, customer: UUID | None) -> None:
    name = read_name("entity 7")
    only = EntityFilter(filled.agent, None, customer, None, None)
    searched = {"tenant_id": filled.tenant, **only._asdict(), **names(name), "limit": 5, "offset": 0, "min_score": 0.0}
    for embedding in (None, [1.0, 0.0]):
        plan = await filled.plan(*queries("memory").find_entities(**searched, embedding=embedding))
        scans = [node for node in plan if node.get("Relation Name") == "entity" and node["Actual Loops"]]
        assert {scan["Node Type"] for scan in scans} <= {"Index Scan", "Bitmap Heap Scan"}
        assert sum(scan["Actual Rows"] + scan.get("Rows Removed by Filter", 0) for scan in scans) <= MINE


async def test_of_an_agents_entities_those_are_read_whose_names_match(filled: Filled) -> None:
    read = (
        "SELECT seq_scan, idx_scan, idx_tup_fetch FROM pg_stat_xact_user_tables "
        "WHERE schemaname = 'convostore' AND relname = 'entity'"
    )
    async with filled.connection.transaction():
        await filled.connection.execute("SELECT convostore.bind($1)", filled.tenant)
        before = await filled.connection.fetchrow(read)
        function = "SELECT count(*) FROM convostore.named_entities($1, $2, '29', '{29}')"
        found = await filled.connection.fetchval(function, filled.tenant, filled.agent)
        after = await filled.connection.fetchrow(read)
    # 29, and 290 to 299.
    assert (found, [b - a for a, b in zip(before, after, strict=True)]) == (11, [0, 1, 11])


async def test_the_text_search_function_scans_indexes_alone(filled: Filled) -> None:
    counted = (
        "SELECT relname, coalesce(idx_scan, 0) AS scans FROM pg_stat_xact_user_tables WHERE relname = 'episode' "
        "UNION ALL SELECT 'sequential', seq_scan FROM pg_stat_xact_user_tables WHERE relname = 'episode'"
    )
    async with filled.connection.transaction():
        await filled.connection.execute("SELECT convostore.bind($1)", filled.tenant)
        before = dict(await filled.connection.fetch(counted))
        await filled.connection.fetch(
            "SELECT * FROM convostore.scored_episodes($1, $2, 'tea', '{tea}', false, 'simple', "
            "NULL, NULL, NULL, NULL, NULL, NULL, NULL, 5)",
            *(filled.tenant, filled.agent),
        )
        after = dict(await filled.connection.fetch(counted))
    # The latest of the scope, and what matches.
    assert (after["episode"] - before["episode"], after["sequential"] - before["sequential"]) == (2, 0)


@pytest.mark.parametrize("depth", [1, 4])
@pytest.mark.parametrize("mode", ["force_custom_plan", "force_generic_plan"])
async def test_a_traversal_reads_its_edges_and_no_others(filled: Filled, depth: int, mode: str) -> None:
    await filled.connection.execute(f"SET plan_cache_mode = {mode}")
    (start,) = await filled.row("SELECT id FROM convostore.entity WHERE name = 'entity 100'")
    query = queries("memory").traverse(
        tenant_id=filled.tenant,
        entity_ids=[start],
        relation_types=None,
        as_of=MOMENT,
        max_depth=depth,
        with_entities=True,
    )
    plan = await filled.plan(*query)
    scans = [node for node in plan if node.get("Relation Name") in ("relationship", "entity")]
    assert not [node for node in scans if node["Node Type"] == "Seq Scan"]
    # On a ring: two edges and two nodes for each step, each edge seen from both ends and fetched once.
    assert sum(node["Actual Rows"] * node["Actual Loops"] for node in scans) <= 12 * depth + 4


CUSTOMERS, EACH, WIDE = 64, 200, 128
TEA = """
INSERT INTO convostore.episode (
    tenant_id, id, agent_id, customer_profile_id, group_id, content, content_type, source, language, embedding,
    embedding_model, importance, entity_ids, metadata, occurred_at, recorded_at)
SELECT $1, gen_random_uuid(), $2, md5((n % $3::integer)::text)::uuid, gen_random_uuid(), 'tea', 'message', 'user',
       'simple', ARRAY(SELECT random() - 0.5 FROM generate_series(1, $5 + 0 * n))::vector, 'm', 0.5, '{}', '{}',
       $6::timestamptz + n * interval '1 minute', now()
FROM generate_series(1, $3::integer * $4::integer) AS n
"""
TIMES = ((), ("since",), ("until",), ("since", "until"))


@pytest.mark.parametrize("statistics", [None, "ANALYZE", "VACUUM ANALYZE"])
async def test_a_search_reads_the_part_of_the_covering_index_that_is_a_customers_or_an_agents(
    server: Embedded, statistics: str | None
) -> None:
    # One tenant and one agent: any condition on them alone is true of every row.
    tenant, agent = uuid4(), uuid4()
    async with fresh_database(server.postgres_dsn) as dsn:
        await migrate(dsn)
        async with connected(dsn) as admin:
            await admin.execute("ALTER TABLE convostore.episode SET (autovacuum_enabled = false)")
            await admin.execute(TEA, tenant, agent, CUSTOMERS, EACH, WIDE, MOMENT)
            if statistics:
                await admin.execute(f"{statistics} convostore.episode")
            customer = await admin.fetchval("SELECT customer_profile_id FROM convostore.episode LIMIT 1")
        times = {"since": MOMENT + timedelta(days=1), "until": MOMENT + timedelta(days=3)}
        filters = {"customer_profile_id": customer, **times}
        for mode in ("force_custom_plan", "force_generic_plan", "auto"):
            for more in (*TIMES, *(("customer_profile_id", *each) for each in TIMES)):
                given = {"agent_id": agent, **{name: filters[name] for name in more}}
                values = [tenant, [1.0] * WIDE, 10, 0, -1.0, margin(WIDE), WIDE, *given.values()]
                literals = ", ".join(f"'{value}'" for value in values)
                async with connected(dsn, role="convostore_app", plan_cache_mode=mode) as fresh:
                    search = VectorStatements(EPISODES).nearest(tuple(given), covered=True)
                    await fresh.execute(f"PREPARE search AS {search}")
                    text = await fresh.fetchval(f"EXPLAIN (ANALYZE, FORMAT JSON) EXECUTE search({literals})")
                plan = nodes(json.loads(text)[0]["Plan"])
                scans = [node for node in plan if node.get("Relation Name") == "episode" and node["Actual Loops"]]
                ranked = [node for node in scans if node.get("Index Name") != "episode_pkey"]
                assert [node.get("Index Name") for node in ranked] == ["episode_direction_idx"], (mode, more)
                assert ranked[0]["Node Type"] == "Index Only Scan"
                most = EACH if "customer_profile_id" in more else CUSTOMERS * EACH
                assert ranked[0]["Actual Rows"] + ranked[0].get("Rows Removed by Filter", 0) <= most

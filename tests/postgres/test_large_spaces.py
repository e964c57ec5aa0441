"""Tables of large spaces: equal to the episodes whatever is written, wherever a build ends, and however they go."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest

from convostore import open_stores
from convostore.domain.scoring import cosine
from convostore.embedded import Embedded
from convostore.models import Episode
from convostore.postgres import PostgresMemoryStore, create_pool, migrate, reindexing, spaces, vector_statements
from convostore.postgres.large_spaces import Steps
from convostore.postgres.reindexing import reindex
from convostore.testing.factories import make_agent, make_episode, make_profile, make_session
from tests.cluster.nodes import eventually
from tests.postgres.composing import turns_on
from tests.postgres.databases import connected, fresh_database

AGENT, CUSTOMER = UUID(int=2), UUID(int=3)
SPACES = (3, 4)
"""The numbers of dimensions in these tests."""

COPIED = (
    "tenant_id, id, agent_id, customer_profile_id, session_id, group_id, content_type, model_hash, occurred_at, "
    "valid_from, valid_to, dimensions, direction::text"
)

HELD = "UPDATE convostore.episode SET {} WHERE tenant_id = $1 AND id = $2"
GONE = "DELETE FROM convostore.episode WHERE tenant_id = $1 AND id = $2"

NEW = """
INSERT INTO convostore.episode (
    tenant_id, id, agent_id, group_id, content, content_type, source, language, embedding, embedding_model, importance,
    entity_ids, metadata, occurred_at, recorded_at)
SELECT tenant_id, gen_random_uuid(), agent_id, group_id, content, content_type, source, language, '[1,2,3]', 'n',
       importance, entity_ids, metadata, occurred_at, recorded_at
FROM convostore.episode WHERE tenant_id = $1 AND id = $2
"""

ENDS = pytest.mark.parametrize(
    ("statement", "end"),
    [
        (GONE, "commit"),
        (HELD.format("embedding = NULL"), "rollback"),
        *(
            pytest.param(statement, end, marks=pytest.mark.trust)
            for statement, end in (
                (GONE, "rollback"),
                (HELD.format("embedding = NULL"), "commit"),
                (HELD.format("embedding = '[1,2,3,4]'"), "commit"),
                (HELD.format("embedding = '[1,2,3,4]'"), "rollback"),
                (HELD.format("valid_to = now()"), "commit"),
            )
        ),
    ],
)
"""What another transaction does to an episode, and how it ends."""


@dataclass
class Place:
    """A database in which a tenant's spaces become large when a test says so."""

    dsn: str
    admin: Any
    pool: asyncpg.Pool[Any]
    tenant: UUID
    patch: pytest.MonkeyPatch

    @property
    def store(self) -> PostgresMemoryStore:
        """A store that has read no catalogue yet."""
        return PostgresMemoryStore(self.pool, timeout=30)

    def large_from(self, episodes: int) -> None:
        """Let a space be large that has more episodes."""
        for module in (spaces, vector_statements, reindexing):
            self.patch.setattr(module, "EXACT_ROWS", episodes)

    async def differences(self, dimensions: int) -> int | None:
        """Return how many rows a space's table has too many and too few; None without a table."""
        name = f"convostore.{spaces.table_name(self.tenant, dimensions)}"
        if await self.admin.fetchval("SELECT to_regclass($1)", name) is None:
            return None
        own = f"SELECT {COPIED} FROM convostore.episode WHERE tenant_id = $1 AND dimensions = $2"
        copies = f"SELECT {COPIED} FROM {name}"
        found: int = await self.admin.fetchval(
            f"SELECT count(*) FROM (({own} EXCEPT ALL {copies}) UNION ALL ({copies} EXCEPT ALL {own})) AS d",
            self.tenant,
            dimensions,
        )
        return found

    async def search_is_exact(self, store: PostgresMemoryStore, dice: Random) -> None:
        """Compare a search with all there is."""
        query = [dice.gauss(0, 1) for _ in range(3)]
        episodes = [e for e in await store.get_episodes(self.tenant, AGENT, limit=1_000) if len(e.embedding or []) == 3]
        scores = sorted((cosine(query, e.embedding or []) for e in episodes), reverse=True)[:5]
        found = await store.vector_search_episodes(query, self.tenant, AGENT, limit=5, min_score=-1.0)
        assert [score for _, score in found] == pytest.approx(scores, abs=2e-6)


@pytest.fixture(params=["engines", pytest.param("postgres16", marks=pytest.mark.trust)], ids=["18", "16"])
def server(request: pytest.FixtureRequest) -> Embedded:
    """Each version, of which one is enough by default."""
    opened: Embedded = request.getfixturevalue(request.param)
    return opened


@pytest.fixture
async def place(server: Embedded, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Place]:
    async with fresh_database(server.postgres_dsn) as dsn:
        await migrate(dsn)
        async with connected(dsn) as admin, await create_pool(dsn) as pool:
            yield Place(dsn, admin, pool, uuid4(), monkeypatch)


def episode(tenant: UUID, dice: Random, dimensions: int = 3) -> Episode:
    """Make an episode with a random embedding."""
    return make_episode(
        tenant,
        AGENT,
        customer_profile_id=dice.choice([CUSTOMER, uuid4(), None]),
        embedding=[dice.gauss(0, 1) for _ in range(dimensions)],
        embedding_model=dice.choice(["a", "b"]),
    )


async def write(place: Place, store: PostgresMemoryStore, dice: Random, mine: list[Episode]) -> None:
    """Write something at random among the episodes that a writer has for itself."""
    victim = dice.choice(mine)
    what = dice.randrange(8)
    if what < 3 or len(mine) < 5:
        added = [episode(place.tenant, dice, dice.choice(SPACES)) for _ in range(dice.randrange(1, 4))]
        await store.add_episodes(added)
        mine += added
    elif what == 3:
        await store.delete_episode(place.tenant, victim.id)
        mine.remove(victim)
    elif what == 4:
        group = [e for e in mine if e.group_id == victim.group_id]
        await store.delete_by_group(place.tenant, victim.group_id)
        mine[:] = [e for e in mine if e not in group]
    else:
        change = dice.choice(
            [
                "customer_profile_id = gen_random_uuid()",
                "embedding = NULL, embedding_model = NULL",
                "embedding = '[1,2,3]', embedding_model = 'c'",
                "embedding = '[1,2,3,4]', embedding_model = 'd'",
                "valid_to = valid_from, content = 'cake'",
            ]
        )
        async with place.pool.acquire() as connection, connection.transaction():
            await connection.execute("SELECT convostore.bind($1)", place.tenant)
            await connection.execute(HELD.format(change), place.tenant, victim.id)
            if dice.random() < 0.2:
                await connection.execute("SAVEPOINT s")
                await connection.execute(GONE, place.tenant, victim.id)
                await connection.execute("ROLLBACK TO s")


async def test_a_table_is_equal_to_its_space_after_any_history(place: Place) -> None:
    dice, store = Random(1), place.store
    mine = [episode(place.tenant, dice, number) for number in SPACES for _ in range(30)]
    await store.add_episodes(mine)
    place.large_from(10)
    assert len((await reindex(place.dsn)).built) == 2
    for number in range(150):
        await write(place, store, dice, mine)
        if number % 30 == 0:
            await place.search_is_exact(store, dice)
            await store.add_embeddings(place.tenant, "e", {e.id: [1.0, 0.0, 0.5] for e in mine})
            await store.switch_embeddings(place.tenant, "e")
    assert [await place.differences(number) for number in SPACES] == [0, 0]
    await store.delete_by_customer(place.tenant, CUSTOMER)
    assert [await place.differences(number) for number in SPACES] == [0, 0]


@pytest.mark.trust
async def test_nothing_is_lost_while_tables_are_registered_filled_built_and_dropped(place: Place) -> None:
    seed, stop, counts = Random(2), asyncio.Event(), [0]
    kept = [make_episode(place.tenant, AGENT, embedding=[1.0, n / 100, 0.0], embedding_model="k") for n in range(5)]
    store = place.store
    await store.add_episodes(kept + [episode(place.tenant, seed) for _ in range(40)])

    async def work(dice: Random) -> None:
        mine = [episode(place.tenant, dice) for _ in range(10)]
        await store.add_episodes(mine)
        while not stop.is_set():
            await write(place, store, dice, mine)
            counts[0] += 1

    async def search() -> None:
        while not stop.is_set():
            found = await store.vector_search_episodes([1.0, 0.0, 0.0], place.tenant, AGENT, embedding_model="k")
            assert [item.id for item, _ in found] == [item.id for item in kept]

    tasks = [asyncio.create_task(work(Random(n))) for n in range(4)] + [asyncio.create_task(search())]
    try:
        for _ in range(3):
            place.large_from(10)
            assert len((await reindex(place.dsn)).built) >= 1
            place.large_from(10**6)
            assert len((await reindex(place.dsn)).dropped) >= 1
        place.large_from(0)
        await reindex(place.dsn)
    finally:
        stop.set()
        await asyncio.gather(*tasks)
    assert counts[0] > 20
    assert [await place.differences(number) for number in SPACES] == [0, 0]
    await place.search_is_exact(place.store, seed)


class Dying:
    """A connection that is lost after so many statements of a build."""

    left = 0

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._connection, name)
        if name not in ("execute", "fetch", "fetchrow", "fetchval"):
            return found

        async def called(*arguments: Any) -> Any:
            result = await found(*arguments)
            Dying.left -= 1
            if Dying.left == 0:
                self._connection.terminate()
                raise asyncpg.ConnectionDoesNotExistError("killed")
            return result

        return called


async def test_a_build_that_ends_at_any_statement_is_finished_by_the_next(place: Place) -> None:
    dice, store = Random(3), place.store
    mine = [episode(place.tenant, dice) for _ in range(30)]
    await store.add_episodes(mine)
    place.large_from(10)
    place.patch.setattr(reindexing, "Steps", lambda owner, keeper, watch: Steps(Dying(owner), Dying(keeper), watch))
    deaths = 0
    for limit in (0, 10**6):  # a table is made and filled, a table is dropped
        place.large_from(limit)
        for Dying.left in range(1, 30):
            try:
                await reindex(place.dsn)
            except Exception:
                deaths += 1
            else:
                break
            await write(place, store, dice, mine)
            await place.search_is_exact(place.store, dice)
            assert (await place.differences(3) or 0) == 0 or not await place.admin.fetchval(
                "SELECT bool_or(ready) FROM convostore.large_space WHERE dimensions = 3"
            )
        else:
            pytest.fail("never finished")
        assert await place.differences(3) == (None if limit else 0)
    assert deaths >= 12


@asynccontextmanager
async def writing(place: Place, statement: str, *parameters: Any) -> AsyncIterator[Any]:
    """A transaction of the application that has run a statement, and commits unless the block ends it."""
    async with connected(place.dsn, role="convostore_app") as connection:
        transaction = connection.transaction()
        await transaction.start()
        await connection.execute("SELECT convostore.bind($1)", place.tenant)
        await connection.execute(statement, *parameters)
        yield transaction


async def registered(place: Place) -> bool:
    """Return whether a table has been registered."""
    return bool(await place.admin.fetchval("SELECT EXISTS (SELECT FROM convostore.large_space)"))


@pytest.mark.parametrize(("statement", "end"), [(NEW, "commit"), (NEW, "rollback")])
async def test_a_writer_from_before_the_registration_is_waited_for(place: Place, statement: str, end: str) -> None:
    dice = Random(4)
    mine = [episode(place.tenant, dice) for _ in range(30)]
    await place.store.add_episodes(mine)
    place.large_from(10)
    async with writing(place, statement, place.tenant, mine[0].id) as transaction:
        building = asyncio.create_task(reindex(place.dsn))
        await eventually(lambda: registered(place), "it is registered")
        late = episode(place.tenant, dice)
        await place.store.add_episode(late)
        await asyncio.wait({building}, timeout=0.05)
        assert not building.done()
        await getattr(transaction, end)()
    await building
    assert await place.differences(3) == 0


@ENDS
async def test_what_goes_while_it_is_copied_is_not_copied(place: Place, statement: str, end: str) -> None:
    dice = Random(5)
    mine = [episode(place.tenant, dice) for _ in range(30)]
    await place.store.add_episodes(mine)
    place.large_from(10)
    copy, copying, done = Steps._copy, asyncio.Event(), asyncio.Event()

    async def paused(work: Any, space: Any) -> None:
        copying.set()
        await done.wait()
        await copy(work, space)

    place.patch.setattr(Steps, "_copy", paused)
    building = asyncio.create_task(reindex(place.dsn))
    await copying.wait()
    async with writing(place, statement, place.tenant, mine[0].id) as transaction:
        done.set()
        await asyncio.wait({building}, timeout=0.05)
        assert not building.done()
        await getattr(transaction, end)()
    await building
    assert await place.differences(3) == 0


async def test_a_search_that_knows_a_table_from_before_it_was_dropped_is_exact(place: Place) -> None:
    dice, store = Random(6), place.store
    await store.add_episodes([episode(place.tenant, dice) for _ in range(30)])
    place.large_from(10)
    await reindex(place.dsn)
    await place.search_is_exact(store, dice)
    place.large_from(10**6)
    await reindex(place.dsn)
    place.large_from(10)
    await place.search_is_exact(store, dice)
    found = await store.search_episodes("tea", [1.0, 0.0, 0.0], place.tenant, AGENT)
    assert len(found) == 10


@pytest.mark.parametrize("query", [None, "tea"])
async def test_a_turn_is_loaded_by_the_table_of_a_large_space_and_without_it(place: Place, query: str | None) -> None:
    dice, turns = Random(12), turns_on(place.pool, timeout=30)
    profile = make_profile(place.tenant, id=CUSTOMER)
    session = make_session(place.tenant, agent_id=AGENT, customer_profile_id=CUSTOMER)
    await turns.profiles.save_profile(profile)
    await turns.config.save_agent(make_agent(place.tenant, id=AGENT))
    await turns.sessions.save(session)
    await turns.memory.add_episodes([episode(place.tenant, dice) for _ in range(60)])
    place.large_from(10)
    await reindex(place.dsn)
    asked: Any = {"session_id": session.session_id, "query": query, "query_embedding": [1.0, 0.0, 0.0]}
    first = await turns.load_turn(place.tenant, **asked)
    assert len(first.episodes) == 5
    assert {found.customer_profile_id for found, _ in first.episodes} == {CUSTOMER}
    place.large_from(10**6)
    await reindex(place.dsn)
    assert (await turns.load_turn(place.tenant, **asked)).episodes == first.episodes


@pytest.mark.parametrize("ready", [False, None])
async def test_a_table_that_is_not_ready_is_not_read(place: Place, ready: bool | None) -> None:
    dice, store = Random(11), place.store
    await store.add_episodes([episode(place.tenant, dice) for _ in range(30)])
    place.large_from(10)
    (name,) = (await reindex(place.dsn)).built
    await place.search_is_exact(store, dice)
    # As if it were dropped and made again since the store has read the catalogue.
    half = f"SELECT id FROM convostore.{name} ORDER BY id LIMIT 15"
    await place.admin.execute(f"DELETE FROM convostore.{name} WHERE id IN ({half}); DELETE FROM convostore.large_space")
    if ready is not None:
        await place.admin.execute("INSERT INTO convostore.large_space VALUES ($1, 3, $2)", place.tenant, ready)
    await store.add_episodes([episode(place.tenant, dice) for _ in range(20)])
    assert await place.admin.fetchval(f"SELECT count(*) FROM convostore.{name}") == (15 if ready is None else 35)
    for _ in range(5):
        await place.search_is_exact(store, dice)


async def test_a_table_shows_its_tenant_alone(place: Place) -> None:
    await place.store.add_episodes([episode(place.tenant, Random(7)) for _ in range(30)])
    place.large_from(10)
    (name,) = (await reindex(place.dsn)).built
    for tenant, count in ((place.tenant, 30), (uuid4(), 0), (None, 0)):
        async with connected(place.dsn, role="convostore_app") as connection, connection.transaction():
            await connection.execute("SELECT convostore.bind($1)", tenant)
            assert await connection.fetchval(f"SELECT count(*) FROM convostore.{name}") == count
            if not count:
                columns = "id, agent_id, group_id, content_type, occurred_at, dimensions, direction"
                with pytest.raises(asyncpg.InsufficientPrivilegeError, match="row-level security"):
                    await connection.execute(
                        f"INSERT INTO convostore.{name} (tenant_id, {columns}) "
                        "SELECT $1, $1, $1, $1, 'fact', now(), 3, '[1,0,0]'",
                        place.tenant,
                    )


@pytest.mark.trust
async def test_down_and_up_again_leaves_what_a_reindexing_needs(place: Place) -> None:
    store = place.store
    await store.add_episodes([episode(place.tenant, Random(8)) for _ in range(30)])
    place.large_from(10)
    built = (await reindex(place.dsn)).built
    await migrate(place.dsn, "0007")
    assert await place.admin.fetch("SELECT FROM pg_class WHERE starts_with(relname, 'large_space')") == []
    await store.add_episode(episode(place.tenant, Random(9)))
    await migrate(place.dsn)
    assert (await reindex(place.dsn)).built == built
    assert await place.differences(3) == 0


async def test_the_sweeper_reindexes_if_it_is_told_to(place: Place, engines: Embedded, tmp_path: Path) -> None:
    await place.store.add_episodes([episode(place.tenant, Random(10)) for _ in range(30)])
    place.large_from(10)
    given: dict[str, Any] = {"postgres_url": place.dsn, "redis_url": f"{engines.redis_url}?db=9", "sweep_every": 0.01}
    async with open_stores(**given, auto_reindex=True):
        ready = "SELECT EXISTS (SELECT FROM convostore.large_space WHERE ready)"
        await eventually(lambda: place.admin.fetchval(ready), "the table is ready")
    assert await place.differences(3) == 0

"""Embeddings of another model beside deletes: what is being deleted is skipped, and nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any
from uuid import UUID, uuid4

import pytest

from convostore.embedded import Embedded
from convostore.models import Episode
from convostore.postgres import PostgresMemoryStore
from convostore.testing.factories import make_episode
from tests.postgres.blocking import single, waiting
from tests.postgres.databases import connected

GONE = "DELETE FROM convostore.episode WHERE tenant_id = $1 AND id = $2"
SWITCHED = "UPDATE convostore.episode SET embedding_model = 'new' WHERE tenant_id = $1 AND id = $2"


async def add(store: PostgresMemoryStore, tenant: UUID, episodes: list[Episode]) -> int:
    """Add embeddings of the new model to all."""
    return await store.add_embeddings(tenant, "new", {episode.id: [1.0, 2.0] for episode in episodes})


async def switch(store: PostgresMemoryStore, tenant: UUID, _: list[Episode]) -> int:
    """Switch to the new model."""
    return await store.switch_embeddings(tenant, "new")


@pytest.mark.parametrize(
    ("work", "meanwhile"),
    [(add, GONE), (add, SWITCHED), (switch, GONE)],
    ids=["added beside a delete", "added beside a switch", "switched beside a delete"],
)
async def test_an_episode_that_goes_meanwhile_is_skipped_and_no_other(
    server: Embedded, admin: Any, work: Callable[..., Coroutine[Any, Any, int]], meanwhile: str
) -> None:
    tenant, agent = uuid4(), uuid4()
    episodes = [make_episode(tenant, agent, embedding=[1.0], embedding_model="old") for _ in range(10)]
    async with single(server.postgres_dsn) as (pool, pid), connected(server.postgres_dsn) as other:
        store = PostgresMemoryStore(pool)
        await store.add_episodes(episodes)
        if work is switch:
            await add(store, tenant, episodes)
        async with other.transaction():
            await other.execute(meanwhile, tenant, episodes[4].id)
            working = asyncio.ensure_future(work(store, tenant, episodes))
            await waiting(admin, pid)
        assert await working == 9
        beside = await admin.fetch("SELECT id FROM convostore.episode_embedding WHERE tenant_id = $1", tenant)
        assert {id for (id,) in beside} == (
            set() if work is switch else {episode.id for episode in episodes} - {episodes[4].id}
        )


async def test_a_switch_and_deletes_at_once_do_not_deadlock(server: Embedded, admin: Any) -> None:
    tenant, agent = uuid4(), uuid4()
    episodes = [make_episode(tenant, agent, embedding=[1.0], embedding_model="old") for _ in range(4)]
    async with (
        single(server.postgres_dsn) as (pool, pid),
        single(server.postgres_dsn) as (second, deleting),
        connected(server.postgres_dsn) as other,
    ):
        store = PostgresMemoryStore(pool)
        await store.add_episodes(episodes)
        await add(store, tenant, episodes)
        async with other.transaction():
            await other.execute("SELECT FROM convostore.episode_embedding WHERE tenant_id = $1 FOR UPDATE", tenant)
            delete = asyncio.create_task(PostgresMemoryStore(second).delete_episode(tenant, episodes[2].id))
            await waiting(admin, deleting)  # it holds its episode
            switched = asyncio.create_task(switch(store, tenant, episodes))
            await waiting(admin, pid, deleting)
        before = await admin.fetchval("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()")
        assert (await delete, await switched) == (True, 3)
        assert before == await admin.fetchval(
            "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
        )

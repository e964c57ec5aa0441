"""Configuration: an agent is deleted, restored and purged with everything that belongs to it."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID, uuid4

import pytest

from convostore.contracts import ConfigStore
from convostore.errors import ConflictError
from convostore.models import Agent
from convostore.models.fields import now
from convostore.testing.base import StoreContract
from convostore.testing.config.rows import CONFIG_ROWS, OWNED_ROWS, ConfigRows, every_owned
from convostore.testing.factories import make_agent


async def save_agent(store: ConfigStore, **changes: Any) -> Agent:
    """Save an agent of a new tenant."""
    agent = make_agent(changes.pop("tenant_id", None) or uuid4(), **changes)
    await store.save_agent(agent)
    return agent


async def save_all_of(store: ConfigStore, tenant: UUID, agent: UUID) -> list[tuple[ConfigRows, Any]]:
    """Save one row of everything that belongs to an agent."""
    saved = [(rows, rows.make(tenant, agent)) for rows in OWNED_ROWS]
    for rows, item in saved:
        await rows.save(store, item)
    return saved


class AgentCascadeContract(StoreContract):
    """Whole agents."""

    @every_owned
    async def test_deleting_an_agent_deletes_its_rows_and_no_others(self, store: ConfigStore, rows: ConfigRows) -> None:
        agent = await save_agent(store)
        mine, others = rows.make(agent.tenant_id, agent.id), [rows.make(agent.tenant_id, uuid4())]
        others.append(mine.model_copy(update={"tenant_id": uuid4()}))
        for item in (mine, *others):
            await rows.save(store, item)
        assert await store.delete_agent(agent.tenant_id, agent.id) is True
        assert await rows.get(store, mine) is None
        assert await rows.list(store, agent.tenant_id, agent.id) == []
        assert [await rows.get(store, item) for item in others] == others

    async def test_deleting_an_agent_keeps_what_belongs_to_none(self, store: ConfigStore) -> None:
        agent = await save_agent(store)
        for rows in CONFIG_ROWS:
            if rows not in OWNED_ROWS:
                item = rows.make(agent.tenant_id, agent.id)
                await rows.save(store, item)
                await store.delete_agent(agent.tenant_id, agent.id)
                assert await rows.get(store, item) == item

    @every_owned
    async def test_deleting_an_agent_that_is_not_there_deletes_nothing(
        self, store: ConfigStore, rows: ConfigRows
    ) -> None:
        deleted = await save_agent(store)
        await store.delete_agent(deleted.tenant_id, deleted.id)
        for agent_id in (deleted.id, uuid4()):
            item = rows.make(deleted.tenant_id, agent_id)
            await rows.save(store, item)
            assert await store.delete_agent(deleted.tenant_id, agent_id) is False
            assert await rows.get(store, item) == item

    @every_owned
    async def test_restoring_an_agent_restores_what_was_deleted_with_it_and_nothing_else(
        self, store: ConfigStore, rows: ConfigRows
    ) -> None:
        agent = await save_agent(store)
        tenant = agent.tenant_id
        both, own, before, after, living, other = [rows.make(tenant, agent.id) for _ in range(5)] + [
            rows.make(tenant, uuid4())
        ]
        for item in (both, own, before, other):
            await rows.save(store, item)
        for item in (before, other):
            await rows.delete(store, item)
        await store.delete_agent(tenant, agent.id)
        assert await rows.restore(store, own) is True
        for item in (after, living):
            await rows.save(store, item)
        await rows.delete(store, after)
        assert await store.restore_agent(tenant, agent.id) is True
        assert await store.get_agent(tenant, agent.id) == agent
        for item in (both, own, living):
            assert await rows.get(store, item) == item
        for item in (before, after, other):
            assert await rows.get(store, item) is None
            assert await rows.restore(store, item) is True

    @every_owned
    async def test_restoring_an_agent_restores_no_other(self, store: ConfigStore, rows: ConfigRows) -> None:
        mine = await save_agent(store)
        agents = [mine, await save_agent(store, tenant_id=mine.tenant_id), await save_agent(store, id=mine.id)]
        items = [rows.make(agent.tenant_id, agent.id) for agent in agents]
        for item, agent in zip(items, agents, strict=True):
            await rows.save(store, item)
            await store.delete_agent(agent.tenant_id, agent.id)
        assert await store.restore_agent(mine.tenant_id, mine.id) is True
        assert [await rows.get(store, item) for item in items] == [items[0], None, None]
        assert [await store.get_agent(agent.tenant_id, agent.id) for agent in agents] == [mine, None, None]

    @every_owned
    async def test_restoring_again_restores_what_the_last_deletion_took(
        self, store: ConfigStore, rows: ConfigRows
    ) -> None:
        agent = await save_agent(store)
        stays, goes = [rows.make(agent.tenant_id, agent.id) for _ in range(2)]
        await rows.save_all(store, [stays, goes])
        for _ in range(2):
            await store.delete_agent(agent.tenant_id, agent.id)
            assert await store.restore_agent(agent.tenant_id, agent.id) is True
            assert await store.restore_agent(agent.tenant_id, agent.id) is False
            await rows.delete(store, goes)
        assert await rows.list(store, agent.tenant_id, agent.id) == [stays]

    async def test_of_many_concurrent_deletes_or_restores_one_does_it(self, store: ConfigStore) -> None:
        agent = await save_agent(store)
        saved = await save_all_of(store, agent.tenant_id, agent.id)
        for call in (store.delete_agent, store.restore_agent):
            done = await asyncio.gather(*(call(agent.tenant_id, agent.id) for _ in range(5)))
            assert sorted(done) == [False] * 4 + [True]
        assert [await rows.get(store, item) for rows, item in saved] == [item for _, item in saved]

    async def test_restoring_an_agent_whose_name_is_in_use_restores_nothing(self, store: ConfigStore) -> None:
        agent = await save_agent(store)
        saved = await save_all_of(store, agent.tenant_id, agent.id)
        await store.delete_agent(agent.tenant_id, agent.id)
        await save_agent(store, tenant_id=agent.tenant_id, name=agent.name)
        with pytest.raises(ConflictError) as caught:
            await store.restore_agent(agent.tenant_id, agent.id)
        assert caught.value.code == "agent_name_key"
        assert await store.get_agent(agent.tenant_id, agent.id) is None
        assert [await rows.get(store, item) for rows, item in saved] == [None] * len(saved)

    @pytest.mark.parametrize("rows", [rows for rows in OWNED_ROWS if rows.declaration.unique], ids=str)
    async def test_restoring_an_agent_whose_rows_would_clash_restores_nothing(
        self, store: ConfigStore, rows: ConfigRows
    ) -> None:
        agent = await save_agent(store)
        saved = dict(await save_all_of(store, agent.tenant_id, agent.id))
        await store.delete_agent(agent.tenant_id, agent.id)
        heir = rows.like(saved.pop(rows))
        await rows.save(store, heir)
        with pytest.raises(ConflictError) as caught:
            await store.restore_agent(agent.tenant_id, agent.id)
        assert caught.value.code == rows.constraint
        assert await store.get_agent(agent.tenant_id, agent.id) is None
        assert [await other.get(store, item) for other, item in saved.items()] == [None] * len(saved)
        assert await rows.list(store, agent.tenant_id, agent.id) == [heir]

    async def test_purging_removes_whole_agents_and_counts_every_row(self, store: ConfigStore) -> None:
        gone = await save_agent(store)
        kept = await save_agent(store, tenant_id=gone.tenant_id)
        stranger = await save_agent(store, id=gone.id)
        rows_of = {agent: await save_all_of(store, *agent) for agent in map(_place, (gone, kept, stranger))}
        for agent in (gone, stranger):
            await store.delete_agent(*_place(agent))
        purged = await store.purge_deleted(gone.tenant_id, before=now())
        assert purged == 1 + len(OWNED_ROWS)
        assert await store.purge_deleted(gone.tenant_id, before=now()) == 0
        assert await store.restore_agent(*_place(gone)) is False
        assert await store.restore_agent(*_place(stranger)) is True
        for rows, item in rows_of[_place(gone)]:
            assert await rows.restore(store, item) is False
        for rows, item in [*rows_of[_place(kept)], *rows_of[_place(stranger)]]:
            assert await rows.get(store, item) == item


def _place(agent: Agent) -> tuple[UUID, UUID]:
    return agent.tenant_id, agent.id

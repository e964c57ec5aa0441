"""The contract of configuration stores: many objects saved at once, streamed, and read together for a turn."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID, uuid4

import pytest

from convostore.contracts import ConfigStore
from convostore.errors import ConflictError, ValidationError
from convostore.models import AgentConfig
from convostore.testing.base import StoreContract
from convostore.testing.config import agent_of, every_kind, every_named_kind, like
from convostore.testing.factories import make_agent
from convostore.testing.kinds import CONFIG_KINDS, ConfigKind

OWNED = [kind for kind in CONFIG_KINDS if kind.name not in ("agent", "migration_plan")]


def made(kind: ConfigKind, count: int) -> list[Any]:
    """Return new items of one tenant and agent."""
    tenant, agent = uuid4(), uuid4()
    return [kind.make(tenant, agent) for _ in range(count)]


class ConfigBulkContract(StoreContract):
    """Saving many at once, for every kind of entity."""

    @every_kind
    async def test_many_are_saved_in_the_order_given(self, store: ConfigStore, kind: ConfigKind) -> None:
        items = [*made(kind, 3), kind.full(uuid4(), uuid4())]
        items[3].__dict__.update(tenant_id=items[0].tenant_id)
        assert await kind.save_all(store, items) == [item.id for item in items]
        assert [item.revision for item in items] == [1] * 4
        assert [await kind.get(store, item) for item in items] == items
        assert await kind.save_all(store, []) == []

    @every_kind
    async def test_new_and_changed_ones_are_saved_together(self, store: ConfigStore, kind: ConfigKind) -> None:
        old, new = made(kind, 2)
        await kind.save(store, old)
        created_at = old.created_at
        setattr(old, *kind.change)
        await kind.save_all(store, [new, old])
        assert (old.revision, old.created_at, new.revision) == (2, created_at, 1)
        assert old.updated_at == new.updated_at == new.created_at
        assert [await kind.get(store, item) for item in (old, new)] == [old, new]

    @every_kind
    async def test_one_stale_copy_refuses_all_and_is_named(self, store: ConfigStore, kind: ConfigKind) -> None:
        new, other, old = made(kind, 3)
        await kind.save(store, old)
        stale = old.model_copy()
        await kind.save(store, old)
        items = [new, stale, other]
        before = [item.model_copy(deep=True) for item in items]
        with pytest.raises(ConflictError, match=str(old.id)) as caught:
            await kind.save_all(store, items)
        assert (caught.value.current_revision, caught.value.operation) == (2, f"save_{kind.name}s")
        assert items == before
        assert await kind.list(store, old.tenant_id, agent_of(old)) == [old]

    @every_kind
    async def test_the_first_that_is_refused_is_named(self, store: ConfigStore, kind: ConfigKind) -> None:
        first, second, deleted = made(kind, 3)
        first.revision = second.revision = 7
        await kind.save(store, deleted)
        await kind.delete(store, deleted)
        for items in ([first, second, deleted], [deleted, second, first]):
            with pytest.raises(ConflictError, match=str(items[0].id)) as caught:
                await kind.save_all(store, items)
            assert caught.value.current_revision == (1 if items[0] is deleted else None)
        with pytest.raises(ConflictError, match=str(deleted.id)):
            await kind.save_all(store, [second, deleted, first], overwrite=True)
        assert await kind.get(store, first) is None

    @every_kind
    async def test_overwriting_many_ignores_their_revisions(self, store: ConfigStore, kind: ConfigKind) -> None:
        old, new = made(kind, 2)
        await kind.save(store, old)
        old.revision, new.revision = 9, 9
        await kind.save_all(store, [old, new], overwrite=True)
        assert (old.revision, new.revision) == (2, 1)
        assert [await kind.get(store, item) for item in (old, new)] == [old, new]

    @every_named_kind
    async def test_a_name_in_use_refuses_all(self, store: ConfigStore, kind: ConfigKind) -> None:
        old, new = made(kind, 2)
        await kind.save(store, old)
        rival, constraint = like(kind, old), kind.declaration.constraint(kind.declaration.unique[0])
        for items in ([new, rival], [new, like(kind, new)]):
            with pytest.raises(ConflictError, match=str(items[1].id)) as caught:
                await kind.save_all(store, items)
            assert caught.value.code == constraint
        # A name that the same call gives up is in use as well.
        renamed = old.model_copy(update={name: getattr(new, name) for name in kind.unique})
        with pytest.raises(ConflictError, match=str(rival.id)) as caught:
            await kind.save_all(store, [renamed, rival])
        assert caught.value.code == constraint
        assert await kind.list(store, old.tenant_id, agent_of(old)) == [old]

    @every_kind
    async def test_lists_that_make_no_sense_are_refused(self, store: ConfigStore, kind: ConfigKind) -> None:
        one, other = made(kind, 2)
        wrong = kind.make(one.tenant_id, agent_of(one))
        wrong.__dict__["revision"] = "one"
        stranger = kind.make(uuid4(), agent_of(one))
        for items, reason in (
            ([one, other, one], "twice"),
            ([one, wrong], r"\.1\.revision"),
            ([one, stranger], "one tenant"),
            ([one] * 1_001, "1000"),
        ):
            with pytest.raises(ValidationError, match=reason):
                await kind.save_all(store, items)
        assert await kind.list(store, one.tenant_id, agent_of(one)) == []

    @every_kind
    async def test_concurrent_saves_of_the_same_objects_have_one_winner(
        self, store: ConfigStore, kind: ConfigKind
    ) -> None:
        items = made(kind, 6)
        for revision in (1, 2):
            tries = [[item.model_copy() for item in items] for _ in range(4)]
            # Not all in one order: none must wait for another that waits for it.
            tries[1::2] = [copies[::-1] for copies in tries[1::2]]
            calls = (kind.save_all(store, copies) for copies in tries)
            results = await asyncio.gather(*calls, return_exceptions=True)
            assert sorted(type(result).__name__ for result in results) == ["ConflictError"] * 3 + ["list"]
            stored = [await kind.get(store, item) for item in items]
            assert [item.revision for item in stored] == [revision] * 6
            items = stored


class ConfigReadingContract(StoreContract):
    """Streams, and what a turn needs."""

    @every_kind
    async def test_a_stream_goes_on_behind_what_was_seen(self, store: ConfigStore, kind: ConfigKind) -> None:
        items = made(kind, 250)
        await kind.save_all(store, items)
        listed = await kind.list(store, items[0].tenant_id, agent_of(items[0]))
        seen = []
        async for item in kind.iterate(store, items[0].tenant_id, agent_of(items[0])):
            seen.append(item.id)
            if len(seen) == 100:
                # What was seen, also the last of its page, need not be there any more.
                await asyncio.gather(*(kind.delete(store, gone) for gone in [*listed[:200:40], listed[199]]))
        assert seen == [item.id for item in listed]
        assert [item async for item in kind.iterate(store, uuid4(), uuid4())] == []

    @every_kind
    async def test_a_list_continues_behind_an_object(self, store: ConfigStore, kind: ConfigKind) -> None:
        items = made(kind, 5)
        await kind.save_all(store, items)
        tenant, agent = items[0].tenant_id, agent_of(items[0])
        listed = await kind.list(store, tenant, agent)
        for place, item in enumerate(listed):
            assert await kind.list(store, tenant, agent, after=item) == listed[place + 1 :]
            assert await kind.list(store, tenant, agent, after=item, limit=1, offset=1) == listed[place + 2 :][:1]
        with pytest.raises(ValidationError, match="tenant"):
            await kind.list(store, uuid4(), agent, after=listed[0])

    async def test_streams_have_the_filters_of_their_lists(self, store: ConfigStore) -> None:
        for kind in OWNED[:3]:
            tenant, agent, here = uuid4(), uuid4(), uuid4()
            scoped = {"scope": "step", "scope_id": here} if kind.name != "scenario" else {}
            items = [kind.make(tenant, agent, name=name, **changes) for name, changes in (("a", scoped), ("b", {}))]
            await kind.save_all(store, items)
            if scoped:
                found = [item async for item in getattr(store, f"iter_{kind.name}s")(tenant, agent, scope_id=here)]
                assert found == items[:1]
            if kind.name != "template":
                items[0].enabled = False
                await kind.save(store, items[0])
                assert [item async for item in getattr(store, f"iter_{kind.name}s")(tenant, agent)] == items[1:]
        tenant = uuid4()
        off, on = make_agent(tenant, name="a", enabled=False), make_agent(tenant, name="b")
        await store.save_agents([off, on])
        assert [agent async for agent in store.iter_agents(tenant, enabled_only=True)] == [on]
        assert [agent async for agent in store.iter_agents(tenant)] == [off, on]
        assert [plan async for plan in store.iter_migration_plans(tenant, status=None)] == []

    async def test_all_that_a_turn_needs_is_read_at_once(self, store: ConfigStore) -> None:
        agent = make_agent(uuid4())
        tenant = agent.tenant_id
        await store.save_agent(agent)
        empty = AgentConfig(agent=agent, rules=[], scenarios=[], templates=[], variables=[], tool_activations=[])
        assert await store.get_agent_config(tenant, agent.id) == empty
        parts = {}
        for kind in OWNED:
            full = kind.full(tenant, agent.id)
            if hasattr(full, "enabled"):
                full.enabled = True
            gone = kind.make(tenant, agent.id)
            await kind.save_all(store, [kind.make(tenant, agent.id), full, gone, kind.make(tenant, uuid4())])
            await kind.delete(store, gone)
            if kind.name in ("rule", "scenario"):
                await kind.save(store, kind.make(tenant, agent.id, enabled=False))
            listed = await kind.list(store, tenant, agent.id)
            parts[f"{kind.name}s"] = [item for item in listed if getattr(item, "enabled", True)]
        assert [len(part) for part in parts.values()] == [2] * 5
        found = await store.get_agent_config(tenant, agent.id)
        assert found == AgentConfig(agent=agent, **parts)
        assert await store.get_agent_config(uuid4(), agent.id) is None
        assert await store.get_agent_config(tenant, uuid4()) is None
        await store.delete_agent(tenant, agent.id)
        assert await store.get_agent_config(tenant, agent.id) is None

    async def test_what_a_turn_needs_comes_in_the_order_of_the_lists(self, store: ConfigStore) -> None:
        agent = make_agent(uuid4())
        await store.save_agent(agent)
        for kind in OWNED:
            items = [kind.make(agent.tenant_id, agent.id, id=UUID(int=number)) for number in (3, 1, 2)]
            await kind.save_all(store, items)
        found = await store.get_agent_config(agent.tenant_id, agent.id)
        assert found is not None
        for kind in OWNED:
            assert getattr(found, f"{kind.name}s") == await kind.list(store, agent.tenant_id, agent.id)

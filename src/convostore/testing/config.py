"""The contract of configuration stores: what all kinds of entity have in common."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID, uuid4

import pytest

from convostore.contracts import ConfigStore
from convostore.errors import ConflictError, StoreError, ValidationError
from convostore.models.fields import now
from convostore.testing.base import StoreContract
from convostore.testing.kinds import CONFIG_KINDS, ConfigKind

every_kind = pytest.mark.parametrize("kind", CONFIG_KINDS, ids=lambda kind: kind.name)
every_named_kind = pytest.mark.parametrize("kind", [k for k in CONFIG_KINDS if k.unique], ids=lambda kind: kind.name)


def like(kind: ConfigKind, item: Any, **changes: Any) -> Any:
    """Return a new item that wants what the item's unique set holds."""
    return kind.make(item.tenant_id, agent_of(item), **{name: getattr(item, name) for name in kind.unique}, **changes)


def agent_of(item: Any) -> UUID:
    """Return the agent of an item, or some agent if its kind has none."""
    agent: UUID = getattr(item, "agent_id", None) or uuid4()
    return agent


class ConfigEntityContract(StoreContract):
    """Saving, reading, deleting and restoring, for every kind of entity."""

    @every_kind
    async def test_what_is_saved_is_read_back_equal(self, store: ConfigStore, kind: ConfigKind) -> None:
        for item in (kind.make(uuid4(), uuid4()), kind.full(uuid4(), uuid4())):
            assert await kind.save(store, item) == item.id
            assert await kind.get(store, item) == item

    @every_kind
    async def test_the_first_save_sets_the_revision_and_the_times(self, store: ConfigStore, kind: ConfigKind) -> None:
        item = kind.make(uuid4(), uuid4(), created_at=now().replace(year=2001), updated_at=now().replace(year=2002))
        before = now()
        await kind.save(store, item)
        assert item.revision == 1
        assert before <= item.created_at == item.updated_at <= now()

    @every_kind
    async def test_a_change_raises_the_revision_and_keeps_the_creation(
        self, store: ConfigStore, kind: ConfigKind
    ) -> None:
        item = kind.make(uuid4(), uuid4())
        await kind.save(store, item)
        created_at, updated_at = item.created_at, item.updated_at
        setattr(item, *kind.change)
        await kind.save(store, item)
        assert (item.revision, item.created_at) == (2, created_at)
        assert item.updated_at >= updated_at
        assert await kind.get(store, item) == item

    @every_kind
    async def test_values_go_in_and_come_out_as_copies(self, store: ConfigStore, kind: ConfigKind) -> None:
        item = kind.full(uuid4(), uuid4())
        await kind.save(store, item)
        original = item.model_copy(deep=True)
        setattr(item, *kind.change)
        (await kind.get(store, original)).__dict__.clear()
        assert await kind.get(store, original) == original

    @every_kind
    async def test_what_is_not_there_is_none(self, store: ConfigStore, kind: ConfigKind) -> None:
        item = kind.make(uuid4(), uuid4())
        assert await kind.get(store, item) is None
        assert await kind.delete(store, item) is False
        assert await kind.restore(store, item) is False
        assert await kind.list(store, item.tenant_id, agent_of(item)) == []

    @every_kind
    async def test_a_stale_copy_is_refused_and_told_the_revision(self, store: ConfigStore, kind: ConfigKind) -> None:
        item = kind.make(uuid4(), uuid4())
        await kind.save(store, item)
        stale = item.model_copy()
        await kind.save(store, item)
        setattr(stale, *kind.change)
        with pytest.raises(ConflictError) as caught:
            await kind.save(store, stale)
        assert caught.value.current_revision == 2
        assert stale.revision == 1
        assert await kind.get(store, item) == item

    @every_kind
    async def test_overwriting_ignores_the_revision(self, store: ConfigStore, kind: ConfigKind) -> None:
        item = kind.make(uuid4(), uuid4())
        await kind.save(store, item)
        other = item.model_copy(update={"revision": 0})
        setattr(other, *kind.change)
        await kind.save(store, other, overwrite=True)
        assert (other.revision, other.created_at) == (2, item.created_at)
        assert await kind.get(store, item) == other

    @every_kind
    async def test_overwriting_what_is_not_there_stores_it(self, store: ConfigStore, kind: ConfigKind) -> None:
        item = kind.make(uuid4(), uuid4(), revision=9)
        await kind.save(store, item, overwrite=True)
        assert item.revision == 1
        assert await kind.get(store, item) == item

    @every_kind
    async def test_a_new_object_cannot_take_an_id_in_use(self, store: ConfigStore, kind: ConfigKind) -> None:
        item = kind.make(uuid4(), uuid4())
        await kind.save(store, item)
        intruder = kind.make(item.tenant_id, agent_of(item), id=item.id)
        with pytest.raises(ConflictError) as caught:
            await kind.save(store, intruder)
        assert caught.value.current_revision == 1
        assert await kind.get(store, item) == item

    @every_kind
    async def test_a_revision_of_something_unknown_is_a_conflict(self, store: ConfigStore, kind: ConfigKind) -> None:
        item = kind.make(uuid4(), uuid4(), revision=3)
        with pytest.raises(ConflictError) as caught:
            await kind.save(store, item)
        assert caught.value.current_revision is None
        assert await kind.get(store, item) is None

    @every_kind
    async def test_of_many_concurrent_saves_of_one_revision_one_wins(
        self, store: ConfigStore, kind: ConfigKind
    ) -> None:
        item = kind.make(uuid4(), uuid4())
        await kind.save(store, item)
        copies = [item.model_copy() for _ in range(10)]
        results = await asyncio.gather(*(kind.save(store, copy) for copy in copies), return_exceptions=True)
        assert sum(result == item.id for result in results) == 1
        assert sum(isinstance(result, ConflictError) for result in results) == 9
        assert await kind.get(store, item) in copies

    @every_kind
    async def test_tenants_may_use_the_same_id_without_seeing_each_other(
        self, store: ConfigStore, kind: ConfigKind
    ) -> None:
        mine = kind.make(uuid4(), uuid4())
        theirs = mine.model_copy(update={"tenant_id": uuid4()})
        setattr(theirs, *kind.change)
        await kind.save(store, mine)
        assert await kind.get(store, theirs) is None
        assert await kind.delete(store, theirs) is False
        assert await kind.list(store, theirs.tenant_id, agent_of(mine)) == []
        await kind.save(store, theirs)
        assert (await kind.get(store, mine), await kind.get(store, theirs)) == (mine, theirs)
        await kind.delete(store, theirs)
        assert await kind.get(store, mine) == mine
        assert await kind.restore(store, mine) is False

    @every_kind
    async def test_what_is_deleted_is_gone_until_it_is_restored(self, store: ConfigStore, kind: ConfigKind) -> None:
        item = kind.make(uuid4(), uuid4())
        await kind.save(store, item)
        assert await kind.delete(store, item) is True
        assert await kind.get(store, item) is None
        assert await kind.list(store, item.tenant_id, agent_of(item)) == []
        assert await kind.delete(store, item) is False
        assert await kind.restore(store, item) is True
        assert await kind.get(store, item) == item
        assert await kind.restore(store, item) is False

    @every_kind
    async def test_a_copy_of_something_deleted_cannot_be_saved(self, store: ConfigStore, kind: ConfigKind) -> None:
        item = kind.make(uuid4(), uuid4())
        await kind.save(store, item)
        await kind.delete(store, item)
        for revision, overwrite in ((1, False), (0, False), (1, True)):
            item.revision = revision
            with pytest.raises(ConflictError):
                await kind.save(store, item, overwrite=overwrite)
        assert await kind.get(store, item) is None

    @every_kind
    async def test_purging_removes_for_good_what_was_deleted_before(self, store: ConfigStore, kind: ConfigKind) -> None:
        tenant, agent = uuid4(), uuid4()
        living, gone, other = kind.make(tenant, agent), kind.make(tenant, agent), kind.make(uuid4(), agent)
        for item in (living, gone, other):
            await kind.save(store, item)
        before_deletion = now()
        await kind.delete(store, gone)
        await kind.delete(store, other)
        assert await store.purge_deleted(tenant, before=before_deletion) == 0
        assert await store.purge_deleted(tenant, before=now()) == 1
        assert await kind.restore(store, gone) is False
        assert await kind.restore(store, other) is True
        assert await kind.get(store, living) == living
        await kind.save(store, gone, overwrite=True)
        assert gone.revision == 1

    @every_named_kind
    async def test_a_name_in_use_is_refused(self, store: ConfigStore, kind: ConfigKind) -> None:
        item = kind.make(uuid4(), uuid4())
        await kind.save(store, item)
        rival = like(kind, item)
        with pytest.raises(ConflictError) as caught:
            await kind.save(store, rival)
        assert caught.value.code == kind.declaration.constraint(kind.declaration.unique[0])
        assert rival.revision == 0
        elsewhere = like(kind, item).model_copy(update={"tenant_id": uuid4()})
        await kind.save(store, elsewhere)

    @every_named_kind
    async def test_a_name_freed_by_a_deletion_can_be_reused(self, store: ConfigStore, kind: ConfigKind) -> None:
        item = kind.make(uuid4(), uuid4())
        await kind.save(store, item)
        await kind.delete(store, item)
        heir = like(kind, item)
        await kind.save(store, heir)
        if kind.key == ("id",):
            with pytest.raises(ConflictError) as caught:
                await kind.restore(store, item)
            assert caught.value.code == kind.declaration.constraint(kind.declaration.unique[0])
        assert await kind.get(store, heir) == heir
        await kind.delete(store, heir)

    @every_named_kind
    async def test_of_many_concurrent_claims_to_a_name_one_wins(self, store: ConfigStore, kind: ConfigKind) -> None:
        item = kind.make(uuid4(), uuid4())
        claims = [like(kind, item) for _ in range(10)]
        results = await asyncio.gather(*(kind.save(store, claim) for claim in claims), return_exceptions=True)
        assert sum(isinstance(result, UUID) for result in results) == 1
        assert sum(isinstance(result, ConflictError) for result in results) == 9

    @every_kind
    async def test_lists_are_ordered_in_full(self, store: ConfigStore, kind: ConfigKind) -> None:
        tenant, agent = uuid4(), uuid4()
        items = [kind.make(tenant, agent, id=UUID(int=number)) for number in (5, 3, 4, 1, 2)]
        if kind.name in ("rule", "scenario", "template", "agent"):
            items.extend(kind.make(tenant, agent, name=name) for name in ("a", "B", "é", "Z", "_"))
        for item in items:
            await kind.save(store, item)
        expected = sorted(items, key=lambda item: item.id)
        for column in reversed(kind.declaration.order):
            name = column.removeprefix("-")
            expected.sort(key=lambda item, name=name: getattr(item, name), reverse=column.startswith("-"))  # type: ignore[misc]
        assert await kind.list(store, tenant, agent) == expected

    @every_kind
    async def test_pages_partition_a_list(self, store: ConfigStore, kind: ConfigKind) -> None:
        tenant, agent = uuid4(), uuid4()
        for _ in range(5):
            await kind.save(store, kind.make(tenant, agent))
        listed = await kind.list(store, tenant, agent)
        assert len(listed) == 5
        pages = [await kind.list(store, tenant, agent, limit=2, offset=offset) for offset in (0, 2, 4, 6)]
        assert pages == [listed[:2], listed[2:4], listed[4:], []]

    @every_kind
    async def test_what_became_invalid_after_construction_is_refused(
        self, store: ConfigStore, kind: ConfigKind
    ) -> None:
        item = kind.make(uuid4(), uuid4())
        item.__dict__["revision"] = "one"
        with pytest.raises(ValidationError, match="revision") as caught:
            await kind.save(store, item)
        assert isinstance(caught.value, ValueError)
        assert await kind.get(store, item) is None

    @every_kind
    async def test_errors_say_where_they_come_from(self, store: ConfigStore, kind: ConfigKind) -> None:
        with pytest.raises(StoreError) as caught:
            await kind.save(store, kind.make(uuid4(), uuid4(), revision=3))
        error = caught.value
        assert (error.store, error.operation) == ("config", f"save_{kind.name}")
        assert (error.retryable, error.outcome) == (False, "not_applied")

    @every_kind
    async def test_a_store_bound_to_a_tenant_refuses_others(self, store: ConfigStore, kind: ConfigKind) -> None:
        item = kind.make(uuid4(), uuid4())
        await kind.save(store.for_tenant(item.tenant_id), item)
        stranger = store.for_tenant(uuid4())
        for call in (kind.get, kind.save, kind.delete, kind.restore):
            with pytest.raises(ValidationError, match="tenant_id"):
                await call(stranger, item)
        assert await kind.get(store, item) == item

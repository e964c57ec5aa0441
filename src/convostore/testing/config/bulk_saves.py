"""Configuration: many rows saved at once."""

from __future__ import annotations

import asyncio
from uuid import uuid4

import pytest

from convostore.contracts import ConfigStore
from convostore.errors import ConflictError, ValidationError
from convostore.testing.base import StoreContract
from convostore.testing.config.rows import ConfigRows, agent_of, every_config, every_unique, made


class ConfigBulkSaveContract(StoreContract):
    """Saving several rows in one call, whichever they are."""

    @every_config
    async def test_many_are_saved_in_the_order_given(self, store: ConfigStore, rows: ConfigRows) -> None:
        items = [*made(rows, 3), rows.full(uuid4(), uuid4())]
        items[3].__dict__.update(tenant_id=items[0].tenant_id)
        assert await rows.save_all(store, items) == [item.id for item in items]
        assert [item.revision for item in items] == [1] * 4
        assert [await rows.get(store, item) for item in items] == items
        assert await rows.save_all(store, []) == []

    @every_config
    async def test_new_and_changed_ones_are_saved_together(self, store: ConfigStore, rows: ConfigRows) -> None:
        old, new = made(rows, 2)
        await rows.save(store, old)
        created_at = old.created_at
        rows.change(old)
        await rows.save_all(store, [new, old])
        assert (old.revision, old.created_at, new.revision) == (2, created_at, 1)
        assert old.updated_at == new.updated_at == new.created_at
        assert [await rows.get(store, item) for item in (old, new)] == [old, new]

    @every_config
    async def test_one_stale_copy_refuses_all_and_is_named(self, store: ConfigStore, rows: ConfigRows) -> None:
        new, other, old = made(rows, 3)
        await rows.save(store, old)
        stale = old.model_copy()
        await rows.save(store, old)
        items = [new, stale, other]
        before = [item.model_copy(deep=True) for item in items]
        with pytest.raises(ConflictError, match=str(old.id)) as caught:
            await rows.save_all(store, items)
        assert (caught.value.current_revision, caught.value.operation) == (2, rows.methods["save_all"])
        assert items == before
        assert await rows.list(store, old.tenant_id, agent_of(old)) == [old]

    @every_config
    async def test_the_first_that_is_refused_is_named(self, store: ConfigStore, rows: ConfigRows) -> None:
        first, second, deleted = made(rows, 3)
        first.revision = second.revision = 7
        await rows.save(store, deleted)
        await rows.delete(store, deleted)
        for items in ([first, second, deleted], [deleted, second, first]):
            with pytest.raises(ConflictError, match=str(items[0].id)) as caught:
                await rows.save_all(store, items)
            assert caught.value.current_revision == (1 if items[0] is deleted else None)
        with pytest.raises(ConflictError, match=str(deleted.id)):
            await rows.save_all(store, [second, deleted, first], overwrite=True)
        assert await rows.get(store, first) is None

    @every_config
    async def test_overwriting_many_ignores_their_revisions(self, store: ConfigStore, rows: ConfigRows) -> None:
        old, new = made(rows, 2)
        await rows.save(store, old)
        old.revision, new.revision = 9, 9
        await rows.save_all(store, [old, new], overwrite=True)
        assert (old.revision, new.revision) == (2, 1)
        assert [await rows.get(store, item) for item in (old, new)] == [old, new]

    @every_unique
    async def test_a_name_in_use_refuses_all(self, store: ConfigStore, rows: ConfigRows) -> None:
        old, new = made(rows, 2)
        await rows.save(store, old)
        rival, constraint = rows.like(old), rows.constraint
        for items in ([new, rival], [new, rows.like(new)]):
            with pytest.raises(ConflictError, match=str(items[1].id)) as caught:
                await rows.save_all(store, items)
            assert caught.value.code == constraint
        # A name that the same call gives up is in use as well.
        renamed = old.model_copy(update={name: getattr(new, name) for name in rows.declaration.unique[0].columns})
        with pytest.raises(ConflictError, match=str(rival.id)) as caught:
            await rows.save_all(store, [renamed, rival])
        assert caught.value.code == constraint
        assert await rows.list(store, old.tenant_id, agent_of(old)) == [old]

    @every_config
    async def test_duplicates_invalid_items_and_a_second_tenant_are_refused(
        self, store: ConfigStore, rows: ConfigRows
    ) -> None:
        one, other = made(rows, 2)
        wrong = rows.make(one.tenant_id, agent_of(one))
        wrong.__dict__["revision"] = "one"
        stranger = rows.make(uuid4(), agent_of(one))
        for items, reason in (
            ([one, other, one], "twice"),
            ([one, wrong], r"\.1\.revision"),
            ([one, stranger], "one tenant"),
            ([one] * 1_001, "1000"),
        ):
            with pytest.raises(ValidationError, match=reason):
                await rows.save_all(store, items)
        assert await rows.list(store, one.tenant_id, agent_of(one)) == []

    @every_config
    async def test_concurrent_saves_of_the_same_objects_have_one_winner(
        self, store: ConfigStore, rows: ConfigRows
    ) -> None:
        items = made(rows, 6)
        for revision in (1, 2):
            tries = [[item.model_copy() for item in items] for _ in range(4)]
            # Not all in one order: none must wait for another that waits for it.
            tries[1::2] = [copies[::-1] for copies in tries[1::2]]
            calls = (rows.save_all(store, copies) for copies in tries)
            results = await asyncio.gather(*calls, return_exceptions=True)
            assert sorted(type(result).__name__ for result in results) == ["ConflictError"] * 3 + ["list"]
            stored = [await rows.get(store, item) for item in items]
            assert [item.revision for item in stored] == [revision] * 6
            items = stored

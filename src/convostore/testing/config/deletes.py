"""Configuration: soft deletes, restores and purges of single rows."""

from __future__ import annotations

from uuid import uuid4

import pytest

from convostore.contracts import ConfigStore
from convostore.errors import ConflictError
from convostore.models.fields import now
from convostore.testing.base import StoreContract
from convostore.testing.config.rows import ConfigRows, agent_of, every_config


class ConfigDeleteContract(StoreContract):
    """Deleting, restoring and purging one row, whichever it is."""

    @every_config
    async def test_what_is_not_there_is_none(self, store: ConfigStore, rows: ConfigRows) -> None:
        item = rows.make(uuid4(), uuid4())
        assert await rows.get(store, item) is None
        assert await rows.delete(store, item) is False
        assert await rows.restore(store, item) is False
        assert await rows.list(store, item.tenant_id, agent_of(item)) == []

    @every_config
    async def test_what_is_deleted_is_gone_until_it_is_restored(self, store: ConfigStore, rows: ConfigRows) -> None:
        item = rows.make(uuid4(), uuid4())
        await rows.save(store, item)
        assert await rows.delete(store, item) is True
        assert await rows.get(store, item) is None
        assert await rows.list(store, item.tenant_id, agent_of(item)) == []
        assert await rows.delete(store, item) is False
        assert await rows.restore(store, item) is True
        assert await rows.get(store, item) == item
        assert await rows.restore(store, item) is False

    @every_config
    async def test_a_copy_of_something_deleted_cannot_be_saved(self, store: ConfigStore, rows: ConfigRows) -> None:
        item = rows.make(uuid4(), uuid4())
        await rows.save(store, item)
        await rows.delete(store, item)
        for revision, overwrite in ((1, False), (0, False), (1, True)):
            item.revision = revision
            with pytest.raises(ConflictError):
                await rows.save(store, item, overwrite=overwrite)
        assert await rows.get(store, item) is None

    @every_config
    async def test_purging_removes_for_good_what_was_deleted_before(self, store: ConfigStore, rows: ConfigRows) -> None:
        tenant, agent = uuid4(), uuid4()
        living, gone, other = rows.make(tenant, agent), rows.make(tenant, agent), rows.make(uuid4(), agent)
        for item in (living, gone, other):
            await rows.save(store, item)
        before_deletion = now()
        await rows.delete(store, gone)
        await rows.delete(store, other)
        assert await store.purge_deleted(tenant, before=before_deletion) == 0
        assert await store.purge_deleted(tenant, before=now()) == 1
        assert await rows.restore(store, gone) is False
        assert await rows.restore(store, other) is True
        assert await rows.get(store, living) == living
        await rows.save(store, gone, overwrite=True)
        assert gone.revision == 1

    @every_config
    async def test_a_purge_is_a_batch_of_what_was_deleted_first(self, store: ConfigStore, rows: ConfigRows) -> None:
        tenant, agent = uuid4(), uuid4()
        items = [rows.make(tenant, agent) for _ in range(3)]
        for item in items:
            await rows.save(store, item)
            await rows.delete(store, item)
        assert await store.purge_deleted(tenant, before=now(), limit=2) == 2
        assert [await rows.restore(store, item) for item in items] == [False, False, True]
        assert await rows.delete(store, items[2]) is True
        assert [await store.purge_deleted(tenant, before=now(), limit=2) for _ in range(2)] == [1, 0]

"""Configuration: names and other values that only one living row may have."""

from __future__ import annotations

import asyncio
from uuid import UUID, uuid4

import pytest

from convostore.contracts import ConfigStore
from convostore.errors import ConflictError
from convostore.testing.base import StoreContract
from convostore.testing.config.rows import ConfigRows, every_unique


class UniqueSetContract(StoreContract):
    """Unique sets, whichever row has one."""

    @every_unique
    async def test_a_name_in_use_is_refused(self, store: ConfigStore, rows: ConfigRows) -> None:
        item = rows.make(uuid4(), uuid4())
        await rows.save(store, item)
        rival = rows.like(item)
        with pytest.raises(ConflictError) as caught:
            await rows.save(store, rival)
        assert caught.value.code == rows.constraint
        assert rival.revision == 0
        elsewhere = rows.like(item).model_copy(update={"tenant_id": uuid4()})
        await rows.save(store, elsewhere)

    @every_unique
    async def test_a_name_freed_by_a_deletion_can_be_reused(self, store: ConfigStore, rows: ConfigRows) -> None:
        item = rows.make(uuid4(), uuid4())
        await rows.save(store, item)
        await rows.delete(store, item)
        heir = rows.like(item)
        await rows.save(store, heir)
        if rows.declaration.lookup == rows.declaration.key:
            with pytest.raises(ConflictError) as caught:
                await rows.restore(store, item)
            assert caught.value.code == rows.constraint
        assert await rows.get(store, heir) == heir
        await rows.delete(store, heir)

    @every_unique
    async def test_of_many_concurrent_claims_to_a_name_one_wins(self, store: ConfigStore, rows: ConfigRows) -> None:
        item = rows.make(uuid4(), uuid4())
        claims = [rows.like(item) for _ in range(10)]
        results = await asyncio.gather(*(rows.save(store, claim) for claim in claims), return_exceptions=True)
        assert sum(isinstance(result, UUID) for result in results) == 1
        assert sum(isinstance(result, ConflictError) for result in results) == 9

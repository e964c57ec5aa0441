"""A profile that can be neither found nor created is a conflict, not an endless loop."""

from __future__ import annotations

from uuid import UUID, uuid4

import pytest

from convostore.domain.profile_change import Change
from convostore.errors import ConflictError
from convostore.inmemory import InMemoryProfileStore
from convostore.models import Channel


class Refusing(InMemoryProfileStore):
    """Refuses so many creations."""

    refusals = 0

    async def _apply(self, tenant_id: UUID, change: Change) -> bool:
        if self.refusals:
            self.refusals -= 1
            raise ConflictError("profile: a channel identity is in use")
        return await super()._apply(tenant_id, change)


async def test_a_conflict_is_looked_into_again() -> None:
    store, tenant = Refusing(), uuid4()
    store.refusals = 3
    created = await store.get_or_create(tenant, Channel.SMS, "1")
    assert await store.list_profiles(tenant) == [created]


async def test_a_conflict_that_stays_is_raised() -> None:
    store = Refusing()
    store.refusals = 1_000
    with pytest.raises(ConflictError):
        await store.get_or_create(uuid4(), Channel.SMS, "1")
    assert store.refusals > 900

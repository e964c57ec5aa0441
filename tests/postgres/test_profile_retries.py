"""Writes whose answer is lost: what is repeated finds itself done, and answers as if nothing had happened."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextvars import Context
from typing import Any
from uuid import uuid4

import pytest

from convostore.embedded import Embedded
from convostore.errors import ConflictError, ConnectionError
from convostore.models import Channel, Consent, CustomerProfile, VerificationLevel
from convostore.postgres import PostgresProfileStore, create_pool
from convostore.testing.factories import at, full_profile, make_asset, make_field, make_profile
from convostore.testing.profile.profiles import reread
from tests.postgres.conftest import Pool


class Lossy(PostgresProfileStore):
    """A store on a network that loses the next answer to a write; what is given to `meanwhile` happens then."""

    meanwhile: Callable[[], Coroutine[Any, Any, Any]] | None = None

    def __init__(self, pool: Pool) -> None:
        super().__init__(pool)
        for name in ("fetchval", "write_together"):
            setattr(self._database, name, self._losing(getattr(self._database, name)))

    def _losing(self, send: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def lose(*given: Any) -> Any:
            answer = await send(*given)
            if self.meanwhile is not None:
                happening, self.meanwhile = self.meanwhile, None
                # By somebody else: a call within this one would be part of it.
                await asyncio.create_task(happening(), context=Context())
                raise ConnectionError("lost", outcome="unknown")
            return answer

        return lose


async def nothing() -> None:
    """Nothing happens meanwhile."""


@pytest.fixture
async def store(engines: Embedded) -> AsyncIterator[Lossy]:
    async with await create_pool(engines.postgres_dsn) as pool:
        yield Lossy(pool)


ASSET, FIELD = make_asset(), make_field(value="new")
CONSENT = Consent(consent_type="ads", granted=True, granted_at=at(1))
WRITES: dict[str, Callable[[PostgresProfileStore, CustomerProfile], Awaitable[Any]]] = {
    "save_profile": lambda store, profile: store.save_profile(profile),
    "update_field": lambda store, profile: store.update_field(profile.tenant_id, profile.id, FIELD),
    "add_asset": lambda store, profile: store.add_asset(
        profile.tenant_id, profile.id, ASSET, supersedes=profile.assets[0].id
    ),
    "save_consent": lambda store, profile: store.save_consent(profile.tenant_id, profile.id, CONSENT),
    "link_channel": lambda store, profile: store.link_channel(profile.tenant_id, profile.id, Channel.API, "1"),
}


@pytest.mark.parametrize("write", WRITES)
async def test_a_write_whose_reply_is_lost_is_applied_once(store: Lossy, write: str) -> None:
    profile = full_profile(uuid4())
    await store.save_profile(profile)
    store.meanwhile = nothing
    await WRITES[write](store, profile)
    assert (await reread(store, profile)).revision == 2
    assert store.meanwhile is None


async def test_a_retried_write_sets_the_store_managed_fields_as_stored(store: Lossy) -> None:
    profile = make_profile(uuid4())
    for revision in (1, 2):
        store.meanwhile = nothing
        await store.save_profile(profile)
        assert profile.revision == revision
        assert await reread(store, profile) == profile
    store.meanwhile = nothing
    created = await store.get_or_create(profile.tenant_id, Channel.API, "1")
    assert await reread(store, created) == created
    assert len(await store.list_profiles(profile.tenant_id)) == 2


async def test_a_retried_save_after_a_later_one_is_a_conflict(store: Lossy) -> None:
    profile = make_profile(uuid4())
    await store.save_profile(profile)

    async def another() -> None:
        await store.set_verification_level(profile.tenant_id, profile.id, VerificationLevel.KYC_COMPLETE)

    store.meanwhile = another
    with pytest.raises(ConflictError) as caught:
        await store.save_profile(profile)
    assert (caught.value.current_revision, caught.value.outcome) == (3, "unknown")
    assert (await reread(store, profile)).verification_level is VerificationLevel.KYC_COMPLETE


async def test_a_retry_does_not_overwrite_a_later_verification_level(store: Lossy) -> None:
    profile = make_profile(uuid4())
    await store.save_profile(profile)

    async def set_level(level: VerificationLevel) -> None:
        await store.set_verification_level(profile.tenant_id, profile.id, level)

    store.meanwhile = lambda: set_level(VerificationLevel.KYC_COMPLETE)
    with pytest.raises(ConnectionError):
        await set_level(VerificationLevel.EMAIL_VERIFIED)
    assert (await reread(store, profile)).verification_level is VerificationLevel.KYC_COMPLETE


async def test_expiry_is_not_counted_twice(store: Lossy) -> None:
    profile = make_profile(uuid4(), fields={"city": make_field(expires_at=at(0))})
    await store.save_profile(profile)
    store.meanwhile = nothing
    with pytest.raises(ConnectionError) as lost:
        await store.expire_stale_fields(profile.tenant_id)
    assert lost.value.outcome == "unknown"
    assert (await reread(store, profile)).fields == {}

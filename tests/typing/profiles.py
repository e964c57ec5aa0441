"""The profile store as its callers see it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime
from typing import assert_type
from uuid import UUID

from convostore.contracts import ProfileStore
from convostore.models import (
    Channel,
    ChannelIdentity,
    Consent,
    CustomerProfile,
    ItemTrace,
    ProfileAsset,
    ProfileField,
    VerificationLevel,
)


async def reading(store: ProfileStore, id: UUID) -> None:
    assert_type(await store.get_profile(id, id), CustomerProfile | None)
    assert_type(await store.get_by_customer_id(id, id), CustomerProfile | None)
    assert_type(await store.get_by_channel_identity(id, Channel.EMAIL, "ann@example.com"), CustomerProfile | None)
    assert_type(await store.list_profiles(id, verification_level=VerificationLevel.KYC_COMPLETE), list[CustomerProfile])
    assert_type(store.iter_profiles(id), AsyncIterator[CustomerProfile])
    assert_type(await store.find_profiles_by_field(id, "city", "Bonn"), list[CustomerProfile])
    assert_type(await store.get_field_history(id, id, "city"), list[ProfileField])
    assert_type(await store.get_asset_history(id, id, "passport"), list[ProfileAsset])
    assert_type(await store.trace_item(id, id, id), ItemTrace | None)


async def writing(
    store: ProfileStore,
    profile: CustomerProfile,
    field: ProfileField,
    asset: ProfileAsset,
    consent: Consent,
    moment: datetime,
) -> None:
    tenant_id = profile.tenant_id
    assert_type(await store.get_or_create(tenant_id, Channel.EMAIL, "ann@example.com"), CustomerProfile)
    assert_type(await store.save_profile(profile), UUID)
    assert_type(await store.update_field(tenant_id, profile.id, field), None)
    assert_type(await store.expire_stale_fields(tenant_id, at=moment), int)
    assert_type(await store.add_asset(tenant_id, profile.id, asset, supersedes=asset.id), UUID)
    assert_type(await store.save_consent(tenant_id, profile.id, consent), None)
    assert_type(await store.set_verification_level(tenant_id, profile.id, VerificationLevel.KYC_COMPLETE), None)
    assert_type(await store.delete_profile(tenant_id, profile.id), bool)
    assert_type(await store.restore_profile(tenant_id, profile.id), bool)
    assert_type(await store.purge_deleted(tenant_id, before=moment), int)


async def linking(store: ProfileStore, id: UUID) -> None:
    assert_type(await store.link_channel(id, id, Channel.SMS, "+49 30 123"), ChannelIdentity)
    assert_type(await store.merge_profiles(id, id, id), CustomerProfile)
    assert_type(await store.unmerge_profiles(id, id), CustomerProfile)


async def views_of_a_store(store: ProfileStore, tenant_id: UUID) -> None:
    assert_type(store.for_tenant(tenant_id), ProfileStore)
    assert_type(store.within(60), ProfileStore)


async def what_is_refused(store: ProfileStore, field: ProfileField, id: UUID) -> None:
    await store.get_or_create(id, "email", "ann@example.com")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await store.update_field(id, field)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    await store.set_verification_level(id, id, "kyc")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await store.purge_deleted(id)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]

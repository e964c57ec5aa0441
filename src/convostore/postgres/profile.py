"""The profile store on PostgreSQL: profiles are read as JSON documents, and a change is one statement."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic_core import from_json, to_json

from convostore.call.call import current_call
from convostore.domain.profiles import Change, Merge, StoredProfile
from convostore.errors import StoreError
from convostore.gateway.profile import BaseProfileStore
from convostore.models import Channel, CustomerProfile, ProfileAsset, ProfileField, VerificationLevel
from convostore.postgres.decoding import of_document
from convostore.postgres.queries import queries
from convostore.postgres.store import PostgresStore

_profile, _field, _asset = of_document(CustomerProfile), of_document(ProfileField), of_document(ProfileAsset)
_CHILDREN = {"channel_identities", "fields", "assets"}


class PostgresProfileStore(PostgresStore, BaseProfileStore):
    """Customer profiles on PostgreSQL."""

    async def list_profiles(
        self,
        tenant_id: UUID,
        *,
        verification_level: VerificationLevel | None = None,
        limit: int = 100,
        offset: int = 0,
        after: CustomerProfile | None = None,
    ) -> list[CustomerProfile]:
        query = queries("profile").list_profiles(
            tenant_id=tenant_id,
            verification_level=verification_level,
            after_created_at=after and after.created_at,
            after_id=after and after.id,
            limit=limit,
            offset=offset,
        )
        return [_stored(row, tenant_id).profile for row in await self._database.fetch(*query)]

    async def find_profiles_by_field(
        self, tenant_id: UUID, field_name: str, value: Any, *, limit: int = 100, offset: int = 0
    ) -> list[CustomerProfile]:
        query = queries("profile").profiles_by_field(
            tenant_id=tenant_id, name=field_name, value=to_json(value).decode(), limit=limit, offset=offset
        )
        return [_stored(row, tenant_id).profile for row in await self._database.fetch(*query)]

    async def expire_stale_fields(self, tenant_id: UUID, *, at: datetime | None = None) -> int:
        moment = self._clock()
        query = queries("profile").expire_fields(
            tenant_id=tenant_id, at=at or moment, updated_at=moment, write_id=current_call().write_id
        )
        count: int = await self._database.fetchval(*query)
        return count

    async def purge_deleted(self, tenant_id: UUID, *, before: datetime) -> int:
        return len(await self._database.fetch(*queries("profile").purge_profiles(tenant_id=tenant_id, before=before)))

    async def _exact(
        self, tenant_id: UUID, profile_ids: Collection[UUID], item_ids: Collection[UUID] | None = ()
    ) -> dict[UUID, StoredProfile]:
        query = queries("profile").profiles_by_id(
            tenant_id=tenant_id, profile_ids=list(profile_ids), item_ids=_ids(item_ids)
        )
        rows = await self._database.fetch(*query)
        found = [_stored(row, tenant_id)._replace(write_id=row["write_id"]) for row in rows]
        return {stored.profile.id: stored for stored in found}

    async def _final(
        self,
        tenant_id: UUID,
        *,
        profile_id: UUID | None = None,
        customer_id: UUID | None = None,
        item_ids: Collection[UUID] | None = (),
    ) -> StoredProfile | None:
        query = queries("profile").final_profile(
            tenant_id=tenant_id, profile_id=profile_id, customer_id=customer_id, item_ids=_ids(item_ids)
        )
        row = await self._database.fetchrow(*query)
        return _stored(row, tenant_id) if row else None

    async def _linked(self, tenant_id: UUID, channel: Channel, channel_user_id: str) -> CustomerProfile | None:
        query = queries("profile").linked_profile(tenant_id=tenant_id, channel=channel, channel_user_id=channel_user_id)
        row = await self._database.fetchrow(*query)
        return _stored(row, tenant_id).profile if row else None

    async def _newest_merge(self, tenant_id: UUID, profile_id: UUID) -> Merge | None:
        query = queries("profile").newest_merge(tenant_id=tenant_id, profile_id=profile_id)
        row = await self._database.fetchrow(*query)
        return Merge.model_validate_json(row["document"]) if row else None

    async def _apply(self, tenant_id: UUID, change: Change) -> bool:
        expected = [
            {"id": profile_id, "revision": revision, "deleted_at": deleted_at}
            for profile_id, (revision, deleted_at) in change.expected.items()
        ]
        mark = {"write_id": current_call().write_id}
        profiles = (profile.model_dump(exclude=_CHILDREN) | mark for profile in change.profiles)
        fields = ({"profile_id": owner, **item.model_dump()} for owner, item in change.fields)
        assets = ({"profile_id": owner, "position": at, **item.model_dump()} for owner, at, item in change.assets)
        linked = (
            {"profile_id": owner, "position": at, "living": True, **identity.model_dump()}
            for owner, at, identity in change.identities
        )
        unlinked = ({"profile_id": owner, **identity.model_dump()} for owner, identity in change.unlinked)
        moved = (
            {"profile_id": owner, "new_profile_id": new, "position": at, **identity.model_dump()}
            for owner, new, at, identity in change.moved
        )
        query = queries("profile").apply_profile_change(
            tenant_id=tenant_id,
            expected=to_json(expected).decode(),
            profiles=_rows(tenant_id, profiles),
            fields=_rows(tenant_id, fields),
            assets=_rows(tenant_id, assets),
            linked=_rows(tenant_id, linked),
            unlinked=_rows(tenant_id, unlinked),
            moved=_rows(tenant_id, moved),
            merge=_merge(tenant_id, change),
            unmerged_id=change.undone,
        )
        return bool(await self._database.fetchval(*query) == "applied")


def _rows(tenant_id: UUID, rows: Iterable[dict[str, Any]]) -> str:
    return to_json([{"tenant_id": tenant_id, **row} for row in rows]).decode()


def _ids(ids: Collection[UUID] | None) -> list[UUID] | None:
    return None if ids is None else list(ids)


def _merge(tenant_id: UUID, change: Change) -> str | None:
    """Return the row that stores a merge, ordered among those into the same profile by the target's revision."""
    if change.merge is None:
        return None
    source, target = change.merge.source.id, change.merge.target.id
    revision = next(profile.revision for profile in change.profiles if profile.id == target)
    row = {"tenant_id": tenant_id, "source_id": source, "target_id": target, "revision": revision}
    return to_json({**row, "document": change.merge.model_dump()}).decode()


def _stored(row: Any, tenant_id: UUID) -> StoredProfile:
    if row["tenant_id"] != tenant_id:
        raise StoreError("profile: a row of another tenant was read")
    document = from_json(row["document"])
    fields = [_field(item) for item in document.pop("past_fields")]
    assets = [_asset(item) for item in document.pop("past_assets")]
    return StoredProfile(_profile(document), fields, assets)

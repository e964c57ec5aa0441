"""The profile store on PostgreSQL: profiles are read as documents, and a change is written by one statement."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic_core import from_json, to_json

from convostore.core.profiles import Change
from convostore.core.stores.profile import BaseProfileStore, Stored
from convostore.errors import ConflictError, StoreError
from convostore.models import Channel, CustomerProfile, ItemStatus, ProfileAsset, ProfileField
from convostore.postgres.queries import queries
from convostore.postgres.store import PostgresStore

_CHILDREN = {"channel_identities", "fields", "assets"}


class PostgresProfileStore(PostgresStore, BaseProfileStore):
    """Customer profiles on PostgreSQL."""

    async def list_profiles(self, tenant_id: UUID, *, limit: int = 100, offset: int = 0) -> list[CustomerProfile]:
        rows = await self._database.fetch(queries("profile")["list_profiles"], tenant_id, limit, offset)
        return [_stored(row, tenant_id).profile for row in rows]

    async def purge_deleted(self, tenant_id: UUID, *, before: datetime) -> int:
        return len(await self._database.fetch(queries("profile")["purge_profiles"], tenant_id, before))

    async def _exact(
        self, tenant_id: UUID, profile_ids: Collection[UUID], item_ids: Collection[UUID] = ()
    ) -> dict[UUID, Stored]:
        query = queries("profile")["profiles_by_id"]
        rows = await self._database.fetch(query, tenant_id, list(profile_ids), list(item_ids))
        found = [_stored(row, tenant_id) for row in rows]
        return {stored.profile.id: stored for stored in found}

    async def _final(
        self,
        tenant_id: UUID,
        *,
        profile_id: UUID | None = None,
        customer_id: UUID | None = None,
        item_ids: Collection[UUID] = (),
    ) -> Stored | None:
        query = queries("profile")["final_profile"]
        row = await self._database.fetchrow(query, tenant_id, profile_id, customer_id, list(item_ids))
        return _stored(row, tenant_id) if row else None

    async def _linked(self, tenant_id: UUID, channel: Channel, channel_user_id: str) -> CustomerProfile | None:
        query = queries("profile")["linked_profile"]
        row = await self._database.fetchrow(query, tenant_id, channel, channel_user_id)
        return _stored(row, tenant_id).profile if row else None

    async def _apply(self, tenant_id: UUID, change: Change) -> bool:
        source, target = change.moved or (None, None)
        expected = [
            {"id": profile_id, "revision": revision, "deleted_at": deleted_at}
            for profile_id, (revision, deleted_at) in change.expected.items()
        ]
        profiles = (profile.model_dump(exclude=_CHILDREN) for profile in change.profiles)
        fields = ({"profile_id": owner, **item.model_dump()} for owner, item in change.fields)
        assets = ({"profile_id": owner, "position": at, **item.model_dump()} for owner, at, item in change.assets)
        linked = (
            {"profile_id": owner, "position": at, "living": True, **identity.model_dump()}
            for owner, at, identity in change.identities
        )
        unlinked = ({"profile_id": owner, **identity.model_dump()} for owner, identity in change.unlinked)
        verdict = await self._database.fetchval(
            queries("profile")["apply_profile_change"],
            *(tenant_id, to_json(expected).decode()),
            *(_rows(tenant_id, rows) for rows in (profiles, fields, assets, linked, unlinked)),
            *(source, target, change.offset),
        )
        if verdict not in ("applied", "changed"):
            raise ConflictError("profile: the id of a field or asset is taken", code=verdict)
        return bool(verdict == "applied")


def _rows(tenant_id: UUID, rows: Iterable[dict[str, Any]]) -> str:
    return to_json([{"tenant_id": tenant_id, **row} for row in rows]).decode()


def _stored(row: Any, tenant_id: UUID) -> Stored:
    if row["tenant_id"] != tenant_id:
        raise StoreError("profile: a row of another tenant was read")
    document = from_json(row["document"])
    fields = [ProfileField.model_validate(item) for item in document["fields"]]
    assets = [ProfileAsset.model_validate(item) for item in document["assets"]]
    active = {item.name: item for item in fields if item.status is ItemStatus.ACTIVE}
    listed = [item for item in assets if item.status is not ItemStatus.SUPERSEDED]
    return Stored(
        CustomerProfile.model_validate({**document, "fields": active, "assets": listed}),
        [item for item in fields if item.status is not ItemStatus.ACTIVE],
        [item for item in assets if item.status is ItemStatus.SUPERSEDED],
    )

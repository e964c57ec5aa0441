"""The profile store on PostgreSQL: a profile is read as one row, and a change is one statement."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic_core import to_json

from convostore.call.call import current_call
from convostore.domain.codec import Codec, readable
from convostore.domain.declarations import PROFILE
from convostore.domain.profile_change import MERGE, Change, LoadedProfile, Merge
from convostore.errors import StoreError
from convostore.gateway.profile import BaseProfileStore
from convostore.models import (
    Channel,
    ChannelIdentity,
    CustomerProfile,
    ProfileAsset,
    ProfileField,
    VerificationLevel,
)
from convostore.models.base import FrozenModel
from convostore.postgres.composition import Expression
from convostore.postgres.pages import page
from convostore.postgres.profile_steps import Written, apply_in_steps
from convostore.postgres.queries import queries
from convostore.postgres.store import PostgresStore


class PastItems(FrozenModel):
    """Those of a profile's past items that were asked for."""

    past_fields: list[ProfileField]
    past_assets: list[ProfileAsset]


_PAST = Codec("past items", PastItems, key=())
_PROFILE = Codec("profile", CustomerProfile, beside=("channel_identities", "fields", "assets"))
_IDENTITY = Codec("channel_identity", ChannelIdentity)
_FIELD = Codec("profile_field", ProfileField)
_ASSET = Codec("profile_asset", ProfileAsset)


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
        async def fetch(position: tuple[datetime | None, UUID | None], offset: int) -> list[Any]:
            created_at, profile_id = position
            query = queries("profile").list_profiles(
                tenant_id=tenant_id,
                verification_level=verification_level,
                after_created_at=created_at,
                after_id=profile_id,
                limit=limit,
                offset=offset,
            )
            return await self._database.fetch(*query)

        return await page(
            fetch,
            lambda row: _profile(row, tenant_id),
            lambda row: (row["created_at"], row["id"]),
            after=(after.created_at, after.id) if after else (None, None),
            limit=limit,
            offset=offset,
        )

    async def find_profiles_by_field(
        self, tenant_id: UUID, field_name: str, value: Any, *, limit: int = 100, offset: int = 0
    ) -> list[CustomerProfile]:
        query = queries("profile").profiles_by_field(
            tenant_id=tenant_id, name=field_name, value=to_json(value).decode(), limit=limit, offset=offset
        )
        rows = await self._database.fetch(*query)
        return list(readable(lambda row: _profile(row, tenant_id), rows))

    async def expire_stale_fields(self, tenant_id: UUID, *, at: datetime | None = None, limit: int = 1_000) -> int:
        moment = self._clock()
        query = queries("profile").expire_fields(
            tenant_id=tenant_id, at=at or moment, limit=limit, updated_at=moment, write_id=current_call().write_id
        )
        count: int = await self._database.fetchval(*query)
        return count

    async def purge_deleted(self, tenant_id: UUID, *, before: datetime, limit: int = 1_000) -> int:
        query = queries("profile").purge_profiles(tenant_id=tenant_id, before=before, limit=limit)
        return len(await self._database.fetch(*query))

    async def _exact(
        self, tenant_id: UUID, profile_ids: Collection[UUID], item_ids: Collection[UUID] | None = ()
    ) -> dict[UUID, LoadedProfile]:
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
    ) -> LoadedProfile | None:
        if profile_id is not None and item_ids is not None and not item_ids:
            # To follow merges, which few ids need, costs as much again as to read a profile.
            query = queries("profile").profile_by_id(tenant_id=tenant_id, profile_id=profile_id)
            row = await self._database.fetchrow_together(*query)
            profile = _profile(row, tenant_id) if row else None
            if profile is None or profile.merged_into is None:
                return LoadedProfile(profile, [], []) if profile else None
        query = queries("profile").final_profile(
            tenant_id=tenant_id, profile_id=profile_id, customer_id=customer_id, item_ids=_ids(item_ids)
        )
        row = await self._database.fetchrow(*query)
        return _stored(row, tenant_id) if row else None

    async def _linked(self, tenant_id: UUID, channel: Channel, channel_user_id: str) -> CustomerProfile | None:
        query = queries("profile").linked_profile(tenant_id=tenant_id, channel=channel, channel_user_id=channel_user_id)
        row = await self._database.fetchrow(*query)
        return _profile(row, tenant_id) if row else None

    async def _newest_merge(self, tenant_id: UUID, profile_id: UUID) -> Merge | None:
        query = queries("profile").newest_merge(tenant_id=tenant_id, profile_id=profile_id)
        row = await self._database.fetchrow(*query)
        return MERGE.from_document(row["document"], f"into {profile_id}") if row else None

    async def _set_new_field(self, tenant_id: UUID, profile_id: UUID, field: ProfileField) -> bool:
        if await self._database.is_distributed():
            return False
        setting = self._setting(tenant_id, profile_id, [field])
        return await self._database.write_together((tenant_id, profile_id), *setting) is not None

    def _setting(
        self, tenant_id: UUID, profile_id: UUID, fields: Sequence[ProfileField], further: int = 0
    ) -> tuple[Any, ...]:
        """Return the statement that sets fields of different names whose ids are new, with its arguments.

        So many further changes of the profile are made beside; `touched` has its id if they may be.
        """
        given = {
            "tenant_id": tenant_id,
            "profile_id": profile_id,
            "further": further,
            "changed_at": self._clock(),
            "write_id": current_call().write_id,
        }
        query: tuple[Any, ...]
        # By scalars the server finds the field of the name by its index, and takes a sixth less time.
        if len(fields) == 1:
            values = dict(zip(_FIELD.columns, _FIELD.to_row(fields[0]), strict=True))
            query = queries("profile").set_new_field(**given, **values)
        else:
            query = queries("profile").set_new_fields(**given, fields=_listed(map(_FIELD.to_document, fields)))
        return query

    def _adding(self, tenant_id: UUID, profile_id: Expression, assets: Iterable[ProfileAsset]) -> tuple[Any, ...]:
        """Return the statement that adds active assets whose ids are new to a locked profile, with its arguments."""
        documents = (_ASSET.to_document(asset, position=place) for place, asset in enumerate(assets))
        query = queries("profile").add_new_assets
        added: tuple[Any, ...] = query(tenant_id=tenant_id, profile_id=profile_id, assets=_listed(documents))
        return added

    async def _apply(self, tenant_id: UUID, change: Change) -> bool:
        of = {"tenant_id": tenant_id}
        expected = [
            {**of, "id": profile_id, "revision": revision, "deleted_at": deleted_at}
            for profile_id, (revision, deleted_at) in change.expected.items()
        ]
        write_id = current_call().write_id
        given = Written(
            tenant_id=tenant_id,
            expected=to_json(expected).decode(),
            profiles=_listed(_PROFILE.to_document(profile, write_id=write_id) for profile in change.profiles),
            fields=_listed(_FIELD.to_document(item, **of, profile_id=owner) for owner, item in change.fields),
            assets=_listed(
                _ASSET.to_document(item, **of, profile_id=owner, position=at) for owner, at, item in change.assets
            ),
            linked=_listed(
                _IDENTITY.to_document(identity, **of, profile_id=owner, position=at, living=True)
                for owner, at, identity in change.identities
            ),
            unlinked=_listed(
                _IDENTITY.to_document(identity, **of, profile_id=owner) for owner, identity in change.unlinked
            ),
            moved=_listed(
                _IDENTITY.to_document(identity, **of, profile_id=owner, new_profile_id=new, position=at)
                for owner, new, at, identity in change.moved
            ),
            source_id=change.merge.source.id if change.merge else None,
            target_id=change.merge.target.id if change.merge else None,
            merge=MERGE.to_document(change.merge).decode() if change.merge else None,
            unmerged_id=change.undone,
        )
        if await self._database.is_distributed():
            return await apply_in_steps(self._database, given, change.expected)
        query = queries("profile").apply_profile_change(**given._asdict())
        return bool(await self._database.fetchval(*query) == "applied")


def _listed(documents: Iterable[bytes]) -> str:
    return f"[{b','.join(documents).decode()}]"


def _ids(ids: Collection[UUID] | None) -> list[UUID] | None:
    return None if ids is None else list(ids)


def _profile(row: Any, tenant_id: UUID) -> CustomerProfile:
    return profile_in(row, tenant_id)


_TENANT = PROFILE.codec.columns.index("tenant_id")


def profile_in(row: Any, tenant_id: UUID) -> CustomerProfile:
    """Return the profile in a row without names.

    Raises:
        StoreError: it cannot be read, or is another tenant's.
    """
    if row[_TENANT] != tenant_id:
        raise StoreError("profile: a row of another tenant was read")
    return PROFILE.codec.from_row(row)


def _stored(row: Any, tenant_id: UUID) -> LoadedProfile:
    past = _PAST.from_row([row[name] for name in _PAST.columns])
    return LoadedProfile(_profile(row, tenant_id), past.past_fields, past.past_assets)

"""The profile store in memory."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from convostore.call.call import current_call
from convostore.call.deadlines import DEFAULT_TIMEOUT
from convostore.domain.profile_change import Change, LoadedProfile, Merge, identity_key
from convostore.domain.revisions import set_managed
from convostore.errors import ConflictError
from convostore.gateway.profile import BaseProfileStore
from convostore.inmemory.base import InMemoryStore
from convostore.inmemory.table import copied
from convostore.models import (
    Channel,
    ChannelIdentity,
    CustomerProfile,
    ItemStatus,
    ProfileAsset,
    ProfileField,
    VerificationLevel,
)
from convostore.models.fields import now


@dataclass
class Record:
    """A profile with all its fields and assets, past ones too, by id; assets with their position in the list."""

    profile: CustomerProfile
    identities: dict[tuple[Channel, str], tuple[int, ChannelIdentity]] = field(default_factory=dict)
    fields: dict[UUID, ProfileField] = field(default_factory=dict)
    assets: dict[UUID, tuple[int, ProfileAsset]] = field(default_factory=dict)
    merges: list[Merge] = field(default_factory=list)
    write_id: UUID | None = None

    def loaded(self, item_ids: Collection[UUID] | None = ()) -> LoadedProfile:
        """Return the profile as it is read, with those of its past items; None means all."""
        asked = {*self.fields, *self.assets} if item_ids is None else item_ids
        identities = [identity for _, identity in sorted(self.identities.values(), key=lambda pair: pair[0])]
        assets = [asset for _, asset in sorted(self.assets.values(), key=lambda pair: (pair[0], pair[1].id))]
        profile = self.profile.model_copy(
            update={
                "channel_identities": identities,
                "fields": {item.name: item for item in self.fields.values() if item.status is ItemStatus.ACTIVE},
                "assets": [asset for asset in assets if asset.status is not ItemStatus.SUPERSEDED],
            }
        )
        return LoadedProfile(
            copied(profile),
            [
                copied(item)
                for item in self.fields.values()
                if item.id in asked and item.status is not ItemStatus.ACTIVE
            ],
            [copied(item) for item in assets if item.id in asked and item.status is ItemStatus.SUPERSEDED],
            self.write_id,
        )


class InMemoryProfileStore(InMemoryStore, BaseProfileStore):
    """Customer profiles in memory."""

    def __init__(self, *, timeout: float = DEFAULT_TIMEOUT, clock: Callable[[], datetime] = now) -> None:
        super().__init__(timeout=timeout, clock=clock)
        self._records: dict[UUID, dict[UUID, Record]] = {}

    async def list_profiles(
        self,
        tenant_id: UUID,
        *,
        verification_level: VerificationLevel | None = None,
        limit: int = 100,
        offset: int = 0,
        after: CustomerProfile | None = None,
    ) -> list[CustomerProfile]:
        found = self._listed(tenant_id, lambda record: verification_level in (None, record.profile.verification_level))
        if after is not None:
            place = (-_microseconds(after.created_at), after.id)
            found = [profile for profile in found if (-_microseconds(profile.created_at), profile.id) > place]
        return found[offset:][:limit]

    async def find_profiles_by_field(
        self, tenant_id: UUID, field_name: str, value: Any, *, limit: int = 100, offset: int = 0
    ) -> list[CustomerProfile]:
        wanted = comparable(value)

        def matches(record: Record) -> bool:
            active = (item for item in record.fields.values() if item.status is ItemStatus.ACTIVE)
            return any(item.name == field_name and comparable(item.value) == wanted for item in active)

        return self._listed(tenant_id, matches)[offset:][:limit]

    async def expire_stale_fields(self, tenant_id: UUID, *, at: datetime | None = None, limit: int = 1_000) -> int:
        moment = at or self._clock()
        stale = [
            (item.expires_at, item.id, item, record)
            for record in self._living(tenant_id)
            for item in record.fields.values()
            if item.status is ItemStatus.ACTIVE and item.expires_at is not None and item.expires_at <= moment
        ]
        stale = sorted(stale, key=lambda each: each[:2])[:limit]
        for *_, item, _ in stale:
            item.status = ItemStatus.EXPIRED
        for record in {id(record): record for *_, record in stale}.values():
            profile = record.profile
            record.write_id = current_call().write_id
            set_managed(profile, revision=profile.revision + 1, updated_at=max(self._clock(), profile.updated_at))
        return len(stale)

    async def purge_deleted(self, tenant_id: UUID, *, before: datetime, limit: int = 1_000) -> int:
        records = self._of(tenant_id)
        ends = {profile_id: self._end(tenant_id, profile_id) for profile_id in records}
        deleted = sorted(
            (end.profile.deleted_at, profile_id)
            for profile_id, end in ends.items()
            if end and end.profile.id == profile_id and end.profile.deleted_at and end.profile.deleted_at < before
        )
        roots = {profile_id for _, profile_id in deleted[:limit]}
        old = [profile_id for profile_id, end in ends.items() if end and end.profile.id in roots]
        for profile_id in old:
            del records[profile_id]
        return len(old)

    async def _exact(
        self, tenant_id: UUID, profile_ids: Collection[UUID], item_ids: Collection[UUID] | None = ()
    ) -> dict[UUID, LoadedProfile]:
        records = self._of(tenant_id)
        return {key: records[key].loaded(item_ids) for key in profile_ids if key in records}

    async def _final(
        self,
        tenant_id: UUID,
        *,
        profile_id: UUID | None = None,
        customer_id: UUID | None = None,
        item_ids: Collection[UUID] | None = (),
    ) -> LoadedProfile | None:
        if customer_id is not None:
            records = self._of(tenant_id).values()
            holders = (r.profile.id for r in records if r.profile.customer_id == customer_id and _holds_ids(r))
            profile_id = next(holders, None)
        end = self._end(tenant_id, profile_id) if profile_id else None
        return end.loaded(item_ids) if end else None

    async def _linked(self, tenant_id: UUID, channel: Channel, channel_user_id: str) -> CustomerProfile | None:
        wanted = (channel, channel_user_id)
        return next((r.loaded().profile for r in self._living(tenant_id) if wanted in r.identities), None)

    async def _newest_merge(self, tenant_id: UUID, profile_id: UUID) -> Merge | None:
        record = self._of(tenant_id).get(profile_id)
        return record.merges[-1].model_copy(deep=True) if record and record.merges else None

    async def _apply(self, tenant_id: UUID, change: Change) -> bool:
        records = self._of(tenant_id)
        for profile_id, (revision, deleted_at) in change.expected.items():
            stored = records[profile_id].profile if profile_id in records else None
            if (stored.revision if stored else 0, stored and stored.deleted_at) != (revision, deleted_at):
                return False
        self._check_unique(tenant_id, change)
        for profile in change.profiles:
            records.setdefault(profile.id, Record(profile)).profile = copied(profile)
        for source, target, position, identity in change.moved:
            _, moved = records[source].identities.pop(identity_key(identity))
            records[target].identities[identity_key(identity)] = (position, moved)
        for profile_id, identity in change.unlinked:
            del records[profile_id].identities[identity_key(identity)]
        for profile_id, position, identity in change.identities:
            records[profile_id].identities[identity_key(identity)] = (position, copied(identity))
        changed = [records[profile.id] for profile in change.profiles]
        for record in changed:
            record.write_id = current_call().write_id
        for profile_id, item in change.fields:
            for record in changed:
                record.fields.pop(item.id, None)
            records[profile_id].fields[item.id] = copied(item)
        for profile_id, position, asset in change.assets:
            for record in changed:
                record.assets.pop(asset.id, None)
            records[profile_id].assets[asset.id] = (position, copied(asset))
        if change.merge is not None:
            records[change.merge.target.id].merges.append(change.merge.model_copy(deep=True))
        if change.undone is not None:
            for record in changed:
                record.merges = [merge for merge in record.merges if merge.source.id != change.undone]
        return True

    def _kept(self, tenant_id: UUID, profile_id: UUID) -> Callable[[], None]:
        """Return what restores the profile that an id leads to as it is now."""
        record = self._end(tenant_id, profile_id)
        before = deepcopy(record.__dict__) if record else {}

        def restore() -> None:
            if record is not None:
                record.__dict__.update(before)

        return restore

    def _check_unique(self, tenant_id: UUID, change: Change) -> None:
        changed = {profile.id for profile in change.profiles}
        others = [record for key, record in self._of(tenant_id).items() if key not in changed]
        living = [record for record in others if record.profile.deleted_at is None]
        customers = {record.profile.customer_id for record in others if _holds_ids(record)}
        identities = {key for record in living for key in record.identities}
        fields = {key for record in others for key in record.fields}
        assets = {key for record in others for key in record.assets}
        for profile in change.profiles:
            if profile.customer_id in customers and profile.deleted_at is None:
                raise ConflictError("profile: customer_id is in use", code="profile_customer_id_key")
            wanted = {identity_key(identity) for identity in profile.channel_identities}
            if profile.deleted_at is None and wanted & identities:
                raise ConflictError("profile: a channel identity is in use", code="channel_identity_channel_key")
        if {item.id for _, item in change.fields} & fields:
            raise ConflictError("profile: the id of a field is in use", code="profile_field_pkey")
        if {item.id for _, _, item in change.assets} & assets:
            raise ConflictError("profile: the id of an asset is in use", code="profile_asset_pkey")

    def _listed(self, tenant_id: UUID, matches: Callable[[Record], bool]) -> list[CustomerProfile]:
        found = [record.loaded().profile for record in self._living(tenant_id) if matches(record)]
        return sorted(found, key=lambda profile: (-_microseconds(profile.created_at), profile.id))

    def _of(self, tenant_id: UUID) -> dict[UUID, Record]:
        return self._records.setdefault(tenant_id, {})

    def _living(self, tenant_id: UUID) -> Iterator[Record]:
        return (record for record in self._of(tenant_id).values() if record.profile.deleted_at is None)

    def _end(self, tenant_id: UUID, profile_id: UUID) -> Record | None:
        records = self._of(tenant_id)
        record = records.get(profile_id)
        while record is not None and record.profile.merged_into is not None:
            record = records.get(record.profile.merged_into)
        return record


def comparable(value: Any) -> Any:
    """Return what two JSON values have in common if and only if they are equal; `True` and 1 are not, 1 and 1.0 are."""
    if isinstance(value, dict):
        return {key: comparable(item) for key, item in value.items()}
    if isinstance(value, list):
        return [comparable(item) for item in value]
    return (type(value) is bool, value)


def _microseconds(moment: datetime) -> int:
    return (moment - datetime.min.replace(tzinfo=UTC)) // timedelta(microseconds=1)


def _holds_ids(record: Record) -> bool:
    """Return whether the profile's customer id means it: a merged one's still does, a deleted one's does not."""
    return record.profile.deleted_at is None or record.profile.merged_into is not None

"""What a change of a customer profile does, worked out once; a backend applies the `Change` if revisions still hold."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, TypeVar
from uuid import UUID

from convostore.core.entities import next_stamps, stamp
from convostore.errors import ConflictError, ValidationError
from convostore.models import (
    Channel,
    ChannelIdentity,
    Consent,
    CustomerProfile,
    ItemStatus,
    ProfileAsset,
    ProfileField,
    VerificationLevel,
)
from convostore.models.base import Model
from convostore.models.fields import new_id

Item = TypeVar("Item", ProfileField, ProfileAsset)

_LEVELS = list(VerificationLevel)
_NEVER = datetime.min.replace(tzinfo=UTC)
_FATE = {"status", "superseded_by_id", "superseded_at"}


@dataclass
class Change:
    """Rows to write, all or none, provided that every profile still has its expected revision.

    Attributes:
        profiles: the new state of each changed profile.
        expected: the revision each must have now and when it was deleted, by id; revision 0 for one that must not
        exist. identities: identities to add or replace, with their profile and position in its list. unlinked:
        identities to remove, with their profile. fields: fields to add or replace, with their profile. assets: assets
        to add or replace, with their profile and position in its list. moved: all other children of the first profile
        become the second's, identities behind the `offset` it has already.
    """

    profiles: list[CustomerProfile] = field(default_factory=list)
    expected: dict[UUID, tuple[int, datetime | None]] = field(default_factory=dict)
    identities: list[tuple[UUID, int, ChannelIdentity]] = field(default_factory=list)
    unlinked: list[tuple[UUID, ChannelIdentity]] = field(default_factory=list)
    fields: list[tuple[UUID, ProfileField]] = field(default_factory=list)
    assets: list[tuple[UUID, int, ProfileAsset]] = field(default_factory=list)
    moved: tuple[UUID, UUID] | None = None
    offset: int = 0

    def touch(self, profile: CustomerProfile, now: datetime) -> None:
        """Add a profile with its next revision."""
        self.expected[profile.id] = (profile.revision, profile.deleted_at)
        created_at = profile.created_at if profile.revision else None
        stamp(profile, **next_stamps(profile, revision=profile.revision, created_at=created_at, now=now))
        self.profiles.append(profile)


def created(tenant_id: UUID, channel: Channel, channel_user_id: str, now: datetime) -> Change:
    """Return the change that creates a profile for a channel identity."""
    identity = ChannelIdentity(channel=channel, channel_user_id=channel_user_id, linked_at=now)
    profile = CustomerProfile(tenant_id=tenant_id, channel_identities=[identity])
    change = Change(identities=[(profile.id, 0, identity)])
    change.touch(profile, now)
    return change


def with_identity(profile: CustomerProfile, channel: Channel, channel_user_id: str, now: datetime) -> Change:
    """Return the change that links a channel identity which the profile does not have."""
    identity = ChannelIdentity(channel=channel, channel_user_id=channel_user_id, linked_at=now)
    change = Change(identities=[(profile.id, len(profile.channel_identities), identity)])
    profile.channel_identities.append(identity)
    change.touch(profile, now)
    return change


def with_field(
    profile: CustomerProfile, new: ProfileField, past: Iterable[ProfileField], now: datetime
) -> Change | None:
    """Return the change that sets a field, or None if it is set already.

    Args:
        profile: the profile as it is stored.
        new: the field.
        past: the profile's stored fields that are not active, at least the one with the new field's id.
        now: the moment of the change.

    Raises:
        ConflictError: the id is taken by a field of another name, or by one that is no longer active.
    """
    known = {item.id: item for item in (*past, *profile.fields.values())}
    old = known.get(new.id)
    if old is not None and _same(old, new):
        return None
    if old is not None and (old.name != new.name or old.status is not ItemStatus.ACTIVE):
        raise ConflictError("profile_field: the id is taken", code="profile_field_pkey")
    change = Change()
    _replace_field(change, profile.fields.get(new.name), profile.id, new, now)
    change.touch(profile, now)
    return change


def with_asset(
    profile: CustomerProfile, new: ProfileAsset, past: Iterable[ProfileAsset], now: datetime
) -> Change | None:
    """Return the change that adds an asset, or None if it is there already.

    Args:
        profile: the profile as it is stored.
        new: the asset.
        past: the profile's stored assets that are superseded, at least the one with the new asset's id.
        now: the moment of the change.

    Raises:
        ConflictError: the id is taken by another asset.
    """
    old = next((item for item in (*past, *profile.assets) if item.id == new.id), None)
    if old is not None and _same(old, new):
        return None
    if old is not None:
        raise ConflictError("profile_asset: the id is taken", code="profile_asset_pkey")
    change = Change(assets=[(profile.id, len(profile.assets), new)])
    if new.status is not ItemStatus.SUPERSEDED:
        profile.assets.append(new)
    change.touch(profile, now)
    return change


def saved(
    stored: CustomerProfile | None, new: CustomerProfile, past: Collection[ProfileField | ProfileAsset], now: datetime
) -> Change:
    """Return the change that makes a profile what is given; `new` gets its stamps.

    Args:
        stored: the profile as it is stored, None if it is not.
        new: the profile as it shall be.
        past: the profile's stored fields that are not active and assets that are superseded, at least those whose ids
            the new profile uses.
        now: the moment of the change.

    Raises:
        ConflictError: a field or asset has the id of a past one.
    """
    if past:
        raise ConflictError("profile: a field or asset has the id of a superseded one")
    change = Change()
    before = stored or CustomerProfile(tenant_id=new.tenant_id)
    identities = {(identity.channel, identity.channel_user_id) for identity in new.channel_identities}
    change.unlinked = [
        (new.id, old) for old in before.channel_identities if (old.channel, old.channel_user_id) not in identities
    ]
    change.identities = [(new.id, position, identity) for position, identity in enumerate(new.channel_identities)]
    dropped = [old for name, old in before.fields.items() if name not in new.fields]
    change.fields = [(new.id, _superseded(old, None, now)) for old in dropped]
    for item in new.fields.values():
        _replace_field(change, before.fields.get(item.name), new.id, item, now)
    listed = {asset.id for asset in new.assets}
    change.assets = [(new.id, 0, _superseded(old, None, now)) for old in before.assets if old.id not in listed]
    change.assets += [(new.id, position, asset) for position, asset in enumerate(new.assets)]
    stamp(
        new,
        revision=stored.revision if stored else 0,
        created_at=stored.created_at if stored else now,
        deleted_at=None,
    )
    change.touch(new, now)
    return change


def with_deletion(profile: CustomerProfile, deleted_at: datetime | None) -> Change:
    """Return the change that deletes a profile softly, or with None brings it back; its revision stays."""
    change = Change(expected={profile.id: (profile.revision, profile.deleted_at)}, profiles=[profile])
    stamp(profile, deleted_at=deleted_at)
    return change


def merged(source: CustomerProfile, target: CustomerProfile, now: datetime) -> Change:
    """Return the change that moves everything of one living profile into another, which becomes the result.

    Of two fields of one name the verified one wins, then the higher confidence, then the newer, then the target's.
    """
    change = Change(moved=(source.id, target.id), offset=len(target.channel_identities))
    target.channel_identities += source.channel_identities
    for name, theirs in source.fields.items():
        ours = target.fields.get(name)
        if ours is not None:
            winner, loser = (theirs, ours) if _rank(theirs) > _rank(ours) else (ours, theirs)
            change.fields.append((target.id, _superseded(loser, winner.id, now)))
        else:
            winner = theirs
        if winner is theirs:
            target.fields[name] = theirs
            change.fields.append((target.id, theirs))
    change.assets = [
        (target.id, position, asset) for position, asset in enumerate(source.assets, start=len(target.assets))
    ]
    target.assets += source.assets
    target.consents = _merged_consents(source.consents, target.consents)
    target.verification_level = max(source.verification_level, target.verification_level, key=_LEVELS.index)
    times = [profile.last_interaction_at for profile in (source, target) if profile.last_interaction_at]
    target.last_interaction_at = max(times, default=None)
    source.channel_identities, source.fields, source.assets = [], {}, []
    change.touch(target, now)
    change.touch(source, now)
    stamp(source, deleted_at=now, merged_into=target.id)
    return change


def check_mergeable(source: CustomerProfile, target: CustomerProfile) -> None:
    """Refuse profiles that are deleted or already merged.

    Raises:
        ValidationError: one of them is.
    """
    for name, profile in (("source_id", source), ("target_id", target)):
        if profile.merged_into is not None:
            raise ValidationError(f"{name}: the profile is already merged")
        if profile.deleted_at is not None:
            raise ValidationError(f"{name}: the profile is deleted")


def _replace_field(
    change: Change, old: ProfileField | None, profile_id: UUID, new: ProfileField, now: datetime
) -> None:
    """Write a field; the active one of its name moves to the history, under a new id if the new one takes its own."""
    if old == new:
        return
    if old is not None and old.id != new.id and new.status is ItemStatus.ACTIVE:
        change.fields.append((profile_id, _superseded(old, new.id, now)))
    elif old is not None and old.id == new.id and old.value != new.value:
        past = old.model_copy(update={"id": new_id()})
        change.fields.append((profile_id, _superseded(past, new.id, now)))
    change.fields.append((profile_id, new))


def _same(old: Model, new: Model) -> bool:
    """Return whether two items agree in all but what became of them since."""
    return old.model_dump(exclude=_FATE) == new.model_dump(exclude=_FATE)


def _superseded(old: Item, by: UUID | None, at: datetime) -> Item:
    fate: dict[str, Any] = {"status": ItemStatus.SUPERSEDED, "superseded_by_id": by, "superseded_at": at}
    return old.model_copy(update=fate)


def _rank(item: ProfileField) -> tuple[bool, float, datetime]:
    return item.verified, item.confidence, item.collected_at


def _merged_consents(source: list[Consent], target: list[Consent]) -> list[Consent]:
    latest = {consent.consent_type: consent for consent in target}
    for consent in source:
        ours = latest.get(consent.consent_type)
        if ours is None or _decided(consent) > _decided(ours):
            latest[consent.consent_type] = consent
    return list(latest.values())


def _decided(consent: Consent) -> datetime:
    return max(consent.granted_at or _NEVER, consent.revoked_at or _NEVER)

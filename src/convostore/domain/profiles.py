"""What a change of a customer profile does, worked out once; a backend applies the `Change`."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import UTC, datetime
from typing import Any, TypeVar
from uuid import UUID

from convostore.domain.profile_change import Change, LoadedProfile, identity_key
from convostore.domain.revisions import set_managed
from convostore.errors import ConflictError, NotFoundError
from convostore.models import (
    Channel,
    ChannelIdentity,
    Consent,
    CustomerProfile,
    ItemStatus,
    ItemTrace,
    ProfileAsset,
    ProfileField,
    VerificationLevel,
)
from convostore.models.base import Model
from convostore.models.fields import new_id

Item = TypeVar("Item", ProfileField, ProfileAsset)

_NEVER = datetime.min.replace(tzinfo=UTC)
_FATE = {"status", "superseded_by_id", "superseded_at"}


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
        ConflictError: the id belongs to a field of another name, or to one that is no longer active.
    """
    known = {item.id: item for item in (*past, *profile.fields.values())}
    old = known.get(new.id)
    if old is not None and same(old, new):
        return None
    if old is not None and (old.name != new.name or old.status is not ItemStatus.ACTIVE):
        raise ConflictError("profile_field: the id is in use", code="profile_field_pkey")
    change = Change()
    _replace_field(change, profile.fields.get(new.name), profile.id, new, now)
    change.touch(profile, now)
    return change


def with_asset(
    profile: CustomerProfile, new: ProfileAsset, past: Iterable[ProfileAsset], now: datetime, supersedes: UUID | None
) -> Change | None:
    """Return the change that adds an asset, or None if it is there already.

    Args:
        profile: the profile as it is stored.
        new: the asset.
        past: the profile's stored assets that are superseded, at least the ones with the two ids.
        now: the moment of the change.
        supersedes: the asset that it takes the place of.

    Raises:
        ConflictError: the id belongs to another asset, or the other was superseded before.
        NotFoundError: the other asset does not exist.
    """
    old = next((item for item in (*past, *profile.assets) if item.id == new.id), None)
    if old is not None and same(old, new):
        return None
    if old is not None:
        raise ConflictError("profile_asset: the id is in use", code="profile_asset_pkey")
    change = Change()
    if supersedes is not None:
        replaced = next((item for item in (*past, *profile.assets) if item.id == supersedes), None)
        if replaced is None:
            raise NotFoundError("supersedes: the profile has no such asset")
        if replaced not in profile.assets:
            raise ConflictError("supersedes: the asset was superseded before", code="superseded")
        profile.assets.remove(replaced)
        change.assets = [(profile.id, 0, superseded(replaced, new.id, now))]
    if new.status is not ItemStatus.SUPERSEDED:
        profile.assets.append(new)
        change.assets += [(profile.id, place, asset) for place, asset in enumerate(profile.assets)]
    else:
        change.assets.append((profile.id, 0, new))
    change.touch(profile, now)
    return change


def with_consent(profile: CustomerProfile, new: Consent, now: datetime) -> Change | None:
    """Return the change that records a consent, or None if what is known was decided later or is the same."""
    old = next((consent for consent in profile.consents if consent.consent_type == new.consent_type), None)
    if old is not None and (old == new or decided(old) > decided(new)):
        return None
    profile.consents = [new if consent is old else consent for consent in profile.consents]
    if old is None:
        profile.consents.append(new)
    change = Change()
    change.touch(profile, now)
    return change


def with_level(profile: CustomerProfile, level: VerificationLevel, now: datetime) -> Change | None:
    """Return the change that sets the verification level, or None if it is set already."""
    if profile.verification_level is level:
        return None
    profile.verification_level = level
    change = Change()
    change.touch(profile, now)
    return change


def decided(consent: Consent) -> datetime:
    """Return when a consent was given or withdrawn, whichever was later."""
    return max(consent.granted_at or _NEVER, consent.revoked_at or _NEVER)


def traced(item_id: UUID, stored: LoadedProfile) -> ItemTrace | None:
    """Return what an item was derived from and what was derived from it; None if there is no such item."""
    items = {item.id: item for item in (*stored.past_fields, *stored.profile.fields.values())}
    files = {item.id: item for item in (*stored.past_assets, *stored.profile.assets)}
    known: dict[UUID, ProfileField | ProfileAsset] = {**items, **files}
    if item_id not in known:
        return None
    seen, sources, source = {item_id}, [], known[item_id].source_item_id
    while source in known and source not in seen:
        seen.add(source)
        sources.append(known[source])
        source = known[source].source_item_id
    derived: list[ProfileField | ProfileAsset] = []
    level = {item_id}
    while level:
        found = [item for item in known.values() if item.source_item_id in level and item.id not in seen]
        derived += sorted(found, key=lambda item: item.id)
        level = {item.id for item in found}
        seen |= level
    return ItemTrace.model_construct(item=known[item_id], sources=sources, derived=derived)


def saved(
    stored: CustomerProfile | None, new: CustomerProfile, past: Collection[ProfileField | ProfileAsset], now: datetime
) -> Change:
    """Return the change that makes a profile what is given; `new` gets its store-managed values.

    Args:
        stored: the profile as it is stored, None if it is not.
        new: the profile as it shall be.
        past: the profile's stored fields that are not active and assets that are superseded, at least those whose ids
            the new profile uses.
        now: the moment of the change.

    Raises:
        ConflictError: a field or asset has the id of a past one, or a field that of one of another name.
    """
    if past:
        raise ConflictError("profile: a field or asset has the id of a superseded one")
    change = Change()
    before = stored or CustomerProfile(tenant_id=new.tenant_id)
    known = {item.id: item.name for item in before.fields.values()}
    if any(known.get(item.id, name) != name for name, item in new.fields.items()):
        raise ConflictError("profile_field: the id is in use", code="profile_field_pkey")
    identities = {identity_key(identity) for identity in new.channel_identities}
    change.unlinked = [(new.id, old) for old in before.channel_identities if identity_key(old) not in identities]
    change.identities = [(new.id, position, identity) for position, identity in enumerate(new.channel_identities)]
    dropped = [old for name, old in before.fields.items() if name not in new.fields]
    change.fields = [(new.id, superseded(old, None, now)) for old in dropped]
    for item in new.fields.values():
        _replace_field(change, before.fields.get(item.name), new.id, item, now)
    listed = {asset.id for asset in new.assets}
    change.assets = [(new.id, 0, superseded(old, None, now)) for old in before.assets if old.id not in listed]
    change.assets += [(new.id, position, asset) for position, asset in enumerate(new.assets)]
    set_managed(
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
    set_managed(profile, deleted_at=deleted_at)
    return change


def _replace_field(
    change: Change, old: ProfileField | None, profile_id: UUID, new: ProfileField, now: datetime
) -> None:
    """Write a field; the active one of its name moves to the history, under a new id if the new one takes its own."""
    if old == new:
        return
    if old is not None and old.id != new.id and new.status is ItemStatus.ACTIVE:
        change.fields.append((profile_id, superseded(old, new.id, now)))
    elif old is not None and old.id == new.id and old.value != new.value:
        past = old.model_copy(update={"id": new_id()})
        change.fields.append((profile_id, superseded(past, new.id, now)))
    change.fields.append((profile_id, new))


def same(old: Model, new: Model) -> bool:
    """Return whether two items agree in all but what became of them since."""
    return old.model_dump(exclude=_FATE) == new.model_dump(exclude=_FATE)


def superseded(old: Item, by: UUID | None, at: datetime) -> Item:
    fate: dict[str, Any] = {"status": ItemStatus.SUPERSEDED, "superseded_by_id": by, "superseded_at": at}
    return old.model_copy(update=fate)

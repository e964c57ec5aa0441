"""Merging customer profiles, and undoing the newest merge."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import TypeVar
from uuid import UUID

from convostore.domain.profile_change import Change, LoadedProfile, Merge, identity_key
from convostore.domain.profiles import decided, same, superseded
from convostore.domain.revisions import set_managed
from convostore.errors import ValidationError
from convostore.models import (
    Consent,
    CustomerProfile,
    ItemStatus,
    ProfileAsset,
    ProfileField,
    VerificationLevel,
)
from convostore.models.fields import new_id

Item = TypeVar("Item", ProfileField, ProfileAsset)

_LEVELS = list(VerificationLevel)


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


def merged(source: LoadedProfile, target: CustomerProfile, now: datetime) -> Change:
    """Return the change that moves everything of one living profile into another, which becomes the result.

    Of two fields of one name the verified one wins, then the higher confidence, then the newer, then the target's.

    Args:
        source: the profile with all its past items.
        target: the other.
        now: the moment of the merge.
    """
    theirs = source.profile
    both = {name: item for name, item in target.fields.items() if name in theirs.fields}
    before = target.model_copy(update={"fields": both, "channel_identities": [], "assets": []}, deep=True)
    change = Change(
        merge=Merge.model_construct(
            source=theirs.model_copy(deep=True),
            past_fields=source.past_fields,
            past_assets=source.past_assets,
            target=before,
            merged_at=now,
        )
    )
    for position, identity in enumerate(theirs.channel_identities, start=len(target.channel_identities)):
        change.moved.append((theirs.id, target.id, position, identity))
    target.channel_identities += theirs.channel_identities
    change.fields = [(target.id, item) for item in source.past_fields]
    for name, item in theirs.fields.items():
        ours = target.fields.get(name)
        winner, loser = (item, ours) if ours is None or _rank(item) > _rank(ours) else (ours, item)
        if loser is not None:
            change.fields.append((target.id, superseded(loser, winner.id, now)))
        if winner is item:
            target.fields[name] = item
            change.fields.append((target.id, item))
    change.assets = [(target.id, 0, asset) for asset in source.past_assets]
    change.assets += [(target.id, at, asset) for at, asset in enumerate(theirs.assets, start=len(target.assets))]
    target.assets += theirs.assets
    target.consents = _merged_consents(theirs.consents, target.consents)
    target.verification_level = max(theirs.verification_level, target.verification_level, key=_LEVELS.index)
    times = [profile.last_interaction_at for profile in (theirs, target) if profile.last_interaction_at]
    target.last_interaction_at = max(times, default=None)
    theirs.channel_identities, theirs.fields, theirs.assets = [], {}, []
    change.touch(target, now)
    change.touch(theirs, now)
    set_managed(theirs, deleted_at=now, merged_into=target.id)
    return change


def unmerged(merge: Merge, source: CustomerProfile, target: LoadedProfile, now: datetime) -> Change:
    """Return the change that undoes the newest merge into a profile; the first of its profiles is the restored one.

    What the source brought goes back as it was. What was written since stays with the target: a field or asset of the
    source that was changed stays as a copy with an id of its own.

    Args:
        merge: the merge.
        source: the merged profile as it is stored.
        target: the other with all its past items.
        now: the moment of the change.
    """
    restored, ours = merge.source.model_copy(deep=True), target.profile
    set_managed(restored, revision=source.revision, deleted_at=source.deleted_at)
    brought = LoadedProfile(merge.source.model_copy(deep=True), merge.past_fields, merge.past_assets)
    wrote = merged(brought, merge.target.model_copy(deep=True), merge.merged_at)
    change = Change(undone=restored.id)
    _return_identities(change, restored, ours)
    _return_fields(change, merge, target, {item.id: item for _, item in wrote.fields})
    _return_assets(change, merge, target)
    _withdraw(ours, merge.target, wrote.profiles[0])
    change.touch(restored, now)
    set_managed(restored, deleted_at=None)
    change.touch(ours, now)
    return change


def _return_identities(change: Change, restored: CustomerProfile, ours: CustomerProfile) -> None:
    places = {identity_key(identity): place for place, identity in enumerate(restored.channel_identities)}
    back = [identity for identity in ours.channel_identities if identity_key(identity) in places]
    back.sort(key=lambda identity: places[identity_key(identity)])
    change.moved = [(ours.id, restored.id, place, identity) for place, identity in enumerate(back)]
    restored.channel_identities = back
    ours.channel_identities = [identity for identity in ours.channel_identities if identity_key(identity) not in places]
    change.identities = [(ours.id, place, identity) for place, identity in enumerate(ours.channel_identities)]


def _return_fields(change: Change, merge: Merge, target: LoadedProfile, wrote: dict[UUID, ProfileField]) -> None:
    ours = target.profile
    current = {item.id: item for item in (*target.past_fields, *ours.fields.values())}
    before = [*merge.past_fields, *merge.source.fields.values()]
    change.fields = [(merge.source.id, item) for item in before]
    kept = _kept(before, current)
    change.fields += [(ours.id, item) for item in kept]
    gone = {item.id for item in before}
    remaining = [*(item for item in ours.fields.values() if item.id not in gone), *kept]
    ours.fields = {item.name: item for item in remaining if item.status is ItemStatus.ACTIVE}
    for name, item in merge.target.fields.items():
        if wrote.get(item.id) != current[item.id]:
            continue  # it did not lose, or was written since
        successor = ours.fields.get(name)
        if successor is None:
            ours.fields[name] = item
            change.fields.append((ours.id, item))
        else:
            lost = current[item.id].model_copy(update={"superseded_by_id": successor.id})
            change.fields.append((ours.id, lost))


def _return_assets(change: Change, merge: Merge, target: LoadedProfile) -> None:
    ours = target.profile
    current = {item.id: item for item in (*target.past_assets, *ours.assets)}
    change.assets = [(merge.source.id, 0, item) for item in merge.past_assets]
    change.assets += [(merge.source.id, place, item) for place, item in enumerate(merge.source.assets)]
    before = [*merge.past_assets, *merge.source.assets]
    gone = {item.id for item in before}
    kept = _kept(before, current)
    change.assets += [(ours.id, 0, item) for item in kept if item.status is ItemStatus.SUPERSEDED]
    ours.assets = [item for item in ours.assets if item.id not in gone]
    ours.assets += [item for item in kept if item.status is not ItemStatus.SUPERSEDED]
    change.assets += [(ours.id, place, item) for place, item in enumerate(ours.assets)]


def _kept(before: Iterable[Item], current: dict[UUID, Item]) -> list[Item]:
    """Return copies of what was changed since, in more than what became of it."""
    changed = [current[item.id] for item in before if not same(current[item.id], item)]
    return [item.model_copy(update={"id": new_id()}) for item in changed]


def _withdraw(ours: CustomerProfile, before: CustomerProfile, after: CustomerProfile) -> None:
    """Give a profile back what it had before a merge, where nothing was written after it."""
    if ours.verification_level is after.verification_level:
        ours.verification_level = before.verification_level
    if ours.last_interaction_at == after.last_interaction_at:
        ours.last_interaction_at = before.last_interaction_at
    got = _by_type(after.consents)
    later = [consent for consent in ours.consents if got.get(consent.consent_type) != consent]
    decided_later = _by_type(later)
    gone = got.keys() - _by_type(ours.consents).keys()
    ours.consents = [c for c in before.consents if c.consent_type not in decided_later.keys() | gone] + later


def _rank(item: ProfileField) -> tuple[bool, float, datetime]:
    return item.verified, item.confidence, item.collected_at


def _by_type(consents: Iterable[Consent]) -> dict[str, Consent]:
    return {consent.consent_type: consent for consent in consents}


def _merged_consents(source: list[Consent], target: list[Consent]) -> list[Consent]:
    latest = _by_type(target)
    for consent in source:
        ours = latest.get(consent.consent_type)
        if ours is None or decided(consent) > decided(ours):
            latest[consent.consent_type] = consent
    return list(latest.values())

"""A customer profile as backends load it, and the change of profiles that they apply if revisions still hold."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from convostore.domain.codec import Codec
from convostore.domain.revisions import managed_values, set_managed
from convostore.models import Channel, ChannelIdentity, CustomerProfile, ProfileAsset, ProfileField
from convostore.models.base import FrozenModel
from convostore.models.fields import UtcDatetime


class LoadedProfile(NamedTuple):
    """A profile as it is stored, deleted or not, with those of its past items that were asked for.

    Attributes:
        profile: the profile.
        past_fields: its fields that are not active.
        past_assets: its assets that are superseded.
        write_id: the id of the call that wrote it last, None if the backend does not keep it.
    """

    profile: CustomerProfile
    past_fields: list[ProfileField]
    past_assets: list[ProfileAsset]
    write_id: UUID | None = None


class Merge(FrozenModel):
    """What a merge must be undone with.

    Attributes:
        source: the profile that was merged, as it was before.
        past_fields: its fields that were not active.
        past_assets: its assets that were superseded.
        target: the other as it was before, with those of its fields only whose names the source had too.
        merged_at: when it was.
    """

    source: CustomerProfile
    past_fields: list[ProfileField]
    past_assets: list[ProfileAsset]
    target: CustomerProfile
    merged_at: UtcDatetime


MERGE = Codec("merge", Merge)
"""Turns what is remembered of a merge into what is stored, and back."""


@dataclass
class Change:
    """Rows to write, all or none, provided that every profile still has its expected revision.

    Attributes:
        profiles: the new state of each changed profile.
        expected: the revision each must have now and when it was deleted, by id; revision 0 for a new one.
        identities: identities to add or replace, with their profile and position in its list.
        unlinked: identities to remove, with their profile.
        moved: identities to give from one profile to another, with their position in its list.
        fields: fields to add or replace, with their profile, in this order.
        assets: assets to add or replace, with their profile and position in its list.
        merge: the merge that this is, to be kept until it is undone.
        undone: the profile whose merge this undoes.
    """

    profiles: list[CustomerProfile] = field(default_factory=list)
    expected: dict[UUID, tuple[int, datetime | None]] = field(default_factory=dict)
    identities: list[tuple[UUID, int, ChannelIdentity]] = field(default_factory=list)
    unlinked: list[tuple[UUID, ChannelIdentity]] = field(default_factory=list)
    moved: list[tuple[UUID, UUID, int, ChannelIdentity]] = field(default_factory=list)
    fields: list[tuple[UUID, ProfileField]] = field(default_factory=list)
    assets: list[tuple[UUID, int, ProfileAsset]] = field(default_factory=list)
    merge: Merge | None = None
    undone: UUID | None = None

    def touch(self, profile: CustomerProfile, now: datetime) -> None:
        """Add a profile with its next revision."""
        self.expected[profile.id] = (profile.revision, profile.deleted_at)
        created_at = profile.created_at if profile.revision else None
        set_managed(profile, **managed_values(profile, revision=profile.revision, created_at=created_at, now=now))
        self.profiles.append(profile)


def identity_key(identity: ChannelIdentity) -> tuple[Channel, str]:
    """Return what a channel identity is known by."""
    return identity.channel, identity.channel_user_id

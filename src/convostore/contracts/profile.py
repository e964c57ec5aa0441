"""The contract of the profile store: who an agent talks to."""

from __future__ import annotations

from abc import abstractmethod
from uuid import UUID

from convostore.core.boundary import Store
from convostore.core.operations import writes, writes_once
from convostore.core.validation import Limit, Offset
from convostore.models.enums import Channel
from convostore.models.fields import ChannelUserId, UtcDatetime
from convostore.models.profile import ChannelIdentity, CustomerProfile, ProfileAsset, ProfileField


class ProfileStore(Store):
    """Customer profiles with channel identities, fields, assets and consents.

    A channel identity belongs to at most one living profile of a tenant. The ids of a profile that was merged into
    another lead to that other one, in reads and writes. Every change of a profile raises its `revision`.
    """

    kind = "profile"

    @abstractmethod
    async def get_profile(self, tenant_id: UUID, profile_id: UUID) -> CustomerProfile | None:
        """Return a profile by its id, or None."""

    @abstractmethod
    async def get_by_customer_id(self, tenant_id: UUID, customer_id: UUID) -> CustomerProfile | None:
        """Return a profile by its customer id, or None."""

    @abstractmethod
    async def get_by_channel_identity(
        self, tenant_id: UUID, channel: Channel, channel_user_id: ChannelUserId
    ) -> CustomerProfile | None:
        """Return the profile that a channel identity belongs to, or None."""

    @abstractmethod
    @writes
    async def get_or_create(self, tenant_id: UUID, channel: Channel, channel_user_id: ChannelUserId) -> CustomerProfile:
        """Return the profile that a channel identity belongs to, creating one with this identity if there is none.

        Concurrent calls for one identity return the same profile.
        """

    @abstractmethod
    async def list_profiles(self, tenant_id: UUID, *, limit: Limit = 100, offset: Offset = 0) -> list[CustomerProfile]:
        """Return a tenant's profiles by `created_at`, newest first, then by id; empty if there are none.

        Args:
            tenant_id: the tenant.
            limit: how many at most, 1 to 1,000.
            offset: how many to skip, 0 to 10,000.
        """

    @abstractmethod
    @writes
    async def save_profile(self, profile: CustomerProfile, *, overwrite: bool = False) -> UUID:
        """Store a profile with its identities, fields, assets and consents, and return its id.

        The stored profile becomes what is given: identities that are not listed are unlinked, consents replaced. A
        field that is replaced, has another value or is no longer listed stays in the history as superseded, and so
        does an asset that is no longer listed.

        Args:
            profile: the profile, with the revision it was read with, or 0 if it is new.
            overwrite: store it whatever the stored revision is.

        Raises:
            ConflictError: the stored revision is another, the profile was deleted or merged, or an id, the customer id
                or a channel identity is taken.
        """

    @abstractmethod
    @writes_once
    async def delete_profile(self, tenant_id: UUID, profile_id: UUID) -> bool:
        """Delete a profile softly; return whether it was there. Its channel identities become free."""

    @abstractmethod
    @writes_once
    async def restore_profile(self, tenant_id: UUID, profile_id: UUID) -> bool:
        """Bring back a deleted profile; return whether there was one.

        Raises:
            ConflictError: its customer id or a channel identity belongs to another profile by now.
        """

    @abstractmethod
    @writes
    async def update_field(self, tenant_id: UUID, profile_id: UUID, field: ProfileField) -> None:
        """Set a field of a profile. What it replaces is superseded, not lost.

        An active field of the same name with another id becomes superseded. A field with the same id is updated in
        place, for example when it gets verified; if its value changes, the old one stays in the history under an id
        of its own.

        Raises:
            NotFoundError: the profile is not there.
            ConflictError: the id is taken by a field of another profile or name, or by a superseded one.
        """

    @abstractmethod
    @writes
    async def add_asset(self, tenant_id: UUID, profile_id: UUID, asset: ProfileAsset) -> UUID:
        """Add an asset to a profile and return its id. Adding the same again does nothing.

        Raises:
            NotFoundError: the profile is not there.
            ConflictError: the id is taken by another asset.
        """

    @abstractmethod
    @writes
    async def link_channel(
        self, tenant_id: UUID, profile_id: UUID, channel: Channel, channel_user_id: ChannelUserId
    ) -> ChannelIdentity:
        """Give a profile a channel identity and return it. If it is the profile's own already, nothing changes.

        Raises:
            NotFoundError: the profile is not there.
            ConflictError: the identity belongs to another profile.
        """

    @abstractmethod
    @writes_once
    async def merge_profiles(self, tenant_id: UUID, source_id: UUID, target_id: UUID) -> CustomerProfile:
        """Move everything of one profile into another, at once, and return the target.

        For a field both have, the verified one wins, then the higher confidence, then the newer `collected_at`, then
        the target's; the other stays in the history as superseded. Of a consent both have, the one decided last
        remains, then the target's. The higher verification level and the later interaction remain. The source is
        deleted softly and its ids lead to the target.

        Raises:
            ValidationError: the two are one, or either is deleted or already merged.
            NotFoundError: either is not there.
        """

    @abstractmethod
    @writes_once
    async def purge_deleted(self, tenant_id: UUID, *, before: UtcDatetime) -> int:
        """Remove for good the profiles deleted before a moment; return how many.

        Merged ones stay, as their ids lead on, until the profile they lead to goes; then they go and count with it.
        """

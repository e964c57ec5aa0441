"""The contract of the profile store: who an agent talks to."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import AsyncIterator
from functools import partial
from uuid import UUID

from convostore.call.effects import idempotent, non_idempotent
from convostore.call.paging import paginate
from convostore.call.store import Store
from convostore.call.validation import Limit, Offset
from convostore.models.enums import Channel, VerificationLevel
from convostore.models.fields import ChannelUserId, Json, Key, Text, UtcDatetime
from convostore.models.profile import (
    ChannelIdentity,
    Consent,
    CustomerProfile,
    ItemTrace,
    ProfileAsset,
    ProfileField,
)


class ProfileStore(Store):
    """Customer profiles with channel identities, fields, assets and consents.

    A channel identity belongs to at most one living profile of a tenant. The ids of a merged profile lead to the
    profile that it was merged into, except in `save_profile` and `merge_profiles`, which refuse them. Every change of a
    profile raises its `revision`.
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
    @idempotent
    async def get_or_create(self, tenant_id: UUID, channel: Channel, channel_user_id: ChannelUserId) -> CustomerProfile:
        """Return the profile that a channel identity belongs to, creating one with this identity if there is none.

        Concurrent calls for one identity return the same profile.
        """

    @abstractmethod
    async def list_profiles(
        self,
        tenant_id: UUID,
        *,
        verification_level: VerificationLevel | None = None,
        limit: Limit = 100,
        offset: Offset = 0,
        after: CustomerProfile | None = None,
    ) -> list[CustomerProfile]:
        """Return a tenant's profiles by `created_at`, newest first, then by id; empty if there are none.

        Args:
            tenant_id: the tenant.
            verification_level: only profiles of this level.
            limit: the maximum number of results, 1 to 1,000.
            offset: the number of results to skip, 0 to 10,000.
            after: the cursor of keyset pagination: only items behind this one, stored or not.
        """

    def iter_profiles(
        self, tenant_id: UUID, *, verification_level: VerificationLevel | None = None
    ) -> AsyncIterator[CustomerProfile]:
        """Yield all of a tenant's profiles in the order of `list_profiles`."""
        return paginate(partial(self.list_profiles, tenant_id, verification_level=verification_level))

    @abstractmethod
    async def find_profiles_by_field(
        self, tenant_id: UUID, field_name: Key, value: Json, *, limit: Limit = 100, offset: Offset = 0
    ) -> list[CustomerProfile]:
        """Return the profiles whose active field of a name has a value, in the order of `list_profiles`.

        Args:
            tenant_id: the tenant.
            field_name: the name of the field.
            value: the value, equal as JSON: the order of keys does not matter, nor do 1 and 1.0 differ.
            limit: the maximum number of results, 1 to 1,000.
            offset: the number of results to skip, 0 to 10,000.
        """

    @abstractmethod
    async def get_field_history(
        self, tenant_id: UUID, profile_id: UUID, field_name: Key, *, limit: Limit = 100, offset: Offset = 0
    ) -> list[ProfileField]:
        """Return every value a field of a profile has had, by `collected_at`, newest first, then by id.

        The active one and those that merges brought are included; empty if there was none, or no such profile.

        Args:
            tenant_id: the tenant.
            profile_id: the profile.
            field_name: the name of the field.
            limit: the maximum number of results, 1 to 1,000.
            offset: the number of results to skip, 0 to 10,000.
        """

    @abstractmethod
    async def get_asset_history(
        self, tenant_id: UUID, profile_id: UUID, asset_name: Text, *, limit: Limit = 100, offset: Offset = 0
    ) -> list[ProfileAsset]:
        """Return every asset of a name that a profile has had, by `uploaded_at`, newest first, then by id.

        Args:
            tenant_id: the tenant.
            profile_id: the profile.
            asset_name: the name of the assets.
            limit: the maximum number of results, 1 to 1,000.
            offset: the number of results to skip, 0 to 10,000.
        """

    @abstractmethod
    async def trace_item(self, tenant_id: UUID, profile_id: UUID, item_id: UUID) -> ItemTrace | None:
        """Return what a profile's field or asset was derived from and what was derived from it, superseded ones too.

        None if the profile has no such item. What a `source_item_id` names outside the profile is not followed.

        Args:
            tenant_id: the tenant.
            profile_id: the profile.
            item_id: the field or asset.
        """

    @abstractmethod
    @idempotent
    async def save_profile(self, profile: CustomerProfile, *, overwrite: bool = False) -> UUID:
        """Upsert a profile with its identities, fields, assets and consents, a compare-and-set, and return its id.

        The stored profile becomes what is given: identities that are not listed are unlinked, consents replaced. A
        field that is replaced, gets another value or is no longer listed stays in the history as superseded; so does
        an asset that is no longer listed.

        Args:
            profile: the profile, with the revision it was read with, or 0 if it is new.
            overwrite: store it whatever the stored revision is.

        Raises:
            ConflictError: the stored revision is another, the profile was deleted or merged, or an id, the customer id
                or a channel identity belongs to another profile.
        """

    @abstractmethod
    @non_idempotent
    async def delete_profile(self, tenant_id: UUID, profile_id: UUID) -> bool:
        """Delete a profile softly; return whether it existed. Its channel identities become free."""

    @abstractmethod
    @non_idempotent
    async def restore_profile(self, tenant_id: UUID, profile_id: UUID) -> bool:
        """Restore a deleted profile; return whether there was one.

        Raises:
            ConflictError: its customer id or a channel identity belongs to another profile by now.
        """

    @abstractmethod
    @idempotent
    async def update_field(self, tenant_id: UUID, profile_id: UUID, field: ProfileField) -> None:
        """Set a field of a profile. What it replaces is superseded, not lost.

        An active field of the same name with another id becomes superseded. A field with the same id is updated in
        place, for example when it gets verified; if its value changes, the old one stays in the history under an id
        of its own.

        Raises:
            NotFoundError: the profile does not exist.
            ConflictError: the id belongs to a field of another profile or name, or to a superseded one.
        """

    @abstractmethod
    @non_idempotent
    async def expire_stale_fields(self, tenant_id: UUID, *, at: UtcDatetime | None = None, limit: Limit = 1_000) -> int:
        """Let active fields whose `expires_at` has come expire, all or none; return how many did.

        An expired field leaves its profile's `fields` and stays in the history. One call expires one batch, those
        whose time came first. Call it until it returns 0.

        Args:
            tenant_id: the tenant.
            at: up to which moment, inclusive; None means now.
            limit: the maximum number of fields, 1 to 1,000.
        """

    @abstractmethod
    @idempotent
    async def add_asset(
        self, tenant_id: UUID, profile_id: UUID, asset: ProfileAsset, *, supersedes: UUID | None = None
    ) -> UUID:
        """Add an asset to a profile and return its id. Adding the same again is a no-op.

        Args:
            tenant_id: the tenant.
            profile_id: the profile.
            asset: the asset.
            supersedes: the asset whose place it takes, which becomes superseded and stays in the history.

        Raises:
            NotFoundError: the profile does not exist, or it has no asset to be superseded.
            ConflictError: the id belongs to another asset, or the other was superseded before.
        """

    @abstractmethod
    @idempotent
    async def save_consent(self, tenant_id: UUID, profile_id: UUID, consent: Consent) -> None:
        """Record what a customer decided about one type of consent. If a later decision is stored, that is kept.

        Raises:
            NotFoundError: the profile does not exist.
        """

    @abstractmethod
    @non_idempotent
    async def set_verification_level(self, tenant_id: UUID, profile_id: UUID, level: VerificationLevel) -> None:
        """Set how far a customer's identity is verified.

        Raises:
            NotFoundError: the profile does not exist.
        """

    @abstractmethod
    @idempotent
    async def link_channel(
        self, tenant_id: UUID, profile_id: UUID, channel: Channel, channel_user_id: ChannelUserId
    ) -> ChannelIdentity:
        """Give a profile a channel identity and return it. If it is the profile's own already, nothing changes.

        Raises:
            NotFoundError: the profile does not exist.
            ConflictError: the identity belongs to another profile.
        """

    @abstractmethod
    @non_idempotent
    async def merge_profiles(self, tenant_id: UUID, source_id: UUID, target_id: UUID) -> CustomerProfile:
        """Move everything of one profile into another, atomically, and return the target.

        If both have a field, the verified one wins, then the higher confidence, then the newer `collected_at`, then the
        target's; the other stays in the history as superseded. If both have a consent, the later decision wins, then
        the target's. The higher verification level and the later interaction are kept. The source is deleted softly and
        its ids lead to the target.

        Raises:
            ValidationError: both ids are the same, or either profile is deleted or already merged.
            NotFoundError: either does not exist.
        """

    @abstractmethod
    @non_idempotent
    async def unmerge_profiles(self, tenant_id: UUID, profile_id: UUID) -> CustomerProfile:
        """Undo the newest merge into a profile (the target) and return the source, which is living again.

        The source gets back what it brought, as it was: identities, fields and assets with their history, consents. The
        target becomes what it was before, and keeps what was written since. It also keeps a copy, with a new id, of an
        item that the merge brought and that was changed since. An identity that was unlinked from the target since does
        not come back. Another call undoes the merge before.

        Args:
            tenant_id: the tenant.
            profile_id: the profile that another was merged into.

        Raises:
            ValidationError: no merge into it is left to undo.
            NotFoundError: it does not exist.
        """

    @abstractmethod
    @non_idempotent
    async def purge_deleted(self, tenant_id: UUID, *, before: UtcDatetime, limit: Limit = 1_000) -> int:
        """Remove for good the profiles deleted before a moment, all or none; return their number.

        Profiles merged into another stay, because their ids lead on, until the other is removed; then they are removed
        and counted with it. One call removes one batch, what was deleted first. Call it until it returns 0.

        Args:
            tenant_id: the tenant.
            before: the moment.
            limit: the maximum number of profiles, 1 to 1,000, those merged into them not counted.
        """

"""The profile store by optimistic concurrency: read, compute a `Change`, apply it as a compare-and-set, else retry."""

from __future__ import annotations

import asyncio
import random
from abc import abstractmethod
from collections.abc import Callable, Collection
from uuid import UUID

from convostore.call.call import current_call
from convostore.contracts.profile import ProfileStore
from convostore.domain import merging, profiles
from convostore.domain.profile_change import Change, LoadedProfile, Merge, identity_key
from convostore.domain.revisions import set_managed
from convostore.errors import ConflictError, NotFoundError, ValidationError
from convostore.models import (
    Channel,
    ChannelIdentity,
    Consent,
    CustomerProfile,
    ItemTrace,
    ProfileAsset,
    ProfileField,
    VerificationLevel,
)

_PAUSE = 0.005

_CREATIONS = 10
"""How often `get_or_create` looks again after a conflict: once is enough, unless the winner is deleted meanwhile."""


class BaseProfileStore(ProfileStore):
    """Everything but lists and purging, over five methods of the backend."""

    @abstractmethod
    async def _exact(
        self, tenant_id: UUID, profile_ids: Collection[UUID], item_ids: Collection[UUID] | None = ()
    ) -> dict[UUID, LoadedProfile]:
        """Return the profiles with these very ids, deleted and merged ones too, with their past items of these ids.

        None for ids means all past items.
        """

    @abstractmethod
    async def _final(
        self,
        tenant_id: UUID,
        *,
        profile_id: UUID | None = None,
        customer_id: UUID | None = None,
        item_ids: Collection[UUID] | None = (),
    ) -> LoadedProfile | None:
        """Return the profile that an id or customer id leads to in the end, deleted or not; past items as `_exact`."""

    @abstractmethod
    async def _newest_merge(self, tenant_id: UUID, profile_id: UUID) -> Merge | None:
        """Return the newest merge into this very profile that was not undone."""

    @abstractmethod
    async def _linked(self, tenant_id: UUID, channel: Channel, channel_user_id: str) -> CustomerProfile | None:
        """Return the living profile that has a channel identity."""

    @abstractmethod
    async def _apply(self, tenant_id: UUID, change: Change) -> bool:
        """Apply a change atomically and return True, or return False if a profile is not as expected any more.

        Raises:
            ConflictError: an id, a customer id or a channel identity is in use.
        """

    async def _set_new_field(self, tenant_id: UUID, profile_id: UUID, field: ProfileField) -> bool:
        """Do what `profiles.with_field` does for a field whose id is new, at once; return whether it was done.

        False changes nothing. A backend for which reading first costs a round trip overrides this.
        """
        return False

    async def get_profile(self, tenant_id: UUID, profile_id: UUID) -> CustomerProfile | None:
        return _living(await self._final(tenant_id, profile_id=profile_id))

    async def get_by_customer_id(self, tenant_id: UUID, customer_id: UUID) -> CustomerProfile | None:
        return _living(await self._final(tenant_id, customer_id=customer_id))

    async def get_by_channel_identity(
        self, tenant_id: UUID, channel: Channel, channel_user_id: str
    ) -> CustomerProfile | None:
        return await self._linked(tenant_id, channel, channel_user_id)

    async def get_or_create(self, tenant_id: UUID, channel: Channel, channel_user_id: str) -> CustomerProfile:
        for left in reversed(range(_CREATIONS)):
            profile = await self._linked(tenant_id, channel, channel_user_id)
            if profile is not None:
                return profile
            change = profiles.created(tenant_id, channel, channel_user_id, self._clock())
            try:
                await self._apply(tenant_id, change)
            except ConflictError:
                # A concurrent call has created it, unless the backend refuses what it does not find.
                if not left:
                    raise
                await _pause()
            else:
                return change.profiles[0]
        raise AssertionError("unreachable")

    async def save_profile(self, profile: CustomerProfile, *, overwrite: bool = False) -> UUID:
        items = [*(item.id for item in profile.fields.values()), *(item.id for item in profile.assets)]
        while True:
            stored = (await self._exact(profile.tenant_id, [profile.id], items)).get(profile.id)
            known = stored.profile if stored else None
            if stored is not None and stored.write_id == current_call().write_id:
                # An earlier attempt of this call was applied and its answer lost.
                set_managed(profile, **{name: getattr(stored.profile, name) for name in profile.store_managed})
                return profile.id
            if known is not None and known.deleted_at is not None:
                raise ConflictError("profile: it was deleted or merged", current_revision=known.revision)
            if not overwrite and profile.revision != (known.revision if known else 0):
                raise ConflictError(
                    "profile: the stored revision is another", current_revision=known.revision if known else None
                )
            past: list[ProfileField | ProfileAsset] = [*stored.past_fields, *stored.past_assets] if stored else []
            change = profiles.saved(known, profile.model_copy(), past, self._clock())
            if await self._apply(profile.tenant_id, change):
                profile.__dict__.update(change.profiles[0].__dict__)
                return profile.id
            await _pause()

    async def delete_profile(self, tenant_id: UUID, profile_id: UUID) -> bool:
        while True:
            stored = await self._final(tenant_id, profile_id=profile_id)
            if stored is None or stored.profile.deleted_at is not None:
                return False
            if await self._apply(tenant_id, profiles.with_deletion(stored.profile, self._clock())):
                return True
            await _pause()

    async def restore_profile(self, tenant_id: UUID, profile_id: UUID) -> bool:
        while True:
            stored = await self._final(tenant_id, profile_id=profile_id)
            if stored is None or stored.profile.deleted_at is None:
                return False
            if await self._apply(tenant_id, profiles.with_deletion(stored.profile, None)):
                return True
            await _pause()

    async def update_field(self, tenant_id: UUID, profile_id: UUID, field: ProfileField) -> None:
        await self._put_field(tenant_id, profile_id, field)

    async def _put_field(self, tenant_id: UUID, profile_id: UUID, field: ProfileField) -> None:
        def work(stored: LoadedProfile) -> Change | None:
            return profiles.with_field(stored.profile, field, stored.past_fields, self._clock())

        if not await self._set_new_field(tenant_id, profile_id, field):
            await self._change(tenant_id, profile_id, work, field.id)

    async def get_field_history(
        self, tenant_id: UUID, profile_id: UUID, field_name: str, *, limit: int = 100, offset: int = 0
    ) -> list[ProfileField]:
        stored = await self._whole(tenant_id, profile_id)
        items = [*stored.past_fields, *stored.profile.fields.values()] if stored else []
        found = sorted((item for item in items if item.name == field_name), key=lambda item: item.id)
        return sorted(found, key=lambda item: item.collected_at, reverse=True)[offset:][:limit]

    async def get_asset_history(
        self, tenant_id: UUID, profile_id: UUID, asset_name: str, *, limit: int = 100, offset: int = 0
    ) -> list[ProfileAsset]:
        stored = await self._whole(tenant_id, profile_id)
        items = [*stored.past_assets, *stored.profile.assets] if stored else []
        found = sorted((item for item in items if item.name == asset_name), key=lambda item: item.id)
        return sorted(found, key=lambda item: item.uploaded_at, reverse=True)[offset:][:limit]

    async def trace_item(self, tenant_id: UUID, profile_id: UUID, item_id: UUID) -> ItemTrace | None:
        stored = await self._whole(tenant_id, profile_id)
        return profiles.traced(item_id, stored) if stored else None

    async def add_asset(
        self, tenant_id: UUID, profile_id: UUID, asset: ProfileAsset, *, supersedes: UUID | None = None
    ) -> UUID:
        if supersedes == asset.id:
            raise ValidationError("supersedes: an asset cannot take its own place")
        await self._put_asset(tenant_id, profile_id, asset, supersedes)
        return asset.id

    async def _put_asset(
        self, tenant_id: UUID, profile_id: UUID, asset: ProfileAsset, supersedes: UUID | None = None
    ) -> None:
        def work(stored: LoadedProfile) -> Change | None:
            return profiles.with_asset(stored.profile, asset, stored.past_assets, self._clock(), supersedes)

        await self._change(tenant_id, profile_id, work, asset.id, *([supersedes] if supersedes else []))

    async def save_consent(self, tenant_id: UUID, profile_id: UUID, consent: Consent) -> None:
        def work(stored: LoadedProfile) -> Change | None:
            return profiles.with_consent(stored.profile, consent, self._clock())

        await self._change(tenant_id, profile_id, work)

    async def set_verification_level(self, tenant_id: UUID, profile_id: UUID, level: VerificationLevel) -> None:
        def work(stored: LoadedProfile) -> Change | None:
            return profiles.with_level(stored.profile, level, self._clock())

        await self._change(tenant_id, profile_id, work)

    async def link_channel(
        self, tenant_id: UUID, profile_id: UUID, channel: Channel, channel_user_id: str
    ) -> ChannelIdentity:
        def find(profile: CustomerProfile) -> ChannelIdentity | None:
            wanted = (channel, channel_user_id)
            return next((i for i in profile.channel_identities if identity_key(i) == wanted), None)

        def work(stored: LoadedProfile) -> Change | None:
            if find(stored.profile) is not None:
                return None
            return profiles.with_identity(stored.profile, channel, channel_user_id, self._clock())

        profile = await self._change(tenant_id, profile_id, work)
        return find(profile) or profile.channel_identities[-1]

    async def merge_profiles(self, tenant_id: UUID, source_id: UUID, target_id: UUID) -> CustomerProfile:
        if source_id == target_id:
            raise ValidationError("target_id: a profile cannot be merged into itself")
        while True:
            stored = await self._exact(tenant_id, [source_id, target_id], None)
            for name, profile_id in (("source_id", source_id), ("target_id", target_id)):
                if profile_id not in stored:
                    raise NotFoundError(f"{name}: the profile does not exist")
            source, target = stored[source_id], stored[target_id].profile
            merging.check_mergeable(source.profile, target)
            if await self._apply(tenant_id, merging.merged(source, target, self._clock())):
                return target
            await _pause()

    async def unmerge_profiles(self, tenant_id: UUID, profile_id: UUID) -> CustomerProfile:
        while True:
            target = await self._whole(tenant_id, profile_id)
            if target is None:
                raise NotFoundError("profile_id: the profile does not exist")
            merge = await self._newest_merge(tenant_id, target.profile.id)
            if merge is None:
                raise ValidationError("profile_id: no profile was merged into this one")
            source = (await self._exact(tenant_id, [merge.source.id])).get(merge.source.id)
            # A merge after the target was read is not in what was read.
            if source is not None and merge.target.revision < target.profile.revision:
                change = merging.unmerged(merge, source.profile, target, self._clock())
                if await self._apply(tenant_id, change):
                    return change.profiles[0]
            await _pause()

    async def _whole(self, tenant_id: UUID, profile_id: UUID) -> LoadedProfile | None:
        """Return the living profile that an id leads to, with all its past items."""
        stored = await self._final(tenant_id, profile_id=profile_id, item_ids=None)
        return stored if stored is not None and stored.profile.deleted_at is None else None

    async def _change(
        self,
        tenant_id: UUID,
        profile_id: UUID,
        work: Callable[[LoadedProfile], Change | None],
        *item_ids: UUID,
    ) -> CustomerProfile:
        """Apply the change that `work` computes from a living profile; retry after concurrent writes."""
        while True:
            stored = await self._final(tenant_id, profile_id=profile_id, item_ids=item_ids)
            if stored is None or stored.profile.deleted_at is not None:
                raise NotFoundError("profile_id: the profile does not exist")
            change = work(stored)
            if change is None or await self._apply(tenant_id, change):
                return stored.profile
            await _pause()


def _living(stored: LoadedProfile | None) -> CustomerProfile | None:
    return stored.profile if stored is not None and stored.profile.deleted_at is None else None


async def _pause() -> None:
    """Back off with jitter after a concurrent write."""
    await asyncio.sleep(random.uniform(0, _PAUSE))  # noqa: S311

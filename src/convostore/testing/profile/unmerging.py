"""The contract of profile stores: merges undone."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

import pytest

from convostore.contracts import ProfileStore
from convostore.errors import NotFoundError, ValidationError
from convostore.models import (
    Channel,
    Consent,
    CustomerProfile,
    ItemStatus,
    ProfileAsset,
    ProfileField,
    VerificationLevel,
)
from convostore.testing.base import StoreContract
from convostore.testing.factories import at, full_profile, make_asset, make_field, make_identity, make_profile
from convostore.testing.profile.profiles import reread, save_profiles

FIELDS = ("city", "cart", "color", "name")


@dataclass
class State:
    """All there is of a profile but what every change changes."""

    profile: CustomerProfile
    fields: dict[str, list[ProfileField]]
    assets: list[ProfileAsset]


async def state(store: ProfileStore, profile: CustomerProfile) -> State:
    """Return all there is of a profile now."""
    tenant = profile.tenant_id
    stored = await reread(store, profile)
    moments: dict[str, Any] = {"revision": 0, "updated_at": at(0)}
    return State(
        stored.model_copy(update=moments),
        {name: await store.get_field_history(tenant, profile.id, name) for name in FIELDS},
        await store.get_asset_history(tenant, profile.id, "passport.pdf"),
    )


async def rich(store: ProfileStore, tenant: UUID, **changes: Any) -> CustomerProfile:
    """Save a profile with a past."""
    profile = full_profile(tenant).model_copy(update=changes)
    await store.save_profile(profile)
    await store.update_field(tenant, profile.id, make_field("city", "Bonn", collected_at=at(1)))
    await store.update_field(tenant, profile.id, make_field("city", "Berlin", collected_at=at(2), confidence=0.7))
    old = make_asset()
    await store.add_asset(tenant, profile.id, old)
    await store.add_asset(tenant, profile.id, make_asset(), supersedes=old.id)
    return await reread(store, profile)


class UnmergeContract(StoreContract):
    """Undoing the newest merge."""

    async def test_where_nothing_was_written_since_all_is_as_it_was(self, store: ProfileStore) -> None:
        tenant = uuid4()
        level = {"verification_level": VerificationLevel.EMAIL_VERIFIED, "last_interaction_at": at(3)}
        consents = [Consent(consent_type="marketing", granted=True, granted_at=at(n)) for n in (5, 6)]
        profiles = [await rich(store, tenant, **changes) for changes in ({}, {**level, "consents": consents})]
        before = [await state(store, profile) for profile in profiles]
        for source, target in (profiles, profiles[::-1]):
            merged = await store.merge_profiles(tenant, source.id, target.id)
            restored = await store.unmerge_profiles(tenant, target.id)
            assert restored.id == source.id
            assert restored == await reread(store, source)
            assert [await state(store, profile) for profile in profiles] == before
            # No revision comes twice: who holds one of the merged profile cannot save it over the other.
            assert (await reread(store, target)).revision == merged.revision + 1

    async def test_the_winner_of_a_field_goes_and_the_loser_is_back(self, store: ProfileStore) -> None:
        tenant = uuid4()
        weak, strong = make_field(value="weak", confidence=0.1), make_field(value="strong", confidence=0.9)
        for mine, theirs in ((weak, strong), (strong, weak)):
            new = [field.model_copy(update={"id": uuid4()}) for field in (mine, theirs)]
            source, target = await save_profiles(store, tenant, *({"fields": {"city": field}} for field in new))
            await store.merge_profiles(tenant, source.id, target.id)
            await store.unmerge_profiles(tenant, target.id)
            for profile, field in zip((source, target), new, strict=True):
                assert (await reread(store, profile)).fields == {"city": field}
                assert await store.get_field_history(tenant, profile.id, "city") == [field]

    async def test_what_was_written_since_stays_with_the_target(self, store: ProfileStore) -> None:
        tenant = uuid4()
        theirs, ours = make_field(value="theirs", confidence=0.9), make_field(value="ours", confidence=0.1)
        source, target = await save_profiles(
            store, tenant, {"fields": {"city": theirs}}, {"fields": {"city": ours}, "assets": [make_asset()]}
        )
        await store.merge_profiles(tenant, source.id, target.id)
        later, other, asset = make_field(value="later"), make_field("name", "Ann"), make_asset()
        for field in (later, other):
            await store.update_field(tenant, source.id, field)
        await store.add_asset(tenant, source.id, asset)
        await store.link_channel(tenant, source.id, Channel.SMS, "1")
        await store.save_consent(tenant, source.id, Consent(consent_type="ads", granted=True, granted_at=at(9)))
        await store.set_verification_level(tenant, source.id, VerificationLevel.KYC_COMPLETE)

        await store.unmerge_profiles(tenant, target.id)
        restored, left = await reread(store, source), await reread(store, target)
        assert (restored.fields, restored.channel_identities, restored.consents) == ({"city": theirs}, [], [])
        assert await store.get_field_history(tenant, source.id, "city") == [theirs]
        assert left.fields == {"city": later, "name": other}
        assert left.assets == [*target.assets, asset]
        assert [identity.channel_user_id for identity in left.channel_identities] == ["1"]
        assert [consent.consent_type for consent in left.consents] == ["ads"]
        assert left.verification_level is VerificationLevel.KYC_COMPLETE
        history = await store.get_field_history(tenant, target.id, "city")
        assert {(field.value, field.status) for field in history} == {
            ("later", ItemStatus.ACTIVE),
            ("ours", ItemStatus.SUPERSEDED),
        }
        assert {field.superseded_by_id for field in history} == {None, later.id}

    async def test_an_item_that_was_changed_since_stays_as_a_copy(self, store: ProfileStore) -> None:
        tenant = uuid4()
        field, asset = make_field(), make_asset()
        source, target = await save_profiles(store, tenant, {"fields": {"city": field}, "assets": [asset]}, {})
        merged = await store.merge_profiles(tenant, source.id, target.id)
        verified = field.model_copy(update={"verified": True, "verified_at": at(5)})
        await store.update_field(tenant, target.id, verified)
        merged = await reread(store, target)
        merged.assets[0].verified = True
        await store.save_profile(merged)

        await store.unmerge_profiles(tenant, target.id)
        restored, left = await reread(store, source), await reread(store, target)
        assert (restored.fields, restored.assets) == ({"city": field}, [asset])
        assert left.fields["city"] == verified.model_copy(update={"id": left.fields["city"].id})
        assert left.fields["city"].id != field.id
        assert [item.verified for item in left.assets] == [True]
        assert left.assets[0].id != asset.id

    async def test_identities_go_back_unless_they_were_given_up(self, store: ProfileStore) -> None:
        tenant = uuid4()
        identities = [make_identity(channel_user_id=f"{name}@{tenant}") for name in "abc"]
        source, target = await save_profiles(
            store, tenant, {"channel_identities": identities[:2]}, {"channel_identities": identities[2:]}
        )
        merged = await store.merge_profiles(tenant, source.id, target.id)
        merged.channel_identities = [merged.channel_identities[2], merged.channel_identities[0]]
        await store.save_profile(merged)
        await store.unmerge_profiles(tenant, target.id)
        assert (await reread(store, source)).channel_identities == [identities[1]]
        assert (await reread(store, target)).channel_identities == [identities[2]]
        again = await store.link_channel(tenant, target.id, Channel.EMAIL, identities[0].channel_user_id)
        assert (await reread(store, target)).channel_identities == [identities[2], again]

    async def test_merges_of_merges_are_undone_one_by_one(self, store: ProfileStore) -> None:
        tenant = uuid4()
        a, b, c = [await rich(store, tenant) for _ in range(3)]
        first = [await state(store, profile) for profile in (a, b, c)]
        await store.merge_profiles(tenant, a.id, b.id)
        second = await state(store, b)
        await store.merge_profiles(tenant, b.id, c.id)
        # Ids of merged profiles lead to where the newest merge is.
        assert (await store.unmerge_profiles(tenant, a.id)).id == b.id
        assert await state(store, b) == second
        assert (await reread(store, a)).id == b.id
        assert await state(store, c) == first[2]
        assert (await store.unmerge_profiles(tenant, b.id)).id == a.id
        assert [await state(store, profile) for profile in (a, b, c)] == first

    async def test_the_newest_merge_is_undone_first(self, store: ProfileStore) -> None:
        tenant = uuid4()
        profiles = [await rich(store, tenant) for _ in range(4)]
        before = [await state(store, profile) for profile in profiles]
        *sources, target = profiles
        for source in sources:
            await store.merge_profiles(tenant, source.id, target.id)
        for source in reversed(sources):
            assert (await store.unmerge_profiles(tenant, target.id)).id == source.id
        assert [await state(store, profile) for profile in profiles] == before
        with pytest.raises(ValidationError):
            await store.unmerge_profiles(tenant, target.id)
        # What was undone can be done again.
        await store.merge_profiles(tenant, target.id, sources[0].id)
        await store.unmerge_profiles(tenant, sources[0].id)
        assert [await state(store, profile) for profile in profiles] == before

    async def test_only_a_living_profile_that_another_was_merged_into_can_be_unmerged(
        self, store: ProfileStore
    ) -> None:
        tenant = uuid4()
        source, target, alone = await save_profiles(store, tenant, {}, {}, {})
        await store.merge_profiles(tenant, source.id, target.id)
        with pytest.raises(ValidationError):
            await store.unmerge_profiles(tenant, alone.id)
        for stranger, profile in ((tenant, uuid4()), (uuid4(), target.id)):
            with pytest.raises(NotFoundError):
                await store.unmerge_profiles(stranger, profile)
        await store.delete_profile(tenant, target.id)
        with pytest.raises(NotFoundError):
            await store.unmerge_profiles(tenant, target.id)
        await store.restore_profile(tenant, target.id)
        assert (await store.unmerge_profiles(tenant, target.id)).id == source.id

    async def test_of_many_concurrent_unmerges_one_wins(self, store: ProfileStore) -> None:
        tenant = uuid4()
        source, target = await save_profiles(store, tenant, {"fields": {"city": make_field()}}, {})
        await store.merge_profiles(tenant, source.id, target.id)
        calls = (store.unmerge_profiles(tenant, target.id) for _ in range(5))
        results = await asyncio.gather(*calls, return_exceptions=True)
        assert sum(isinstance(result, CustomerProfile) for result in results) == 1
        assert sum(isinstance(result, ValidationError) for result in results) == 4
        assert (await reread(store, source)).fields == source.fields

    async def test_merges_and_their_undoing_at_once_lose_nothing(self, store: ProfileStore) -> None:
        tenant = uuid4()
        profiles = [make_profile(tenant, fields={f"of_{n}": make_field(f"of_{n}")}) for n in range(6)]
        for profile in profiles:
            await store.save_profile(profile)

        async def work(number: int) -> None:
            with suppress(ValidationError):
                await store.merge_profiles(tenant, profiles[number].id, profiles[(number + 1) % 6].id)
            with suppress(ValidationError):
                await store.unmerge_profiles(tenant, profiles[(number * 5 + 2) % 6].id)

        await asyncio.gather(*map(work, range(6)))
        living = await store.list_profiles(tenant)
        assert sorted(name for profile in living for name in profile.fields) == [f"of_{n}" for n in range(6)]
        for profile in profiles:
            assert (await reread(store, profile)).id in {other.id for other in living}

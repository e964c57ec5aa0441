"""The contract of profile stores: profiles and their channel identities."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID, uuid4

import pytest

from convostore.contracts import ProfileStore
from convostore.errors import ConflictError, NotFoundError, ValidationError
from convostore.models import Channel, CustomerProfile, VerificationLevel
from convostore.models.fields import now
from convostore.testing.base import StoreContract
from convostore.testing.factories import TEXT, full_profile, make_asset, make_field, make_identity, make_profile


async def save_profiles(store: ProfileStore, tenant: UUID, *changes: dict[str, Any]) -> list[CustomerProfile]:
    """Save one profile for each set of changes."""
    profiles = [make_profile(tenant, **change) for change in changes]
    for profile in profiles:
        await store.save_profile(profile)
    return profiles


async def reread(store: ProfileStore, profile: CustomerProfile) -> CustomerProfile:
    """Return a profile as it is stored now."""
    stored = await store.get_profile(profile.tenant_id, profile.id)
    assert stored is not None
    return stored


class ProfileSaveContract(StoreContract):
    """Profiles as a whole."""

    async def test_what_is_saved_is_read_back_equal(self, store: ProfileStore) -> None:
        for profile in (make_profile(uuid4()), full_profile(uuid4())):
            assert await store.save_profile(profile) == profile.id
            assert profile.revision == 1
            assert await store.get_profile(profile.tenant_id, profile.id) == profile
            assert await store.get_by_customer_id(profile.tenant_id, profile.customer_id) == profile
            for identity in profile.channel_identities:
                find = store.get_by_channel_identity
                assert await find(profile.tenant_id, identity.channel, identity.channel_user_id) == profile

    async def test_saving_is_a_compare_and_set_on_the_revision(self, store: ProfileStore) -> None:
        (profile,) = await save_profiles(store, uuid4(), {})
        stale = profile.model_copy(deep=True)
        profile.verification_level = VerificationLevel.KYC_COMPLETE
        await store.save_profile(profile)
        assert profile.revision == 2
        with pytest.raises(ConflictError) as caught:
            await store.save_profile(stale)
        assert caught.value.current_revision == 2
        assert await reread(store, profile) == profile
        await store.save_profile(stale, overwrite=True)
        assert (stale.revision, stale.created_at) == (3, profile.created_at)
        copies = [stale.model_copy(deep=True) for _ in range(5)]
        results = await asyncio.gather(*map(store.save_profile, copies), return_exceptions=True)
        assert sum(isinstance(result, ConflictError) for result in results) == 4

    async def test_ids_in_use_are_refused(self, store: ProfileStore) -> None:
        tenant, identity = uuid4(), make_identity()
        field, asset = make_field(), make_asset()
        (profile,) = await save_profiles(
            store, tenant, {"channel_identities": [identity], "fields": {"city": field}, "assets": [asset]}
        )
        for change, code in (
            ({"id": profile.id}, None),
            ({"customer_id": profile.customer_id}, "profile_customer_id_key"),
            ({"channel_identities": [identity]}, "channel_identity_channel_key"),
            ({"fields": {"city": field}}, "profile_field_pkey"),
            ({"assets": [asset]}, "profile_asset_pkey"),
        ):
            rival = make_profile(tenant, **change)
            with pytest.raises(ConflictError) as caught:
                await store.save_profile(rival)
            assert (caught.value.code, rival.revision) == (code, 0)
            # The id itself is no matter of names: somebody saved it before.
            assert caught.value.current_revision == (1 if code is None else None)
        assert await store.list_profiles(tenant) == [profile]
        await store.save_profile(profile.model_copy(update={"tenant_id": uuid4(), "revision": 0}, deep=True))
        with pytest.raises(ConflictError):
            await store.save_profile(make_profile(tenant, revision=2))

    async def test_a_saved_profile_becomes_what_is_given(self, store: ProfileStore) -> None:
        profile = full_profile(uuid4())
        await store.save_profile(profile)
        unlinked = profile.channel_identities.pop(0)
        profile.channel_identities.append(make_identity())
        profile.fields = {"cart": make_field("cart", 1), "new": make_field("new", 2)}
        profile.assets.reverse()
        profile.consents = []
        profile.last_interaction_at = None
        await store.save_profile(profile)
        assert await reread(store, profile) == profile
        find = store.get_by_channel_identity
        assert await find(profile.tenant_id, unlinked.channel, unlinked.channel_user_id) is None

    async def test_profiles_are_listed_newest_first_and_in_pages(self, store: ProfileStore) -> None:
        tenant = uuid4()
        one, two, three = await save_profiles(store, tenant, {}, {}, {})
        assert await store.list_profiles(tenant) == [three, two, one]
        assert await store.list_profiles(tenant, limit=1, offset=1) == [two]
        assert await store.list_profiles(uuid4()) == []

    async def test_tenants_do_not_see_each_other(self, store: ProfileStore) -> None:
        (mine,) = await save_profiles(store, uuid4(), {"channel_identities": [make_identity()]})
        identity, tenant = mine.channel_identities[0], uuid4()
        assert await store.get_profile(tenant, mine.id) is None
        assert await store.get_by_customer_id(tenant, mine.customer_id) is None
        assert await store.get_by_channel_identity(tenant, identity.channel, identity.channel_user_id) is None
        assert await store.delete_profile(tenant, mine.id) is False
        theirs = await store.get_or_create(tenant, identity.channel, identity.channel_user_id)
        assert theirs.id != mine.id
        with pytest.raises(NotFoundError):
            await store.update_field(tenant, mine.id, make_field())
        with pytest.raises(NotFoundError):
            await store.merge_profiles(tenant, mine.id, theirs.id)
        with pytest.raises(ValidationError, match="tenant_id"):
            await store.for_tenant(tenant).get_profile(mine.tenant_id, mine.id)
        assert await reread(store, mine) == mine

    async def test_what_is_deleted_is_gone_until_it_is_restored(self, store: ProfileStore) -> None:
        profile = full_profile(uuid4())
        await store.save_profile(profile)
        tenant, identity = profile.tenant_id, profile.channel_identities[0]
        find = store.get_by_channel_identity
        assert await store.delete_profile(tenant, profile.id) is True
        assert await store.delete_profile(tenant, profile.id) is False
        assert await store.get_profile(tenant, profile.id) is None
        assert await store.get_by_customer_id(tenant, profile.customer_id) is None
        assert await find(tenant, identity.channel, identity.channel_user_id) is None
        assert await store.list_profiles(tenant) == []
        for write in (
            store.update_field(tenant, profile.id, make_field()),
            store.add_asset(tenant, profile.id, make_asset()),
            store.link_channel(tenant, profile.id, Channel.SMS, "1"),
        ):
            with pytest.raises(NotFoundError):
                await write
        with pytest.raises(ConflictError):
            await store.save_profile(profile)
        assert await store.restore_profile(tenant, profile.id) is True
        assert await store.restore_profile(tenant, profile.id) is False
        assert await reread(store, profile) == profile

    async def test_an_identity_freed_by_a_deletion_can_be_linked(self, store: ProfileStore) -> None:
        tenant = uuid4()
        profile = await store.get_or_create(tenant, Channel.SMS, "1")
        await store.delete_profile(tenant, profile.id)
        heir = await store.get_or_create(tenant, Channel.SMS, "1")
        assert heir.id != profile.id
        with pytest.raises(ConflictError) as caught:
            await store.restore_profile(tenant, profile.id)
        assert caught.value.code == "channel_identity_channel_key"
        assert await store.get_profile(tenant, profile.id) is None

    async def test_purging_removes_for_good_what_was_deleted_before(self, store: ProfileStore) -> None:
        tenant = uuid4()
        living, gone = await save_profiles(store, tenant, {}, {"fields": {"city": make_field()}})
        before = now()
        await store.delete_profile(tenant, gone.id)
        assert await store.purge_deleted(tenant, before=before) == 0
        assert await store.purge_deleted(uuid4(), before=now()) == 0
        assert await store.purge_deleted(tenant, before=now()) == 1
        assert await store.restore_profile(tenant, gone.id) is False
        assert await store.list_profiles(tenant) == [living]
        await store.save_profile(gone.model_copy(update={"revision": 0}))

    async def test_the_id_of_a_field_stays_with_its_name(self, store: ProfileStore) -> None:
        fields = {"city": make_field(), "town": make_field("town")}
        (profile,) = await save_profiles(store, uuid4(), {"fields": fields})
        changed = profile.model_copy(deep=True)
        changed.fields = {
            "city": make_field(id=fields["town"].id),
            "town": make_field("town", id=fields["city"].id),
        }
        with pytest.raises(ConflictError) as caught:
            await store.save_profile(changed)
        assert caught.value.code == "profile_field_pkey"
        assert await reread(store, profile) == profile

    async def test_what_became_invalid_is_refused(self, store: ProfileStore) -> None:
        profile = full_profile(uuid4())
        profile.fields["city"] = "oops"  # type: ignore[assignment]
        with pytest.raises(ValidationError, match=r"fields\.city"):
            await store.save_profile(profile)
        profile.fields = {}
        profile.channel_identities.append(profile.channel_identities[0])
        with pytest.raises(ValidationError, match="twice"):
            await store.save_profile(profile)
        profile.channel_identities.pop()
        profile.assets.append(profile.assets[0])
        with pytest.raises(ValidationError, match="twice"):
            await store.save_profile(profile)
        assert await store.get_profile(profile.tenant_id, profile.id) is None


class IdentityContract(StoreContract):
    """Channel identities."""

    async def test_an_unknown_identity_creates_a_profile_and_a_known_one_finds_it(self, store: ProfileStore) -> None:
        tenant = uuid4()
        profile = await store.get_or_create(tenant, Channel.WHATSAPP, TEXT)
        assert [(i.channel, i.channel_user_id) for i in profile.channel_identities] == [(Channel.WHATSAPP, TEXT)]
        assert profile.revision == 1
        assert await store.get_or_create(tenant, Channel.WHATSAPP, TEXT) == profile
        assert await reread(store, profile) == profile
        assert (await store.get_or_create(tenant, Channel.SMS, TEXT)).id != profile.id

    async def test_fifty_concurrent_calls_create_one_profile(self, store: ProfileStore) -> None:
        tenant = uuid4()
        found = await asyncio.gather(*(store.get_or_create(tenant, Channel.SMS, "1") for _ in range(50)))
        assert {profile.id for profile in found} == {found[0].id}
        assert await store.list_profiles(tenant) == [found[0]]

    async def test_linking_gives_the_identity_to_the_profile_once(self, store: ProfileStore) -> None:
        profile = await store.get_or_create(uuid4(), Channel.SMS, "1")
        tenant = profile.tenant_id
        identity = await store.link_channel(tenant, profile.id, Channel.EMAIL, "a@example.com")
        linked = await reread(store, profile)
        assert linked.channel_identities == [*profile.channel_identities, identity]
        assert linked.revision == 2
        assert await store.link_channel(tenant, profile.id, Channel.EMAIL, "a@example.com") == identity
        assert await reread(store, profile) == linked
        assert await store.get_by_channel_identity(tenant, Channel.EMAIL, "a@example.com") == linked

    async def test_an_identity_of_another_profile_is_a_conflict(self, store: ProfileStore) -> None:
        tenant = uuid4()
        owner = await store.get_or_create(tenant, Channel.SMS, "1")
        other = await store.get_or_create(tenant, Channel.SMS, "2")
        with pytest.raises(ConflictError) as caught:
            await store.link_channel(tenant, other.id, Channel.SMS, "1")
        assert caught.value.code == "channel_identity_channel_key"
        assert await reread(store, owner) == owner
        assert await reread(store, other) == other
        with pytest.raises(NotFoundError):
            await store.link_channel(tenant, uuid4(), Channel.SMS, "3")

    async def test_of_many_concurrent_links_of_one_identity_one_wins(self, store: ProfileStore) -> None:
        tenant = uuid4()
        profiles = await save_profiles(store, tenant, *({} for _ in range(10)))
        links = (store.link_channel(tenant, profile.id, Channel.SMS, "1") for profile in profiles)
        results = await asyncio.gather(*links, return_exceptions=True)
        assert sum(isinstance(result, ConflictError) for result in results) == 9
        linked = [profile for profile in await store.list_profiles(tenant) if profile.channel_identities]
        assert len(linked) == 1
        assert await store.get_by_channel_identity(tenant, Channel.SMS, "1") == linked[0]

    async def test_concurrent_links_to_one_profile_all_succeed(self, store: ProfileStore) -> None:
        (profile,) = await save_profiles(store, uuid4(), {})
        links = (store.link_channel(profile.tenant_id, profile.id, Channel.SMS, str(n)) for n in range(8))
        await asyncio.gather(*links)
        linked = await reread(store, profile)
        assert {identity.channel_user_id for identity in linked.channel_identities} == set(map(str, range(8)))
        assert linked.revision == 9

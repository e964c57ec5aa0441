"""The contract of profile stores: what fields, assets and consents were, where they came from, who has which."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import uuid4

import pytest

from convostore.contracts import ProfileStore
from convostore.errors import ConflictError, NotFoundError, ValidationError
from convostore.models import Consent, ItemStatus, ProfileAsset, ProfileField, VerificationLevel
from convostore.testing.base import StoreContract
from convostore.testing.factories import at, make_asset, make_field
from convostore.testing.profile.profiles import reread, save_profiles


class ProfileHistoryContract(StoreContract):
    """What is no longer current."""

    async def test_a_field_has_a_history(self, store: ProfileStore) -> None:
        (profile,) = await save_profiles(store, uuid4(), {})
        tenant = profile.tenant_id
        values = [make_field(value=n, collected_at=at(n)) for n in (1, 3, 2)]
        for field in (*values, make_field("town", 9)):
            await store.update_field(tenant, profile.id, field)
        history = await store.get_field_history(tenant, profile.id, "city")
        assert [field.value for field in history] == [3, 2, 1]
        assert [field.status for field in history] == [ItemStatus.SUPERSEDED, ItemStatus.ACTIVE, ItemStatus.SUPERSEDED]
        assert [field.superseded_by_id for field in history] == [values[2].id, None, values[1].id]
        assert history[1] == values[2]
        assert await store.get_field_history(tenant, profile.id, "city", limit=1, offset=1) == [values[2]]
        assert await store.get_field_history(tenant, profile.id, "nothing") == []
        assert await store.get_field_history(tenant, uuid4(), "city") == []
        assert await store.get_field_history(uuid4(), profile.id, "city") == []

    async def test_values_of_one_moment_come_by_id(self, store: ProfileStore) -> None:
        (profile,) = await save_profiles(store, uuid4(), {})
        fields = [make_field(value=n, collected_at=at(1)) for n in range(4)]
        for field in fields:
            await store.update_field(profile.tenant_id, profile.id, field)
        history = await store.get_field_history(profile.tenant_id, profile.id, "city")
        assert [field.id for field in history] == sorted(field.id for field in fields)

    async def test_a_value_that_is_replaced_under_its_id_is_not_lost(self, store: ProfileStore) -> None:
        (profile,) = await save_profiles(store, uuid4(), {})
        field = make_field(value="Bonn")
        await store.update_field(profile.tenant_id, profile.id, field)
        await store.update_field(profile.tenant_id, profile.id, field.model_copy(update={"value": "Berlin"}))
        history = await store.get_field_history(profile.tenant_id, profile.id, "city")
        assert {str(item.value) for item in history} == {"Berlin", "Bonn"}
        assert len(history) == 2
        assert [item.superseded_by_id for item in history if item.value == "Bonn"] == [field.id]

    async def test_the_history_of_a_merged_profile_is_that_of_both(self, store: ProfileStore) -> None:
        tenant = uuid4()
        one, two = await save_profiles(store, tenant, {}, {})
        for number, profile in enumerate((one, one, two)):
            await store.update_field(tenant, profile.id, make_field(value=number, collected_at=at(number)))
        await store.merge_profiles(tenant, one.id, two.id)
        for profile in (one, two):
            history = await store.get_field_history(tenant, profile.id, "city")
            assert [field.value for field in history] == [2, 1, 0]
        await store.delete_profile(tenant, two.id)
        assert await store.get_field_history(tenant, two.id, "city") == []

    async def test_stale_fields_expire_and_stay_in_the_history(self, store: ProfileStore) -> None:
        tenant = uuid4()
        fields = {f"f{n}": make_field(f"f{n}", n, expires_at=at(n)) for n in range(4)}
        one, two, other = await save_profiles(
            store, tenant, {"fields": fields}, {"fields": {"f": make_field("f", expires_at=at(1))}}, {}
        )
        (stranger,) = await save_profiles(store, uuid4(), {"fields": {"f": make_field("f", expires_at=at(1))}})
        assert await store.expire_stale_fields(tenant, at=at(1)) == 3
        assert (await reread(store, one)).fields == {name: fields[name] for name in ("f2", "f3")}
        assert (await reread(store, one)).revision == 2
        assert (await reread(store, two)).fields == {}
        assert await reread(store, other) == other
        assert await reread(store, stranger) == stranger
        (expired,) = await store.get_field_history(tenant, one.id, "f0")
        assert expired == fields["f0"].model_copy(update={"status": ItemStatus.EXPIRED})
        assert await store.expire_stale_fields(tenant, at=at(1)) == 0
        assert await store.expire_stale_fields(tenant) == 2
        # A new value is set beside the one that has expired.
        new = make_field("f0", "new")
        await store.update_field(tenant, one.id, new)
        assert (await reread(store, one)).fields == {"f0": new}
        assert len(await store.get_field_history(tenant, one.id, "f0")) == 2

    async def test_fields_expire_in_batches_in_the_order_of_their_times(self, store: ProfileStore) -> None:
        tenant = uuid4()
        fields = [{f"f{n}": make_field(f"f{n}", n, expires_at=at(n)) for n in numbers} for numbers in ((0, 3), (1, 2))]
        deleted = {"f": make_field("f", expires_at=at(0))}
        one, two, gone = await save_profiles(store, tenant, *({"fields": each} for each in (*fields, deleted)))
        await store.delete_profile(tenant, gone.id)
        assert await store.expire_stale_fields(tenant, limit=3) == 3
        assert [{*(await reread(store, each)).fields} for each in (one, two)] == [{"f3"}, set()]
        assert [(await reread(store, each)).revision for each in (one, two)] == [2, 2]
        assert [await store.expire_stale_fields(tenant, limit=3) for _ in range(2)] == [1, 0]

    async def test_fields_of_a_deleted_profile_do_not_expire(self, store: ProfileStore) -> None:
        tenant = uuid4()
        (profile,) = await save_profiles(store, tenant, {"fields": {"f": make_field("f", expires_at=at(1))}})
        await store.delete_profile(tenant, profile.id)
        assert await store.expire_stale_fields(tenant) == 0
        await store.restore_profile(tenant, profile.id)
        assert await reread(store, profile) == profile
        assert await store.expire_stale_fields(tenant) == 1

    async def test_a_field_expires_once_beside_concurrent_updates(self, store: ProfileStore) -> None:
        tenant = uuid4()
        profiles = await save_profiles(
            store, tenant, *({"fields": {"old": make_field("old", expires_at=at(1))}} for _ in range(5))
        )
        counts, _ = await asyncio.gather(
            asyncio.gather(*(store.expire_stale_fields(tenant) for _ in range(5))),
            asyncio.gather(*(store.update_field(tenant, profile.id, make_field("new")) for profile in profiles)),
        )
        assert sum(counts) == 5
        for profile in profiles:
            stored = await reread(store, profile)
            assert ([*stored.fields], stored.revision) == (["new"], 3)

    async def test_an_asset_takes_the_place_of_another(self, store: ProfileStore) -> None:
        (profile,) = await save_profiles(store, uuid4(), {})
        tenant = profile.tenant_id
        old, kept, new = (make_asset(name=name, uploaded_at=at(n)) for n, name in enumerate(("id", "photo", "id")))
        for asset in (old, kept):
            await store.add_asset(tenant, profile.id, asset)
        for _ in range(2):
            assert await store.add_asset(tenant, profile.id, new, supersedes=old.id) == new.id
        assert (await reread(store, profile)).assets == [kept, new]
        first, second = await store.get_asset_history(tenant, profile.id, "id")
        assert first == new
        assert (second.id, second.status, second.superseded_by_id) == (old.id, ItemStatus.SUPERSEDED, new.id)
        assert await store.get_asset_history(tenant, profile.id, "id", limit=1) == [new]
        assert await store.get_asset_history(tenant, uuid4(), "id") == []
        for supersedes, error in ((old.id, ConflictError), (uuid4(), NotFoundError)):
            with pytest.raises(error):
                await store.add_asset(tenant, profile.id, make_asset(), supersedes=supersedes)
        with pytest.raises(ValidationError):
            await store.add_asset(tenant, profile.id, new, supersedes=new.id)

    async def test_what_was_decided_last_about_a_consent_remains(self, store: ProfileStore) -> None:
        (profile,) = await save_profiles(store, uuid4(), {})
        tenant = profile.tenant_id
        given = Consent(consent_type="ads", granted=True, granted_at=at(1))
        revoked = given.model_copy(update={"granted": False, "revoked_at": at(2)})
        mail = Consent(consent_type="mail", granted=True, granted_at=at(1))
        for consent in (given, mail, revoked, given):
            await store.save_consent(tenant, profile.id, consent)
        stored = await reread(store, profile)
        assert (stored.consents, stored.revision) == ([revoked, mail], 4)
        with pytest.raises(NotFoundError):
            await store.save_consent(tenant, uuid4(), given)

    async def test_the_verification_level_is_set(self, store: ProfileStore) -> None:
        (profile,) = await save_profiles(store, uuid4(), {})
        for _ in range(2):
            await store.set_verification_level(profile.tenant_id, profile.id, VerificationLevel.KYC_COMPLETE)
        stored = await reread(store, profile)
        assert (stored.verification_level, stored.revision) == (VerificationLevel.KYC_COMPLETE, 2)
        with pytest.raises(NotFoundError):
            await store.set_verification_level(profile.tenant_id, uuid4(), VerificationLevel.UNVERIFIED)

    async def test_items_are_traced_both_ways(self, store: ProfileStore) -> None:
        tenant = uuid4()
        scan = make_asset()
        name = make_field("name", source_item_id=scan.id)
        city = make_field("city", source_item_id=scan.id)
        region = make_field("region", source_item_id=city.id)
        crop = make_asset(source_item_id=scan.id)
        (profile,) = await save_profiles(
            store, tenant, {"assets": [scan, crop], "fields": {f.name: f for f in (name, city, region)}}
        )
        trace = await store.trace_item(tenant, profile.id, region.id)
        assert trace is not None
        assert (trace.item, trace.sources, trace.derived) == (region, [city, scan], [])
        trace = await store.trace_item(tenant, profile.id, scan.id)
        assert trace is not None
        items: list[ProfileField | ProfileAsset] = [name, city, crop]
        assert (trace.item, trace.sources) == (scan, [])
        assert trace.derived == [*sorted(items, key=lambda item: item.id), region]
        assert await store.trace_item(tenant, profile.id, uuid4()) is None
        assert await store.trace_item(tenant, uuid4(), scan.id) is None
        assert await store.trace_item(uuid4(), profile.id, scan.id) is None

    async def test_a_cycle_of_sources_terminates(self, store: ProfileStore) -> None:
        one, two = make_field("one"), make_field("two")
        one.source_item_id, two.source_item_id = two.id, one.id
        (profile,) = await save_profiles(store, uuid4(), {"fields": {"one": one, "two": two}})
        trace = await store.trace_item(profile.tenant_id, profile.id, one.id)
        assert trace is not None
        assert (trace.sources, trace.derived) == ([two], [])

    async def test_what_was_superseded_is_traced_too(self, store: ProfileStore) -> None:
        (profile,) = await save_profiles(store, uuid4(), {})
        old, new = make_field(), make_field(value="Berlin")
        derived = make_field("region", source_item_id=old.id)
        for field in (old, derived, new):
            await store.update_field(profile.tenant_id, profile.id, field)
        trace = await store.trace_item(profile.tenant_id, profile.id, derived.id)
        assert trace is not None
        assert [item.id for item in trace.sources] == [old.id]


class ProfileListContract(StoreContract):
    """Which profiles there are."""

    async def test_profiles_are_listed_by_level_and_streamed(self, store: ProfileStore) -> None:
        tenant, level = uuid4(), VerificationLevel.KYC_COMPLETE
        profiles = await save_profiles(store, tenant, *({"verification_level": level} for _ in range(3)), {})
        listed = await store.list_profiles(tenant)
        assert sorted(profile.id for profile in listed) == sorted(profile.id for profile in profiles)
        verified = [profile for profile in listed if profile.verification_level is level]
        assert await store.list_profiles(tenant, verification_level=level) == verified
        for place, profile in enumerate(listed):
            assert await store.list_profiles(tenant, after=profile) == listed[place + 1 :]
        assert await store.list_profiles(tenant, after=listed[0], limit=1, offset=1) == [listed[2]]
        assert [profile async for profile in store.iter_profiles(tenant)] == listed
        assert [profile async for profile in store.iter_profiles(tenant, verification_level=level)] == verified

    @pytest.mark.parametrize(
        ("stored", "asked", "found"),
        [
            ("Bonn", "Bonn", True),
            ("Bonn", "bonn", False),
            (1, 1.0, True),
            (1, True, False),
            (0, False, False),
            ("1", 1, False),
            (None, None, True),
            (None, "null", False),
            (10**30, 10**30, True),
            ({"a": [1, {"b": None}], "c": "x"}, {"c": "x", "a": [1, {"b": None}]}, True),
            ({"a": 1}, {"a": True}, False),
            ([1, 2], [2, 1], False),
            ("x" * 10_000, "x" * 10_000, True),
            ("x" * 10_000, "x" * 9_999, False),
        ],
        ids=lambda value: repr(value)[:30],
    )
    async def test_profiles_are_found_by_the_value_of_a_field(
        self, store: ProfileStore, stored: Any, asked: Any, found: bool
    ) -> None:
        tenant = uuid4()
        (profile,) = await save_profiles(store, tenant, {"fields": {"city": make_field(value=stored)}})
        assert await store.find_profiles_by_field(tenant, "city", asked) == [profile] * found
        assert await store.find_profiles_by_field(tenant, "town", asked) == []
        assert await store.find_profiles_by_field(uuid4(), "city", asked) == []

    async def test_only_active_fields_of_living_profiles_are_searched(self, store: ProfileStore) -> None:
        tenant = uuid4()
        one, two, three = await save_profiles(
            store, tenant, *({"fields": {"city": make_field(value="Bonn")}} for _ in range(3))
        )
        listed = await store.list_profiles(tenant)
        assert await store.find_profiles_by_field(tenant, "city", "Bonn") == listed
        assert await store.find_profiles_by_field(tenant, "city", "Bonn", limit=1, offset=1) == [listed[1]]
        await store.update_field(tenant, one.id, make_field(value="Berlin"))
        await store.delete_profile(tenant, two.id)
        assert await store.find_profiles_by_field(tenant, "city", "Bonn") == [three]

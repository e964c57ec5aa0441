"""The contract of profile stores: fields and assets."""

from __future__ import annotations

import asyncio
from uuid import uuid4

import pytest

from convostore.contracts import ProfileStore
from convostore.errors import ConflictError, NotFoundError
from convostore.testing.base import StoreContract
from convostore.testing.factories import full_asset, full_field, make_asset, make_field
from convostore.testing.profile.profiles import reread, save_profiles


class FieldContract(StoreContract):
    """Fields and assets."""

    async def test_a_field_is_set_and_replaced(self, store: ProfileStore) -> None:
        (profile,) = await save_profiles(store, uuid4(), {})
        old, new, other = make_field("cart", 1), full_field("cart"), make_field()
        for number, field in enumerate((old, new, other), start=2):
            await store.update_field(profile.tenant_id, profile.id, field)
            assert (await reread(store, profile)).revision == number
        assert (await reread(store, profile)).fields == {"cart": new, "city": other}

    async def test_setting_the_same_field_again_is_a_no_op(self, store: ProfileStore) -> None:
        (profile,) = await save_profiles(store, uuid4(), {})
        field = full_field()
        for _ in range(2):
            await store.update_field(profile.tenant_id, profile.id, field)
        assert (await reread(store, profile)).revision == 2

    async def test_a_field_is_updated_under_its_id(self, store: ProfileStore) -> None:
        (profile,) = await save_profiles(store, uuid4(), {})
        field = make_field()
        await store.update_field(profile.tenant_id, profile.id, field)
        field.verified, field.value = True, "Berlin"
        await store.update_field(profile.tenant_id, profile.id, field)
        assert (await reread(store, profile)).fields == {"city": field}

    async def test_an_id_in_use_is_refused(self, store: ProfileStore) -> None:
        one, two = await save_profiles(store, uuid4(), {}, {})
        tenant = one.tenant_id
        old, new = make_field(), make_field(value="Berlin")
        for field in (old, new):
            await store.update_field(tenant, one.id, field)
        await store.update_field(tenant, one.id, old)
        assert (await reread(store, one)).fields == {"city": new}
        for profile, field in (
            (one, old.model_copy(update={"value": "Paris"})),
            (one, new.model_copy(update={"name": "town"})),
            (two, new),
        ):
            with pytest.raises(ConflictError) as caught:
                await store.update_field(tenant, profile.id, field)
            assert caught.value.code == "profile_field_pkey"
        assert (await reread(store, one)).fields == {"city": new}
        assert await reread(store, two) == two
        with pytest.raises(NotFoundError):
            await store.update_field(tenant, uuid4(), make_field())

    async def test_concurrent_updates_lose_no_field(self, store: ProfileStore) -> None:
        (profile,) = await save_profiles(store, uuid4(), {})
        fields = {f"field_{n}": make_field(f"field_{n}", n) for n in range(8)}
        await asyncio.gather(*(store.update_field(profile.tenant_id, profile.id, f) for f in fields.values()))
        assert (await reread(store, profile)).fields == fields

    async def test_assets_are_added_once_in_order(self, store: ProfileStore) -> None:
        one, two = await save_profiles(store, uuid4(), {}, {})
        tenant, assets = one.tenant_id, [make_asset(), full_asset(), make_asset()]
        for asset in (*assets, assets[0]):
            assert await store.add_asset(tenant, one.id, asset) == asset.id
        stored = await reread(store, one)
        assert (stored.assets, stored.revision) == (assets, 4)
        for profile, asset in ((one, assets[0].model_copy(update={"name": "other"})), (two, assets[0])):
            with pytest.raises(ConflictError) as caught:
                await store.add_asset(tenant, profile.id, asset)
            assert caught.value.code == "profile_asset_pkey"
        with pytest.raises(NotFoundError):
            await store.add_asset(tenant, uuid4(), make_asset())
        assert await reread(store, one) == stored

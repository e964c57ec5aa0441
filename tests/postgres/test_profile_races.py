"""Many workers on few profiles: no deadlock reaches a caller, nothing is lost, and every merge can be undone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from random import Random
from typing import Any
from uuid import UUID, uuid4

import pytest

from convostore.embedded import Embedded
from convostore.errors import ConflictError, ValidationError
from convostore.models import Channel, CustomerProfile, ItemStatus, ProfileField
from convostore.postgres import PostgresProfileStore, create_pool
from convostore.testing.factories import make_asset, make_field, make_profile
from convostore.testing.profile.profiles import reread
from convostore.testing.profile.unmerging import state
from tests.postgres.blocking import blocking, single, waiting
from tests.postgres.databases import connected

WORKERS, PROFILES = 50, 20


@pytest.fixture
async def store(engines: Embedded) -> AsyncIterator[PostgresProfileStore]:
    async with await create_pool(engines.postgres_dsn, max_size=20) as pool:
        yield PostgresProfileStore(pool, timeout=100)


async def test_fifty_concurrent_get_or_creates_create_one_profile(store: PostgresProfileStore) -> None:
    tenant = uuid4()
    found = await asyncio.gather(*(store.get_or_create(tenant, Channel.SMS, "1") for _ in range(WORKERS)))
    assert len({profile.id for profile in found}) == 1
    assert await store.list_profiles(tenant) == [found[0]]


async def at_once(
    engines: Embedded, tenant: UUID, lock: str, *calls: Callable[[PostgresProfileStore], Any]
) -> list[Any]:
    """Make calls that each have read what there is before any of them has written; return answers and errors."""
    async with connected(engines.postgres_dsn) as admin, AsyncExitStack() as stack:
        pools = [await stack.enter_async_context(single(engines.postgres_dsn)) for _ in calls]
        async with blocking(engines.postgres_dsn, lock, tenant) as blocker:
            pairs = zip(calls, pools, strict=True)
            running = [asyncio.ensure_future(call(PostgresProfileStore(pool))) for call, (pool, _) in pairs]
            await waiting(admin, *(pid for _, pid in pools))
            await blocker.let_go()
        return await asyncio.gather(*running, return_exceptions=True)


@pytest.mark.parametrize("kind", ["field", "asset"])
async def test_one_of_two_concurrent_writes_of_an_item_id_succeeds(
    engines: Embedded, store: PostgresProfileStore, kind: str
) -> None:
    tenant, field, asset = uuid4(), make_field(), make_asset()
    profiles = [await store.get_or_create(tenant, Channel.SMS, str(number)) for number in range(2)]

    def using(profile: CustomerProfile) -> Callable[[PostgresProfileStore], Any]:
        if kind == "field":
            return lambda one: one.update_field(tenant, profile.id, field)
        return lambda one: one.add_asset(tenant, profile.id, asset)

    lock = "SELECT FROM convostore.profile WHERE tenant_id = $1 FOR UPDATE"
    results = await at_once(engines, tenant, lock, *map(using, profiles))
    (refused,) = (result for result in results if isinstance(result, Exception))
    assert isinstance(refused, ConflictError)
    assert refused.code == f"profile_{kind}_pkey"
    for profile, result in zip(profiles, results, strict=True):
        stored = await reread(store, profile)
        items = [*stored.fields.values(), *stored.assets]
        assert items == ([] if result is refused else [field if kind == "field" else asset])


async def test_concurrent_fields_of_one_name_supersede_each_other(
    engines: Embedded, store: PostgresProfileStore
) -> None:
    tenant = uuid4()
    profile = await store.get_or_create(tenant, Channel.SMS, "1")
    fields = [make_field(value=number) for number in range(5)]

    def using(field: ProfileField) -> Callable[[PostgresProfileStore], Any]:
        return lambda one: one.update_field(tenant, profile.id, field)

    lock = "SELECT FROM convostore.profile WHERE tenant_id = $1 FOR UPDATE"
    assert await at_once(engines, tenant, lock, *map(using, fields)) == [None] * 5
    history = await store.get_field_history(tenant, profile.id, "city")
    assert {field.id for field in history} == {field.id for field in fields}
    assert [field.status for field in history].count(ItemStatus.ACTIVE) == 1
    assert len({field.superseded_by_id for field in history}) == 5
    assert (await reread(store, profile)).revision == profile.revision + 5


async def test_one_of_two_concurrent_saves_of_a_new_profile_succeeds(
    engines: Embedded, store: PostgresProfileStore
) -> None:
    tenant = uuid4()
    one, two = (make_profile(tenant, id=UUID(int=1), fields={name: make_field(name)}) for name in ("one", "two"))
    # A row that is not there in the end: both wait for what becomes of it.
    lock = (
        "INSERT INTO convostore.profile (tenant_id, id, customer_id, consents, verification_level, created_at, "
        "updated_at, revision) VALUES ($1, lpad('1', 32, '0')::uuid, $1, '[]', '', now(), now(), 1)"
    )
    results = await at_once(
        engines, tenant, lock, lambda store: store.save_profile(one), lambda store: store.save_profile(two)
    )
    (refused,) = (result for result in results if isinstance(result, Exception))
    assert isinstance(refused, ConflictError)
    assert refused.current_revision == 1
    winner = two if results[0] is refused else one
    assert await store.list_profiles(tenant) == [winner]


async def peopled(store: PostgresProfileStore, tenant: UUID) -> list[CustomerProfile]:
    """Create profiles with an identity, fields and an asset each; one field has a name that all have."""
    profiles = []
    for number in range(PROFILES):
        profile = await store.get_or_create(tenant, Channel.SMS, str(number))
        for field in (make_field(f"of_{number}"), make_field("city", number, confidence=number / PROFILES)):
            await store.update_field(tenant, profile.id, field)
        await store.add_asset(tenant, profile.id, make_asset(name=f"of {number}"))
        profiles.append(profile)
    return profiles


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
async def test_random_merges_and_links_lose_nothing_and_can_be_undone(store: PostgresProfileStore, seed: int) -> None:
    tenant, dice = uuid4(), Random(seed)
    profiles, refused = await peopled(store, tenant), set[str]()

    async def work() -> None:
        call: Awaitable[Any]
        if dice.random() < 0.5:
            source, target = dice.sample(profiles, 2)
            call = store.merge_profiles(tenant, source.id, target.id)
        else:
            owner = dice.choice(profiles)
            call = store.link_channel(tenant, owner.id, Channel.EMAIL, str(dice.randrange(PROFILES)))
        try:
            await call
        except (ValidationError, ConflictError) as error:
            refused.add(error.code or type(error).__name__)

    await asyncio.gather(*(work() for _ in range(WORKERS)))
    # A profile that was merged meanwhile, an identity that another one has; no deadlock.
    assert refused <= {"ValidationError", "channel_identity_channel_key"}

    living = await store.list_profiles(tenant)
    assert len(living) < PROFILES
    identities = [(item.channel, item.channel_user_id) for profile in living for item in profile.channel_identities]
    assert len(identities) == len(set(identities))
    for channel, channel_user_id in identities:
        owner = await store.get_by_channel_identity(tenant, channel, channel_user_id)
        assert owner in living
    await assert_all_there(store, tenant, living)

    for target in living:
        before = await state(store, target)
        with suppress(ValidationError):
            source = await store.unmerge_profiles(tenant, target.id)
            await assert_all_there(store, tenant, await store.list_profiles(tenant))
            # Merged again, it is as it was: undoing lost nothing either.
            await store.merge_profiles(tenant, source.id, target.id)
            after = await state(store, target)
            assert after.profile.fields.keys() == before.profile.fields.keys()
            assert {field.id for field in after.fields["city"]} == {field.id for field in before.fields["city"]}
    while merged := [profile for profile in await store.list_profiles(tenant) if await undone(store, profile)]:
        await assert_all_there(store, tenant, await store.list_profiles(tenant))
        assert merged
    assert len(await store.list_profiles(tenant)) == PROFILES


async def undone(store: PostgresProfileStore, profile: CustomerProfile) -> bool:
    """Undo the newest merge into a profile; return whether there was one."""
    with suppress(ValidationError):
        await store.unmerge_profiles(profile.tenant_id, profile.id)
        return True
    return False


async def assert_all_there(store: PostgresProfileStore, tenant: UUID, living: list[CustomerProfile]) -> None:
    """Every field, past ones too, and every asset belongs to one living profile."""
    names = [name for profile in living for name in profile.fields if name != "city"]
    assert sorted(names) == sorted(f"of_{number}" for number in range(PROFILES))
    files = [asset.name for profile in living for asset in profile.assets]
    assert sorted(files) == sorted(f"of {number}" for number in range(PROFILES))
    cities = [item for profile in living for item in await store.get_field_history(tenant, profile.id, "city")]
    assert sorted(int(str(item.value)) for item in cities) == list(range(PROFILES))

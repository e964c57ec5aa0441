"""The methods of a profile store."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

from bench.data import columns
from bench.methods.cases import LIMIT, Arguments, Case
from bench.methods.slots import Slot, profile
from bench.profiles import SELECT, UPDATE, VALUES
from convostore import Stores
from convostore.models import Channel, Consent, CustomerProfile, ProfileAsset, ProfileField, VerificationLevel
from convostore.testing.factories import make_asset, make_field

_LONG_AGO = datetime(1980, 1, 1, tzinfo=UTC)


def _of(slot: Slot, way: int) -> tuple[UUID, UUID]:
    return slot.tenant, slot.profiles[way].id


def _cases() -> Iterator[Case]:
    def case(method: str, given: Any, sql: str | None = None, **more: Any) -> Case:
        return Case("profiles", method, given, sql, **more)

    def history(model: type[Any], table: str) -> str:
        named = "tenant_id = $1 AND profile_id = $2 AND name = $3"
        return f"SELECT {columns(model)} FROM convostore.{table} WHERE {named} LIMIT {LIMIT}"

    def identity(slot: Slot, _: int) -> Arguments:
        found = slot.profiles[0].channel_identities[0]
        return slot.tenant, found.channel, found.channel_user_id

    async def deleted(stores: Stores, arguments: Arguments) -> None:
        await stores.profiles.delete_profile(*arguments)

    async def restored(stores: Stores, arguments: Arguments) -> None:
        await stores.profiles.restore_profile(*arguments)

    async def two(stores: Stores, arguments: Arguments) -> None:
        for key in arguments[1:]:
            await stores.profiles.save_profile(_NEW.pop(key))

    async def merged(stores: Stores, arguments: Arguments) -> None:
        other = profile(arguments[0])
        await stores.profiles.save_profile(_NEW.pop(arguments[1]))
        await stores.profiles.save_profile(other)
        await stores.profiles.merge_profiles(arguments[0], other.id, arguments[1])

    def new(slot: Slot, count: int) -> Arguments:
        made = [profile(slot.tenant) for _ in range(count)]
        _NEW.update({each.id: each for each in made})
        return slot.tenant, *(each.id for each in made)

    yield case("get_profile", lambda slot, _: _of(slot, 0), SELECT, model=CustomerProfile, document=True)
    yield case("get_by_customer_id", lambda slot, _: (slot.tenant, slot.profiles[0].customer_id))
    yield case("get_by_channel_identity", identity)
    yield case("get_or_create", identity)
    yield case("list_profiles", lambda slot, _: (slot.tenant,))
    yield case("find_profiles_by_field", lambda s, _: (s.tenant, "city", s.profiles[0].fields["city"].value))
    yield case(
        "get_field_history",
        lambda slot, _: (*_of(slot, 0), "city"),
        history(ProfileField, "profile_field"),
        model=ProfileField,
    )
    yield case(
        "get_asset_history",
        lambda slot, _: (*_of(slot, 0), slot.profiles[0].assets[0].name),
        history(ProfileAsset, "profile_asset"),
        model=ProfileAsset,
    )
    yield case("trace_item", lambda slot, _: (*_of(slot, 0), slot.profiles[0].assets[0].id))
    yield case("save_profile", lambda slot, _: (profile(slot.tenant),))
    yield case(
        "update_field",
        lambda slot, way: (*_of(slot, way), make_field("city", f"city {uuid4()}")),
        UPDATE,
        params=lambda tenant, key, field: (tenant, key, *VALUES(field)),
    )
    yield case("add_asset", lambda slot, _: (*_of(slot, 0), make_asset()))
    yield case("link_channel", lambda slot, _: (*_of(slot, 0), Channel.EMAIL, str(uuid4())))
    yield case("save_consent", lambda slot, _: (*_of(slot, 0), Consent(consent_type="calls", granted=True)))
    yield case("set_verification_level", lambda slot, _: (*_of(slot, 0), VerificationLevel.KYC_COMPLETE))
    yield case("expire_stale_fields", lambda slot, _: (slot.tenant,), options={"at": _LONG_AGO})
    yield case("merge_profiles", lambda slot, _: new(slot, 2), before=two)
    yield case("unmerge_profiles", lambda slot, _: new(slot, 1), before=merged)
    yield case("delete_profile", lambda slot, _: _of(slot, 1), before=restored)
    yield case("restore_profile", lambda slot, _: _of(slot, 1), before=deleted)
    yield case("purge_deleted", lambda slot, _: (slot.tenant,), options={"before": _LONG_AGO})


_NEW: dict[UUID, CustomerProfile] = {}
"""What is saved in a moment."""

CASES = [*_cases()]

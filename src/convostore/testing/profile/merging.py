"""The contract of profile stores: merging two profiles into one."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any
from uuid import UUID, uuid4

import pytest

from convostore.contracts import ProfileStore
from convostore.errors import ConflictError, NotFoundError, ValidationError
from convostore.models import Channel, Consent, CustomerProfile, VerificationLevel
from convostore.models.fields import now
from convostore.testing.base import StoreContract
from convostore.testing.factories import at, full_profile, make_asset, make_field, make_identity, make_profile
from convostore.testing.profile.profiles import reread, save_profiles


class MergeContract(StoreContract):
    """Merging profiles."""

    async def test_everything_moves_to_the_target(self, store: ProfileStore) -> None:
        source = full_profile(uuid4())
        target = make_profile(
            source.tenant_id,
            channel_identities=[make_identity()],
            fields={"color": make_field("color", "red")},
            assets=[make_asset()],
            last_interaction_at=at(9),
        )
        for profile in (source, target):
            await store.save_profile(profile)
        merged = await store.merge_profiles(source.tenant_id, source.id, target.id)
        assert merged.id == target.id
        assert merged.channel_identities == target.channel_identities + source.channel_identities
        assert merged.fields == {**target.fields, **source.fields}
        assert merged.assets == target.assets + source.assets
        assert merged.consents == source.consents
        assert merged.verification_level == VerificationLevel.PHONE_VERIFIED
        assert merged.last_interaction_at == at(9)
        assert merged.revision == 2
        assert await reread(store, target) == merged
        assert await store.list_profiles(source.tenant_id) == [merged]

    async def test_the_ids_of_the_source_lead_to_the_target(self, store: ProfileStore) -> None:
        tenant = uuid4()
        a, b, c = [await store.get_or_create(tenant, Channel.SMS, str(n)) for n in range(3)]
        await store.merge_profiles(tenant, a.id, b.id)
        merged = await store.merge_profiles(tenant, b.id, c.id)
        for profile in (a, b, c):
            assert await store.get_profile(tenant, profile.id) == merged
            assert await store.get_by_customer_id(tenant, profile.customer_id) == merged
        assert await store.get_or_create(tenant, Channel.SMS, "0") == merged
        field = make_field()
        await store.update_field(tenant, a.id, field)
        await store.link_channel(tenant, b.id, Channel.SMS, "9")
        changed = await reread(store, c)
        assert changed.fields == {"city": field}
        assert len(changed.channel_identities) == 4
        with pytest.raises(ConflictError):
            await store.save_profile(a, overwrite=True)
        with pytest.raises(ConflictError):
            await store.save_profile(make_profile(tenant, customer_id=a.customer_id))

    @pytest.mark.parametrize(
        ("source", "target", "winner"),
        [
            ({"verified": True, "confidence": 0.1}, {"confidence": 0.9, "collected_at": at(9)}, "source"),
            ({"confidence": 0.9}, {"confidence": 0.8, "collected_at": at(9)}, "source"),
            ({"collected_at": at(2)}, {"collected_at": at(1)}, "source"),
            ({"collected_at": at(1)}, {"collected_at": at(2)}, "target"),
            ({"collected_at": at(1)}, {"collected_at": at(1)}, "target"),
            ({"collected_at": at(9)}, {"collected_at": at(1), "verified": True}, "target"),
        ],
    )
    async def test_of_two_fields_the_better_one_wins(
        self, store: ProfileStore, source: dict[str, Any], target: dict[str, Any], winner: str
    ) -> None:
        tenant = uuid4()
        fields = {
            "source": make_field(value="source", **source),
            "target": make_field(value="target", **target),
        }
        one, two = await save_profiles(store, tenant, *({"fields": {"city": field}} for field in fields.values()))
        merged = await store.merge_profiles(tenant, one.id, two.id)
        assert merged.fields == {"city": fields[winner]}
        assert await reread(store, two) == merged
        loser = fields["target" if winner == "source" else "source"]
        with pytest.raises(ConflictError):
            await store.update_field(tenant, two.id, loser.model_copy(update={"value": "again"}))

    async def test_of_two_consents_the_one_decided_last_remains(self, store: ProfileStore) -> None:
        tenant = uuid4()

        def consent(kind: str, granted: bool, moment: float) -> Consent:
            granted_at, revoked_at = (at(moment), None) if granted else (None, at(moment))
            return Consent(consent_type=kind, granted=granted, granted_at=granted_at, revoked_at=revoked_at)

        revoked, kept, own = consent("ads", False, 2), consent("mail", True, 2), consent("sms", True, 0)
        one, two = await save_profiles(
            store,
            tenant,
            {"consents": [revoked, consent("mail", False, 1)]},
            {"consents": [consent("ads", True, 1), kept, own]},
        )
        merged = await store.merge_profiles(tenant, one.id, two.id)
        assert sorted(merged.consents, key=lambda c: c.consent_type) == [revoked, kept, own]

    async def test_a_merge_that_makes_no_sense_is_refused(self, store: ProfileStore) -> None:
        tenant = uuid4()
        a, b, c, deleted = await save_profiles(store, tenant, {}, {}, {}, {})
        (stranger,) = await save_profiles(store, uuid4(), {})
        await store.delete_profile(tenant, deleted.id)
        await store.merge_profiles(tenant, a.id, b.id)
        for source, target, error in (
            (b.id, b.id, ValidationError),
            (a.id, c.id, ValidationError),
            (c.id, a.id, ValidationError),
            (c.id, deleted.id, ValidationError),
            (deleted.id, c.id, ValidationError),
            (uuid4(), c.id, NotFoundError),
            (c.id, uuid4(), NotFoundError),
            (c.id, stranger.id, NotFoundError),
        ):
            with pytest.raises(error):
                await store.merge_profiles(tenant, source, target)
        assert await reread(store, c) == c

    async def test_a_purge_is_a_batch_of_profiles_deleted_first_with_those_merged_into_them(
        self, store: ProfileStore
    ) -> None:
        tenant = uuid4()
        merged, first, second, third = await save_profiles(store, tenant, {}, {}, {}, {})
        await store.merge_profiles(tenant, merged.id, first.id)
        for profile in (first, second, third):
            await store.delete_profile(tenant, profile.id)
        assert await store.purge_deleted(tenant, before=now(), limit=1) == 2
        assert await store.restore_profile(tenant, first.id) is False
        assert [await store.purge_deleted(tenant, before=now(), limit=1) for _ in range(3)] == [1, 1, 0]

    async def test_purging_a_target_takes_what_was_merged_into_it(self, store: ProfileStore) -> None:
        tenant = uuid4()
        a, b, c, kept = await save_profiles(store, tenant, {}, {}, {}, {})
        await store.merge_profiles(tenant, a.id, b.id)
        await store.merge_profiles(tenant, b.id, c.id)
        assert await store.purge_deleted(tenant, before=now()) == 0
        await store.delete_profile(tenant, c.id)
        assert await store.purge_deleted(tenant, before=now()) == 3
        assert await store.list_profiles(tenant) == [kept]
        assert await store.get_profile(tenant, a.id) is None

    async def test_of_many_concurrent_merges_of_one_profile_one_wins(self, store: ProfileStore) -> None:
        tenant = uuid4()
        source = await store.get_or_create(tenant, Channel.SMS, "1")
        targets = await save_profiles(store, tenant, *({} for _ in range(6)))
        merges = (store.merge_profiles(tenant, source.id, target.id) for target in targets)
        results = await asyncio.gather(*merges, return_exceptions=True)
        winners = [result for result in results if isinstance(result, CustomerProfile)]
        assert len(winners) == 1
        assert sum(isinstance(result, ValidationError) for result in results) == 5
        assert await store.get_by_channel_identity(tenant, Channel.SMS, "1") == winners[0]

    async def test_concurrent_merges_and_links_lose_nothing(self, store: ProfileStore) -> None:
        tenant = uuid4()
        profiles = [await store.get_or_create(tenant, Channel.SMS, str(n)) for n in range(8)]
        for profile in profiles:
            await store.update_field(
                tenant, profile.id, make_field(f"of_{profile.channel_identities[0].channel_user_id}")
            )

        async def merge(source: UUID, target: UUID) -> None:
            # Refused where the other one was merged first; any other error fails the test.
            with suppress(ValidationError):
                await store.merge_profiles(tenant, source, target)

        await asyncio.gather(
            *(merge(profiles[n].id, profiles[(n * 3 + 1) % 8].id) for n in range(8)),
            *(store.link_channel(tenant, profiles[n].id, Channel.EMAIL, str(n)) for n in range(8)),
        )
        living = await store.list_profiles(tenant)
        identities = [(i.channel, i.channel_user_id) for profile in living for i in profile.channel_identities]
        expected = {(channel, str(n)) for channel in (Channel.SMS, Channel.EMAIL) for n in range(8)}
        assert len(identities) == 16
        assert set(identities) == expected
        assert sorted(name for profile in living for name in profile.fields) == [f"of_{n}" for n in range(8)]

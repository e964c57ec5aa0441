"""A machine that drives a profile store and the reference alike."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from itertools import count, pairwise
from operator import attrgetter
from typing import Any
from uuid import UUID, uuid4

from hypothesis import strategies as st
from hypothesis.stateful import initialize, rule

from convostore.errors import StoreError
from convostore.inmemory import InMemoryProfileStore
from convostore.models import Channel, Consent, CustomerProfile, ItemStatus, VerificationLevel
from convostore.models.base import Model
from convostore.testing.factories import at, make_asset, make_field, make_identity, make_profile
from convostore.testing.machines.base import Machine

# Few values, so that what is done meets what is there.
slots = st.integers(0, 4)
"""Profiles: the first of them have the ids 1 to 3, the others are those that a store made."""
names = st.sampled_from(["a", "b"])
item_ids = st.integers(10, 29).map(lambda number: UUID(int=number))
moments = st.integers(0, 3).map(at)
levels = st.sampled_from(
    [VerificationLevel.UNVERIFIED, VerificationLevel.EMAIL_VERIFIED, VerificationLevel.KYC_COMPLETE]
)
channels = st.tuples(st.sampled_from([Channel.SMS, Channel.API]), st.sampled_from(["1", "2", "3"]))
pages = st.fixed_dictionaries({"limit": st.integers(1, 3), "offset": st.integers(0, 2)})
values = st.sampled_from([1, 2, "x", None])
fields = st.builds(
    make_field,
    names,
    values,
    id=item_ids,
    verified=st.booleans(),
    confidence=st.sampled_from([0.5, 1.0]),
    collected_at=moments,
    updated_at=st.just(at(0)),
    expires_at=st.none() | moments,
    source_item_id=st.none() | item_ids,
)
assets = st.builds(
    make_asset,
    name=names,
    id=item_ids,
    uploaded_at=moments,
    verified=st.booleans(),
    source_item_id=st.none() | item_ids,
)
consents = st.builds(
    lambda kind, granted, moment: Consent(consent_type=kind, granted=granted, granted_at=moment),
    names,
    st.booleans(),
    moments,
)
profiles = st.fixed_dictionaries(
    {
        "channel_identities": st.lists(channels, max_size=2, unique=True).map(
            lambda keys: [make_identity(channel=key[0], channel_user_id=key[1], linked_at=at(0)) for key in keys]
        ),
        "fields": st.lists(fields, max_size=2, unique_by=(attrgetter("name"), attrgetter("id"))).map(
            lambda items: {item.name: item for item in items}
        ),
        "assets": st.lists(assets, max_size=2, unique_by=attrgetter("id")),
        "consents": st.lists(consents, max_size=2, unique_by=attrgetter("consent_type")),
        "verification_level": levels,
        "last_interaction_at": st.none() | moments,
    }
)


BY_ID = ("get_field_history", "get_asset_history", "trace_item")
"""What is in the order of ids at the same moment, which differ where a store made them."""


def every(value: Any) -> Callable[[int], Any]:
    """Return an argument that is the same for both stores, a copy for each."""
    return lambda _: value.model_copy(deep=True) if isinstance(value, Model) else value


class ProfileMachine(Machine):
    """Profiles of one tenant of each store, which must not differ but in the ids that they make."""

    @initialize(given=st.tuples(profiles, profiles, profiles))
    def begin(self, given: tuple[dict[str, Any], ...]) -> None:
        self.tenant = uuid4()
        self.stores = (InMemoryProfileStore(clock=lambda: type(self).moment), self.backend)
        self.new_ids = count(200)
        self.ids = [(UUID(int=number), UUID(int=number)) for number in (1, 2, 3)]
        self.customers = [(UUID(int=number), UUID(int=number)) for number in (101, 102, 103)]
        for number, values in enumerate(given):
            self.save_any(number, values, 0, overwrite=False)

    def both(self, call: str, *args: Callable[[int], Any], **kwargs: Any) -> list[Any]:
        """Call both stores, with what each argument is for each, and return the answers, which are compared."""
        type(self).moment += timedelta(seconds=1)
        outcomes, answers = [], []
        for place, store in enumerate(self.stores):
            given = [argument(place) for argument in args]
            options = {name: value(place) if callable(value) else value for name, value in kwargs.items()}
            try:
                answer = type(self).run(getattr(store, call)(self.tenant, *given, **options))
            except StoreError as error:
                answer = None
                outcomes.append((type(error), getattr(error, "current_revision", None)))
            else:
                outcomes.append(self.plain(answer, place, ordered=call not in BY_ID))
            answers.append(answer)
        assert outcomes[0] == outcomes[1], call
        return answers

    def plain(self, value: Any, place: int, *, ordered: bool = True) -> Any:
        """Return a value as data, with every id that a store made by what it stands for."""
        made = {ids[place]: number for pairs in (self.ids, self.customers) for number, ids in enumerate(pairs)}
        if isinstance(value, Model):
            values = {name: getattr(value, name) for name in type(value).model_fields}
            return self.plain(values, place, ordered=ordered)
        if isinstance(value, dict):
            return {name: self.plain(item, place, ordered=ordered) for name, item in value.items()}
        if isinstance(value, list):
            items = [self.plain(item, place, ordered=ordered) for item in value]
            return items if ordered else sorted(items, key=str)
        if isinstance(value, UUID):
            return made.get(value, value.int if value.int < 1000 or value == self.tenant else "made")
        return value

    def profile(self, slot: int) -> Callable[[int], UUID]:
        return lambda place: self.ids[slot % len(self.ids)][place]

    def save(self, each: list[CustomerProfile], **options: Any) -> None:
        type(self).moment += timedelta(seconds=1)
        outcomes: list[Any] = []
        for place, (store, profile) in enumerate(zip(self.stores, each, strict=True)):
            try:
                type(self).run(store.save_profile(profile, **options))
            except StoreError as error:
                outcomes.append((type(error), getattr(error, "current_revision", None)))
            else:
                outcomes.append(self.plain(profile, place))
        assert outcomes[0] == outcomes[1]

    @rule(number=st.integers(0, 2), given=profiles, revision=st.integers(0, 2), overwrite=st.booleans())
    def save_any(self, number: int, given: dict[str, Any], revision: int, overwrite: bool) -> None:
        pair = zip(self.ids[number], self.customers[number], strict=True)
        each = [make_profile(self.tenant, id=id_, customer_id=of, revision=revision, **given) for id_, of in pair]
        self.save([profile.model_copy(deep=True) for profile in each], overwrite=overwrite)

    @rule(
        slot=slots, given=profiles, what=st.sampled_from(["fields", "assets", "channel_identities", "consents", "none"])
    )
    def change(self, slot: int, given: dict[str, Any], what: str) -> None:
        """Save what was read, changed, as a careful caller does."""
        found = self.both("get_profile", self.profile(slot))
        if found[0] is None:
            return
        for profile in found:
            if what in given:
                setattr(
                    profile, what, make_profile(self.tenant, **{what: given[what]}).model_copy(deep=True).__dict__[what]
                )
            for item in profile.assets:
                item.verified = not item.verified
            for field in profile.fields.values():
                field.value = 3
        self.save(found)

    @rule(key=channels)
    def get_or_create(self, key: tuple[Channel, str]) -> None:
        found = self.both("get_by_channel_identity", *map(every, key))
        if found[0] is None:
            type(self).moment += timedelta(seconds=1)
            made = [type(self).run(store.get_or_create(self.tenant, *key)) for store in self.stores]
            self.ids.append((made[0].id, made[1].id))
            self.customers.append((made[0].customer_id, made[1].customer_id))
        self.both("get_or_create", *map(every, key))

    @rule(slot=slots, key=channels)
    def link(self, slot: int, key: tuple[Channel, str]) -> None:
        self.both("link_channel", self.profile(slot), *map(every, key))

    @rule(slot=slots, field=fields, new=st.booleans(), status=st.sampled_from(ItemStatus))
    def update_field(self, slot: int, field: Any, new: bool, status: ItemStatus) -> None:
        changes = {"id": UUID(int=next(self.new_ids))} if new else {}
        self.both("update_field", self.profile(slot), every(field.model_copy(update={"status": status, **changes})))

    @rule(slot=slots, asset=assets, old=st.none() | item_ids)
    def add_asset(self, slot: int, asset: Any, old: UUID | None) -> None:
        self.both("add_asset", self.profile(slot), every(asset), supersedes=old)

    @rule(slot=slots, consent=consents, level=levels)
    def decide(self, slot: int, consent: Consent, level: VerificationLevel) -> None:
        self.both("save_consent", self.profile(slot), every(consent))
        self.both("set_verification_level", self.profile(slot), every(level))

    @rule(one=slots, two=slots)
    def merge(self, one: int, two: int) -> None:
        self.both("merge_profiles", self.profile(one), self.profile(two))

    @rule(slots=st.lists(slots, min_size=2, max_size=4, unique=True))
    def merge_and_undo(self, slots: list[int]) -> None:
        """Merge one after the other into the next, and undo it all: nothing has been written since."""
        before, steps = self.state(), []
        for one, two in pairwise(slots):
            if self.both("merge_profiles", self.profile(one), self.profile(two))[0] is None:
                break
            steps.append((one, two))
        for one, two in reversed(steps):
            restored, _ = self.both("unmerge_profiles", self.profile(two))
            assert restored.id == self.profile(one)(0)
        assert self.state() == before

    @rule(slot=slots)
    def unmerge(self, slot: int) -> None:
        self.both("unmerge_profiles", self.profile(slot))
        self.look()

    @rule(slot=slots, what=st.sampled_from(["delete_profile", "restore_profile"]))
    def delete_or_restore(self, slot: int, what: str) -> None:
        self.both(what, self.profile(slot))

    @rule(ago=st.integers(0, 10), limit=st.sampled_from([1, 2, 1_000]))
    def purge(self, ago: int, limit: int) -> None:
        self.both("purge_deleted", before=type(self).moment - timedelta(seconds=ago), limit=limit)

    @rule(moment=moments, limit=st.sampled_from([1, 1_000]))
    def expire(self, moment: datetime, limit: int) -> None:
        self.both("expire_stale_fields", at=moment, limit=limit)

    @rule(level=st.none() | levels, page=pages)
    def lists(self, level: VerificationLevel | None, page: dict[str, int]) -> None:
        found = self.both("list_profiles", verification_level=level, **page)
        for number in range(len(found[0])):
            self.both("list_profiles", verification_level=level, **page, after=lambda place, n=number: found[place][n])

    @rule(name=names, value=values, page=pages)
    def find(self, name: str, value: Any, page: dict[str, int]) -> None:
        self.both("find_profiles_by_field", every(name), every(value), **page)

    @rule(slot=slots, item=item_ids)
    def trace(self, slot: int, item: UUID) -> None:
        self.both("trace_item", self.profile(slot), every(item))

    @rule()
    def look(self) -> None:
        self.state()

    def state(self) -> list[Any]:
        """Return all there is but what every change changes; both stores are asked."""
        self.both("list_profiles")
        found = []
        for slot, customer in enumerate(self.customers):
            (profile, _) = self.both("get_profile", self.profile(slot))
            self.both("get_by_customer_id", customer.__getitem__)
            found.append(profile and profile.model_copy(update={"revision": 0, "updated_at": at(0)}))
            for name in ("a", "b"):
                found += self.both("get_field_history", self.profile(slot), every(name))[0]
                found += self.both("get_asset_history", self.profile(slot), every(name))[0]
        return found

    def teardown(self) -> None:
        self.look()

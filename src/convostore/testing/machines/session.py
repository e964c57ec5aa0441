"""A machine that drives a session store and the reference alike."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

from hypothesis import strategies as st
from hypothesis.stateful import initialize, rule

from convostore.inmemory import InMemorySessionStore
from convostore.models import Channel, ScopeFilter, Session, SessionStatus
from convostore.testing.factories import at, make_session, make_visit
from convostore.testing.machines.base import Machine

# Few values, so that what is done meets what is there.
numbers = st.integers(0, 3)
"""Sessions: their ids are unique across tenants, so they are new for each sequence."""
ids = st.integers(1, 2).map(lambda number: UUID(int=number))
places = st.sampled_from([0, 1])
channels = st.sampled_from([Channel.SMS, Channel.API])
users = st.sampled_from(["1", "2"])
statuses = st.sampled_from([SessionStatus.ACTIVE, SessionStatus.PROCESSING, SessionStatus.CLOSED])
steps = st.sampled_from(["here", "there"])
pages = st.fixed_dictionaries({"limit": st.integers(1, 3), "offset": st.integers(0, 2)})
contents = st.fixed_dictionaries(
    {
        "agent_id": ids,
        "channel": channels,
        "user_channel_id": users,
        "customer_profile_id": st.none() | ids,
        "status": statuses,
        "active_scenario_id": st.none() | ids,
        "active_scenario_version": st.integers(1, 2),
        "step_history": st.lists(
            steps.map(lambda step: make_visit(step_id=UUID(int=9), step_content_hash=step)), max_size=2
        ),
        "turn_count": st.integers(0, 3),
        "revision": st.integers(0, 3),
        "created_at": st.just(at(0)),
    }
)


class SessionMachine(Machine):
    """Sessions of two tenants of each store, which must not differ. Tiers may: they are moved, and change no answer."""

    @initialize()
    def begin(self) -> None:
        self.reference = InMemorySessionStore(clock=lambda: type(self).moment, max_age=None)
        self.tenants = [uuid4(), uuid4()]
        self.ids = [uuid4() for _ in range(4)]

    def session(self, place: int, number: int, values: dict[str, Any]) -> Session:
        return make_session(self.tenants[place], session_id=self.ids[number], **values)

    @rule(seconds=st.integers(1, 3))
    def wait(self, seconds: int) -> None:
        type(self).moment += timedelta(seconds=seconds)

    @rule(place=places, number=numbers, values=contents, overwrite=st.booleans())
    def save(self, place: int, number: int, values: dict[str, Any], overwrite: bool) -> None:
        self.both("save", self.session(place, number, values), overwrite=overwrite)

    @rule(number=numbers, values=contents)
    def change(self, number: int, values: dict[str, Any]) -> None:
        """Save what was read, as a careful caller does."""
        found = self.both("get", self.ids[number])
        if found is not None:
            kept = {"revision": found.revision, "created_at": found.created_at}
            self.both("save", found.model_copy(update=values | kept, deep=True))

    @rule(number=numbers, place=st.none() | places, what=st.sampled_from(["get", "delete"]))
    def get_or_delete(self, number: int, place: int | None, what: str) -> None:
        self.both(what, self.ids[number], tenant_id=None if place is None else self.tenants[place])

    @rule(number=numbers, what=st.sampled_from(["promote_to_hot", "demote_to_persistent"]))
    def move(self, number: int, what: str) -> None:
        type(self).run(getattr(self.backend, what)(self.ids[number]))
        self.both("get", self.ids[number])

    @rule(place=places, channel=channels, user=users, agent=st.none() | ids)
    def look_up(self, place: int, channel: Channel, user: str, agent: UUID | None) -> None:
        self.both("get_by_channel", self.tenants[place], channel, user, agent_id=agent)

    @rule(place=places, owner=ids, page=pages, status=st.none() | statuses)
    def lists(self, place: int, owner: UUID, page: dict[str, int], status: SessionStatus | None) -> None:
        for call, only in (("list_by_agent", {"status": status}), ("list_by_customer", {})):
            for found in self.both(call, self.tenants[place], owner, **only, **page):
                self.both(call, self.tenants[place], owner, **only, limit=2, after=found)

    @rule(place=places, scenario=ids, version=st.integers(1, 2), step=steps, page=pages, scoped=st.booleans())
    def find(self, place: int, scenario: UUID, version: int, step: str, page: dict[str, int], scoped: bool) -> None:
        only = ScopeFilter(include_channels=[Channel.SMS]) if scoped else None
        self.both("find_sessions_by_step_hash", self.tenants[place], scenario, version, step, only, **page)

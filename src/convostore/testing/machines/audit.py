"""A machine that drives an audit store and the reference alike."""

from __future__ import annotations

from datetime import timedelta
from operator import attrgetter
from typing import Any
from uuid import UUID, uuid4

from hypothesis import strategies as st
from hypothesis.stateful import initialize, rule

from convostore.inmemory import InMemoryAuditStore
from convostore.testing.factories import at, make_event, make_turn
from convostore.testing.machines.base import Machine

# Few values, so that what is done meets what is there.
sessions = st.integers(1, 2).map(lambda number: UUID(int=number))
records = st.integers(10, 15).map(lambda number: UUID(int=number))
texts = st.sampled_from(["a", "b"])
moments = st.integers(0, 3).map(at)
turns = st.fixed_dictionaries(
    {
        "turn_id": records,
        "session_id": sessions,
        "turn_number": st.integers(0, 3),
        "agent_id": st.just(UUID(int=1)),
        "customer_profile_id": st.none() | sessions,
        "user_message": texts,
        "timestamp": moments,
    }
)
events = st.fixed_dictionaries(
    {
        "id": records,
        "session_id": st.none() | sessions,
        "turn_id": st.none() | records,
        "customer_profile_id": st.none() | sessions,
        "event_type": texts,
        "timestamp": moments,
    }
)
windows = st.fixed_dictionaries(
    {
        "since": st.none() | moments,
        "until": st.none() | moments,
        "limit": st.integers(1, 3),
        "offset": st.integers(0, 2),
    }
)


class AuditMachine(Machine):
    """The records of a tenant of each store, which must not differ, their hashes included."""

    @initialize()
    def begin(self) -> None:
        self.tenant = uuid4()
        self.reference = InMemoryAuditStore(clock=lambda: type(self).moment)

    @rule(seconds=st.integers(1, 3))
    def wait(self, seconds: int) -> None:
        type(self).moment += timedelta(seconds=seconds)

    @rule(values=turns)
    def save_turn(self, values: dict[str, Any]) -> None:
        self.both("save_turn", make_turn(self.tenant, **values))

    @rule(values=events)
    def save_event(self, values: dict[str, Any]) -> None:
        self.both("save_event", make_event(self.tenant, **values))

    @rule(given=st.lists(turns, max_size=3))
    def save_turns(self, given: list[dict[str, Any]]) -> None:
        self.both("save_turns", [make_turn(self.tenant, **values) for values in given])

    @rule(given=st.lists(events, max_size=3))
    def save_events(self, given: list[dict[str, Any]]) -> None:
        self.both("save_events", [make_event(self.tenant, **values) for values in given])

    @rule(record=records)
    def get(self, record: UUID) -> None:
        self.both("get_turn", self.tenant, record)
        self.both("get_event", self.tenant, record)

    @rule(owner=sessions, window=windows)
    def lists(self, owner: UUID, window: dict[str, Any]) -> None:
        page = {name: window[name] for name in ("limit", "offset")}
        for call, given, only in (
            ("list_turns_by_session", (owner,), page),
            ("list_turns_by_tenant", (), window),
            ("list_turns_by_customer", (owner,), page),
            ("list_events", (), window),
            ("list_events_by_customer", (owner,), page),
        ):
            for found in self.both(call, self.tenant, *given, **only):
                self.both(call, self.tenant, *given, **{**only, "offset": 0, "after": found})

    @rule(session=st.none() | sessions)
    def verify(self, session: UUID | None) -> None:
        result = self.both("verify", self.tenant, session)
        self.both("verify", self.tenant, session, anchor=result.head)

    @rule()
    def read_records(self) -> None:
        found = self.both("list_records", self.tenant)
        assert len({attrgetter("kind", "record_id")(record) for record in found}) == len(found)
        self.both("list_heads", self.tenant)
        self.both("list_bodies", self.tenant)

"""The methods of a session store."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any
from uuid import UUID, uuid4

from bench.methods.cases import LIMIT, Arguments, Case, select, upsert, values_of
from bench.methods.slots import Slot
from convostore import Stores
from convostore.domain.declarations import SESSION
from convostore.models import Session

_ADDED: dict[UUID, Session] = {}
"""What is deleted in a moment."""


def _sessions() -> Iterator[Case]:
    at, values = select(SESSION, "{}"), values_of(SESSION)
    last = "ORDER BY last_activity_at DESC, session_id LIMIT"
    channel = "tenant_id = $1 AND channel = $2 AND user_channel_id = $3"

    async def saved(stores: Stores, arguments: Arguments) -> None:
        await stores.sessions.save(_ADDED.pop(arguments[0]))

    def new(slot: Slot, _: int) -> Arguments:
        made = slot.rows["session"][0].model_copy(
            update={"session_id": uuid4(), "user_channel_id": str(uuid4()), "revision": 0}
        )
        _ADDED[made.session_id] = made
        return (made.session_id,)

    def identity(slot: Slot, _: int) -> Arguments:
        session = slot.rows["session"][0]
        return slot.tenant, session.channel, session.user_channel_id

    def visited(slot: Slot, _: int) -> Arguments:
        session = slot.rows["session"][0]
        return slot.tenant, session.active_scenario_id, 2, session.step_history[-1].step_content_hash

    def case(method: str, given: Callable[[Slot, int], Arguments], sql: str | None = None, **more: Any) -> Case:
        return Case("sessions", method, given, sql, **more)

    def read(method: str, given: Callable[[Slot, int], Arguments], where: str) -> Case:
        return case(method, given, at.format(where), model=Session)

    yield read("get", lambda slot, _: (slot.session,), "session_id = $1")
    yield case("save", lambda slot, way: (slot.rows["session"][way],), upsert(SESSION), params=values)
    yield read("get_by_channel", identity, f"{channel} {last} 1")
    yield case("get_or_create", lambda s, way: (s.tenant, s.agent, *identity(s, way)[1:]))
    yield read("list_by_agent", lambda s, _: (s.tenant, s.agent), f"tenant_id = $1 AND agent_id = $2 {last} {LIMIT}")
    yield read(
        "list_by_customer",
        lambda s, _: (s.tenant, s.customer),
        f"tenant_id = $1 AND customer_profile_id = $2 {last} {LIMIT}",
    )
    yield read(
        "find_sessions_by_step_hash",
        visited,
        "tenant_id = $1 AND active_scenario_id = $2 AND active_scenario_version = $3 AND step_content_hash = $4 "
        f"{last} {LIMIT}",
    )
    yield case("acquire_lock", lambda slot, _: (slot.session, slot.agent))
    yield case("release_lock", lambda slot, _: (slot.session, slot.agent))
    yield case("delete", new, "DELETE FROM convostore.session WHERE session_id = $1", before=saved)
    yield case("sweep", lambda *_: ())
    # On PostgreSQL alone there is nothing to move.
    yield case("promote_to_hot", lambda slot, _: (slot.session,))
    yield case("demote_to_persistent", lambda slot, _: (slot.session,))


CASES = [*_sessions()]

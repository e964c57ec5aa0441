"""How often each method goes to Valkey and to PostgreSQL, counted on the wire."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any, TypeAlias
from uuid import uuid4

import pytest

from convostore.contracts import SessionStore
from convostore.errors import ConflictError
from convostore.models import Session, SessionStatus
from convostore.redis import RedisSessionStore
from convostore.testing.factories import full_session, make_visit
from tests.redis.administration import flush
from tests.sessions.conftest import Counted, store_on

Call: TypeAlias = Callable[[], Awaitable[object]]

OF_EACH = {
    "get": {"redis": (1, 0), "postgres": (0, 1), "tiered": (1, 0)},
    "save": {"redis": (1, 0), "postgres": (0, 1), "tiered": (2, 1)},
    "save refused": {"redis": (2, 0), "postgres": (0, 2), "tiered": (2, 2)},
    "save elsewhere": {"redis": (2, 0), "postgres": (0, 1), "tiered": (2, 1)},
    "get_by_channel": {"redis": (2, 0), "postgres": (0, 1), "tiered": (0, 1)},
    "list_by_agent": {"redis": (2, 0), "postgres": (0, 1), "tiered": (0, 1)},
    "list_by_customer": {"redis": (2, 0), "postgres": (0, 1), "tiered": (0, 1)},
    "find_sessions_by_step_hash": {"redis": (2, 0), "postgres": (0, 1), "tiered": (0, 1)},
    "acquire_lock": {"redis": (1, 0), "postgres": (0, 1), "tiered": (0, 1)},
    "release_lock": {"redis": (1, 0), "postgres": (0, 1), "tiered": (0, 1)},
    "sweep": {"redis": (1, 0), "postgres": (0, 1), "tiered": (0, 1)},
    "demote_to_persistent": {"redis": (2, 0), "postgres": (0, 0), "tiered": (1, 0)},
    "get demoted": {"redis": (1, 0), "postgres": (0, 1), "tiered": (3, 1)},
    "promote_to_hot": {"redis": (2, 0), "postgres": (0, 0), "tiered": (4, 1)},
    "delete": {"redis": (2, 0), "postgres": (0, 1), "tiered": (2, 1)},
}
"""Round trips to Valkey and PostgreSQL of each call, one after the other, by kind of store.

Redis: a channel pointer is in another slot, so replacing or removing one takes a second trip. Tiered: a write places a
guard, commits and releases it; a miss reads, places a guard, loads and releases it; a promotion reads again. After a
refused save PostgreSQL is asked for the reason.
"""


def calls(store: SessionStore, session: Session) -> dict[str, Call]:
    """Return each call on a session that is stored and stands in every index."""
    assert session.customer_profile_id is not None
    assert session.active_scenario_id is not None
    (tenant, session_id, owner), last = (session.tenant_id, session.session_id, uuid4()), session.step_history[-1]
    customer, scenario = session.customer_profile_id, session.active_scenario_id

    async def refused() -> None:
        with pytest.raises(ConflictError):
            await store.save(session.model_copy(update={"revision": 99}))

    async def elsewhere() -> None:
        session.user_channel_id = "elsewhere"
        await store.save(session)

    return {
        "get": lambda: store.get(session_id),
        "save": lambda: store.save(session),
        "save refused": refused,
        "save elsewhere": elsewhere,
        "get_by_channel": lambda: store.get_by_channel(tenant, session.channel, session.user_channel_id),
        "list_by_agent": lambda: store.list_by_agent(tenant, session.agent_id),
        "list_by_customer": lambda: store.list_by_customer(tenant, customer),
        "find_sessions_by_step_hash": lambda: store.find_sessions_by_step_hash(
            tenant, scenario, 3, last.step_content_hash or ""
        ),
        "acquire_lock": lambda: store.acquire_lock(session_id, owner),
        "release_lock": lambda: store.release_lock(session_id, owner),
        "sweep": store.sweep,
        "demote_to_persistent": lambda: store.demote_to_persistent(session_id),
        "get demoted": lambda: store.get(session_id),
        "promote_to_hot": lambda: store.promote_to_hot(session_id),
        "delete": lambda: store.delete(session_id),
    }


def standing_everywhere() -> Session:
    session = full_session(uuid4())
    session.status, session.step_history = SessionStatus.ACTIVE, [make_visit(step_content_hash="here")]
    return session


async def counts(counted: Counted, store: SessionStore) -> dict[str, tuple[int, int]]:
    """Make every call on a new session and return the round trips of each."""
    session = standing_everywhere()
    await store.save(session)
    taken = {}
    for name, call in calls(store, session).items():
        if name == "promote_to_hot":
            await settled(store)
            await store.demote_to_persistent(session.session_id)
        taken[name] = await counted.during(call)
    return taken


async def settled(store: SessionStore) -> None:
    """Wait for what goes on behind calls."""
    if isinstance(store, RedisSessionStore):
        await store.aclose()


async def test_every_method_takes_the_round_trips_it_must(counted: Counted, kind: str) -> None:
    await flush(counted.client)
    lease: dict[str, Any] = {"hot_lease": timedelta(hours=1)} if kind == "tiered" else {}
    store = store_on(kind, counted.client, counted.pool, max_age=timedelta(days=3_650), **lease)
    await counts(counted, store)  # Connects, prepares statements, loads scripts, learns the tenant's generation.
    assert await counts(counted, store) == {name: of_each[kind] for name, of_each in OF_EACH.items()}


async def test_a_tenant_that_is_new_to_a_process_or_was_not_asked_for_during_a_lease_costs_a_trip(
    counted: Counted,
) -> None:
    store = store_on("tiered", counted.client, counted.pool, hot_lease=timedelta(hours=1))
    await counts(counted, store)
    session = standing_everywhere()
    assert await counted.during(lambda: store.save(session)) == (2, 2)
    assert await counted.during(lambda: store.get(session.session_id)) == (1, 0)
    at_once = store_on("tiered", counted.client, counted.pool, hot_lease=timedelta())
    await at_once.get(session.session_id)  # It connects.
    for _ in range(2):
        assert await counted.during(lambda: at_once.get(session.session_id)) == (1, 1)


def test_every_method_of_the_contract_is_counted() -> None:
    methods = {name for name, method in vars(SessionStore).items() if inspect.iscoroutinefunction(method)}
    assert methods == {name.partition(" ")[0] for name in OF_EACH}

"""A store bound to one tenant, with the session id of another: no effect, and no difference, outside the tenant."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote
from uuid import UUID, uuid4

import pytest
from redis.asyncio import Redis

from convostore.contracts import SessionStore
from convostore.embedded import Embedded
from convostore.errors import StoreError
from convostore.models import Session
from convostore.postgres import PostgresSessionStore, create_pool
from convostore.redis import create_client
from convostore.redis.connection import Connection
from convostore.testing.factories import full_session, make_session
from convostore.tiered import TieredSessionStore
from convostore.tiered.copies import ANY_REVISION
from convostore.tiered.values import Copy, Guard
from tests.processes import private_directory
from tests.redis.administration import all_keys, flush
from tests.redis.monitoring import Monitor, monitoring
from tests.round_trips.counting import Traffic, counting

DATABASE = 11

CALLS: dict[str, Callable[[SessionStore, UUID, UUID], Awaitable[Any]]] = {
    "get": lambda store, tenant, session_id: store.get(session_id),
    "save": lambda store, tenant, session_id: store.save(make_session(tenant, session_id=session_id)),
    "save with a revision": lambda store, tenant, session_id: store.save(
        make_session(tenant, session_id=session_id, revision=1)
    ),
    "overwrite": lambda store, tenant, session_id: store.save(
        make_session(tenant, session_id=session_id), overwrite=True
    ),
    "delete": lambda store, tenant, session_id: store.delete(session_id),
    "promote": lambda store, tenant, session_id: store.promote_to_hot(session_id),
    "demote": lambda store, tenant, session_id: store.demote_to_persistent(session_id),
    "acquire_lock": lambda store, tenant, session_id: store.acquire_lock(session_id, uuid4()),
    "release_lock": lambda store, tenant, session_id: store.release_lock(session_id, uuid4()),
}
"""Every call that names a session by its id."""

CREATES = {"save", "overwrite"}
"""What succeeds with an id that nobody uses."""


@dataclass
class Watched:
    """A tiered store, and what it sends to either server."""

    store: TieredSessionStore
    client: Redis
    monitor: Monitor
    postgres: Traffic

    async def sent(self, call: Awaitable[Any]) -> tuple[Any, list[str], tuple[int, int]]:
        """Make a call; return its answer, the commands that Valkey ran, and PostgreSQL's round trips and statements."""
        await self.monitor.seen()
        self.postgres.read()
        try:
            answer = await call
        except StoreError as error:
            answer = type(error), error.code, re.sub("[0-9a-f-]{36}", "an id", str(error))
        await self.store._promotions.background.drain()
        return answer, [command.name for command in await self.monitor.seen()], self.postgres.read()

    async def stored(self) -> dict[bytes, bytes | None]:
        """Return every key with its value, as the server would write it to disk."""
        return {key: await self.client.dump(key) for key in await all_keys(self.client)}


@pytest.fixture
async def watched(engines: Embedded) -> AsyncIterator[Watched]:
    found = re.search(r"host=([^&]+)", engines.postgres_dsn)
    assert found is not None
    socket, valkey = Path(unquote(found[1]), ".s.PGSQL.5432"), engines.redis_url.removeprefix("unix://")
    with private_directory() as folder:
        dsn = engines.postgres_dsn.replace(found[1], quote(str(folder), safe=""))
        async with (
            counting(folder / socket.name, socket, postgres=True) as traffic,
            create_client(f"{engines.redis_url}?db={DATABASE}") as client,
            create_client(f"{engines.redis_url}?db={DATABASE}") as observer,
            await create_pool(dsn, max_size=1) as pool,
            monitoring(observer, valkey, DATABASE) as monitor,
        ):
            await flush(observer)
            store = TieredSessionStore(client, PostgresSessionStore(pool, timeout=60.0), timeout=60.0)
            yield Watched(store, observer, monitor, traffic)
            await store.aclose()


async def theirs(watched: Watched, state: str) -> Session:
    """Return a session of another tenant that is hot, demoted, being written, or not there."""
    session = full_session(uuid4())
    if state == "unknown":
        return session
    await watched.store.save(session)
    if state != "hot":
        await watched.store.demote_to_persistent(session.session_id)
    if state == "guarded":
        guard = Guard(session.session_id, session.tenant_id, "theirs")
        await watched.store._hot.guard_write(guard, expected=ANY_REVISION)
    return session


@pytest.mark.parametrize("name", CALLS)
async def test_a_call_has_no_effect_on_the_hot_tier_of_another_tenant_and_shows_nothing_of_it(
    watched: Watched, name: str
) -> None:
    mine = uuid4()
    bound = watched.store.for_tenant(mine)
    for _ in range(2):  # Statements are prepared and scripts are loaded.
        for each in CALLS.values():
            with suppress(StoreError):
                await each(bound, mine, (await theirs(watched, "hot")).session_id)
    found = {}
    for state in ("hot", "demoted", "guarded", "unknown"):
        session = await theirs(watched, state)
        before = await watched.stored()
        found[state] = await watched.sent(CALLS[name](bound, mine, session.session_id))
        if state != "unknown" or name not in CREATES:
            assert await watched.stored() == before
        if state != "unknown":
            assert await watched.store.get(session.session_id) == session
    if name in CREATES:
        del found["unknown"]
    answers = list(found.values())
    assert answers == answers[:1] * len(answers)


async def test_what_another_tenant_reads_is_as_long_for_a_hot_session_as_for_none(watched: Watched) -> None:
    session = await theirs(watched, "hot")
    values: list[bytes | None] = []
    parse = watched.store._hot._published

    def noting(connection: Connection, value: bytes | None) -> Copy | None:
        values.append(value)
        return parse(connection, value)

    watched.store._hot._published = noting  # type: ignore[method-assign]
    for session_id in (session.session_id, uuid4()):
        assert await watched.store.get(session_id, tenant_id=uuid4()) is None
    assert values == [None, None]
    assert await watched.store.get(session.session_id, tenant_id=session.tenant_id) == session

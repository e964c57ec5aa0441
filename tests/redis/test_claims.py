"""Claims of channel identities: a call that dies holds others back for a while, and one that is late saves nothing."""

from __future__ import annotations

import asyncio
import time
from datetime import timedelta
from typing import Any

import pytest
from redis.asyncio import Redis

from convostore.models import SessionStatus
from convostore.models.fields import new_id
from convostore.redis import RedisSessionStore, identities, keys
from convostore.redis.commands import Commands
from convostore.testing.factories import make_session
from convostore.testing.session.identities import Identity, close, new_identity
from tests.redis.checking import check


def claim_key(identity: Identity) -> str:
    """Return the key of the claim of an identity and agent."""
    tenant, agent, channel, user = identity
    return f"{keys.channel_index(tenant, channel, user)}claim:{agent}"


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Claims that last for a fifth of a second, half of it for the save."""
    monkeypatch.setattr(identities, "SAVE_WITHIN", timedelta(seconds=0.1))
    monkeypatch.setattr(identities, "CLAIM_TTL", timedelta(seconds=0.2))


async def test_the_claim_of_a_call_that_died_is_taken_over(
    client: Redis, store: RedisSessionStore, short: None
) -> None:
    identity, started = new_identity(), time.monotonic()
    await client.set(claim_key(identity), str(new_id()), px=300)
    found = await asyncio.gather(*(store.get_or_create(*identity) for _ in range(10)))
    assert time.monotonic() - started >= 0.29
    assert sum(created for _, created in found) == 1
    assert await store.list_by_agent(*identity[:2]) == [found[0][0]]
    await check(client)


async def test_a_call_whose_claim_has_expired_saves_nothing_and_returns_what_another_created(
    client: Redis, store: RedisSessionStore, short: None
) -> None:
    identity, winner = new_identity(), RedisSessionStore(client)
    claimed, go_on = asyncio.Event(), asyncio.Event()

    class Stalled(Commands):
        """Commands that stall before the first save."""

        async def run(self, name: str, *arguments: Any, **options: Any) -> Any:
            if not claimed.is_set():
                claimed.set()
                await go_on.wait()
            return await super().run(name, *arguments, **options)

    stalled = RedisSessionStore(client)
    stalled._commands = Stalled(client)
    late = asyncio.ensure_future(stalled.get_or_create(*identity))
    await claimed.wait()
    session, created = await winner.get_or_create(*identity)
    assert created
    go_on.set()
    assert await late == (session, False)
    assert await store.list_by_agent(*identity[:2]) == [session]
    await check(client)


async def test_a_late_call_that_nobody_overtook_claims_again(client: Redis, short: None) -> None:
    identity, stalls = new_identity(), [0.15, 0.0]

    class Stalled(Commands):
        """Commands that stall before the first save for longer than it may take."""

        async def run(self, name: str, *arguments: Any, **options: Any) -> Any:
            await asyncio.sleep(stalls.pop(0))
            return await super().run(name, *arguments, **options)

    stalled = RedisSessionStore(client)
    stalled._commands = Stalled(client)
    session, created = await stalled.get_or_create(*identity)
    assert created
    assert stalls == []
    assert await stalled.get_or_create(*identity) == (session, False)
    await check(client)


async def test_closing_and_deleting_free_the_identity_at_once(client: Redis, store: RedisSessionStore) -> None:
    identity = new_identity()
    for end in (close, lambda store, session: store.delete(session.session_id)):
        session, created = await store.get_or_create(*identity)
        assert created
        assert await client.get(claim_key(identity)) == str(session.session_id).encode()
        await end(store, session)
        assert await client.get(claim_key(identity)) is None


async def test_pointers_that_lead_nowhere_do_not_hold_back_a_session(client: Redis, store: RedisSessionStore) -> None:
    tenant, agent, channel, user = new_identity()
    pointers = f"{keys.channel_index(tenant, channel, user)}open"
    for score in range(40):
        await client.zadd(pointers, {f"{new_id()}:{agent}": -score})
    await client.zadd(pointers, {"garbage": -50, f"{new_id()}:{new_id()}": -60})
    session, created = await store.get_or_create(tenant, agent, channel, user)
    assert created
    assert await store.get_or_create(tenant, agent, channel, user) == (session, False)
    assert await store.get_by_channel(tenant, channel, user) == session


async def test_an_open_session_behind_many_pointers_is_found(client: Redis, store: RedisSessionStore) -> None:
    tenant, agent, channel, user = new_identity()
    session = make_session(tenant, agent_id=agent, channel=channel, user_channel_id=user, status=SessionStatus.IDLE)
    await store.save(session)
    now = -(2**52)
    stale = {f"{new_id()}:{agent}": now + number for number in range(40)}
    others = {f"{new_id()}:{new_id()}": now + number for number in range(300)}
    await client.zadd(f"{keys.channel_index(tenant, channel, user)}open", stale | others)
    assert await store.get_or_create(tenant, agent, channel, user) == (session, False)

"""After any sequence of operations, indexes, tiers and channel pointers are exactly those of the stored sessions."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from contextvars import Context
from random import Random
from typing import Any
from uuid import UUID

import pytest
from redis.asyncio import Redis

from convostore.errors import ConflictError
from convostore.models import Channel, Session, SessionStatus
from convostore.redis import RedisSessionStore
from convostore.testing.factories import make_session, make_visit
from tests.redis.checking import check, contents

TENANTS, AGENTS, CUSTOMERS, SCENARIOS, IDS = ([UUID(int=base + n) for n in range(3)] for base in range(10, 60, 10))


def changed(session: Session, random: Random) -> Session:
    """Return a session with one of the things changed that it is found by."""
    match random.randrange(6):
        case 0:
            session.agent_id = random.choice(AGENTS)
        case 1:
            session.customer_profile_id = random.choice([None, *CUSTOMERS])
        case 2:
            session.channel, session.user_channel_id = random.choice(list(Channel)[:2]), random.choice("xy")
        case 3:
            session.status = random.choice(list(SessionStatus))
        case 4:
            session.active_scenario_id = random.choice([None, *SCENARIOS])
            session.active_scenario_version = random.choice([None, 1, 2])
        case 5:
            session.step_history.append(make_visit(step_content_hash=random.choice([None, "one", "two"])))
    return session


class Player:
    """Does random things to a few sessions, as one of several workers would."""

    def __init__(self, store: RedisSessionStore, seed: int) -> None:
        self._store = store
        self._random = Random(seed)

    async def play(self) -> str:
        """Do one thing; return what, and how it ended."""
        deeds: list[Callable[[UUID], Awaitable[Any]]] = [
            *([self._save] * 6),
            self._save_as_new,
            self._save_as_somebody_else,
            self._store.delete,
            self._store.demote_to_persistent,
            self._store.promote_to_hot,
        ]
        deed = self._random.choice(deeds)
        try:
            done = await deed(self._random.choice(IDS))
        except ConflictError:
            return f"{deed.__name__} refused"
        return f"{deed.__name__} {bool(done)}"

    async def _save(self, session_id: UUID) -> object:
        session = await self._store.get(session_id)
        if session is None:
            return await self._save_as_new(session_id)
        if self._random.random() < 0.1:
            session.revision -= 1
        return await self._store.save(changed(session, self._random), overwrite=self._random.random() < 0.1)

    async def _save_as_new(self, session_id: UUID) -> object:
        tenant = TENANTS[IDS.index(session_id)]
        session = make_session(tenant, session_id=session_id, agent_id=AGENTS[0], user_channel_id="x")
        return await self._store.save(changed(session, self._random))

    async def _save_as_somebody_else(self, session_id: UUID) -> object:
        session = make_session(TENANTS[IDS.index(session_id) - 1], session_id=session_id, user_channel_id="x")
        if await self._store.get(session_id) is None:
            return None
        return await self._store.save(changed(session, self._random), overwrite=True)


@pytest.mark.parametrize("seed", range(3))
async def test_after_every_operation_every_key_is_what_the_sessions_ask_for(
    client: Redis, store: RedisSessionStore, seed: int
) -> None:
    player, seen, most = Player(store, seed), set(), 0
    for _ in range(200):
        seen.add(await player.play())
        most = max(most, await check(client))
    assert most == len(IDS)
    assert seen >= {
        "_save True",
        "_save refused",
        "_save_as_new True",
        "_save_as_new refused",
        "_save_as_somebody_else refused",
        "delete True",
        "delete False",
        "demote_to_persistent True",
        "demote_to_persistent False",
        "promote_to_hot True",
        "promote_to_hot False",
    }


@pytest.mark.parametrize("seed", range(5))
async def test_after_operations_at_once_no_session_is_missing_where_it_is_looked_for(
    client: Redis, store: RedisSessionStore, seed: int
) -> None:
    players = [Player(store, 100 * seed + number) for number in range(8)]
    for _ in range(25):
        await asyncio.gather(*(player.play() for player in players))
        await check(client, settled=False)


async def test_nothing_is_left_of_sessions_that_are_deleted(client: Redis, store: RedisSessionStore) -> None:
    player = Player(store, 7)
    for _ in range(50):
        await player.play()
    for session_id in IDS:
        await store.delete(session_id)
    assert await contents(client) == ({}, {})


async def by_another_worker(call: Coroutine[Any, Any, UUID]) -> None:
    """Make a call as if it did not happen within another one."""
    await asyncio.create_task(call, context=Context())


async def test_a_save_that_is_refused_after_another_one_leaves_the_others_pointer(
    client: Redis, store: RedisSessionStore
) -> None:
    session = make_session(TENANTS[0], user_channel_id="before")
    await store.save(session)
    winner, loser = (session.model_copy(update={"user_channel_id": "after"}) for _ in range(2))
    loser.revision = 0

    class Late(RedisSessionStore):
        """A store in which another save comes between the refusal of a save and the removal of its pointer."""

        async def _mend_pointer(self, *arguments: Any) -> None:
            await by_another_worker(store.save(winner))
            await super()._mend_pointer(*arguments)

    with pytest.raises(ConflictError):
        await Late(client).save(loser)
    assert await store.get_by_channel(TENANTS[0], session.channel, "after") == winner
    assert await store.get_by_channel(TENANTS[0], session.channel, "before") is None
    await check(client)


async def test_a_session_that_comes_back_to_a_channel_meanwhile_keeps_its_pointer(
    client: Redis, store: RedisSessionStore
) -> None:
    session = make_session(TENANTS[0], user_channel_id="here")
    await store.save(session)
    away = session.model_copy(update={"user_channel_id": "there"})

    class Late(RedisSessionStore):
        """A store in which another save comes between a save and the removal of the pointer it replaced."""

        async def _mend_pointer(self, *arguments: Any) -> None:
            back = await store.get(session.session_id)
            assert back is not None
            back.user_channel_id = "here"
            await by_another_worker(store.save(back))
            await super()._mend_pointer(*arguments)

    await Late(client).save(away)
    found = await store.get_by_channel(TENANTS[0], session.channel, "here")
    assert found is not None
    assert found.revision == 3
    await check(client)

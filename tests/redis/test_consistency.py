"""After any sequence of operations, indexes, tiers and channel pointers are exactly those of the stored sessions."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine
from contextvars import Context
from datetime import timedelta
from random import Random
from typing import Any
from uuid import UUID, uuid4

import pytest
from redis.asyncio import Redis

from convostore.contracts.session import Swept
from convostore.errors import ConflictError, NotFoundError
from convostore.models import Channel, Session, SessionStatus
from convostore.models.fields import now
from convostore.redis import RedisSessionStore
from convostore.redis.commands import Commands
from convostore.testing.factories import full_session, make_session, make_visit
from tests.redis.administration import all_keys
from tests.redis.checking import check, contents

TENANTS, AGENTS, CUSTOMERS, SCENARIOS, IDS = ([UUID(int=base + n) for n in range(3)] for base in range(10, 60, 10))


def changed(session: Session, random: Random) -> Session:
    """Return a session with one indexed field changed."""
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


class Worker:
    """Performs random operations on a few sessions, as one of several workers."""

    def __init__(self, store: RedisSessionStore, seed: int) -> None:
        self._store = store
        self._random = Random(seed)

    async def step(self) -> str:
        """Perform one operation; return its name and result."""
        operations: list[Callable[[UUID], Awaitable[Any]]] = [
            *([self._save] * 6),
            self._save_as_new,
            self._save_as_another_tenant,
            self._store.delete,
            *([self._store.demote_to_persistent, self._store.promote_to_hot] * 2),
            self._lock_and_release,
        ]
        operation = self._random.choice(operations)
        try:
            done = await operation(self._random.choice(IDS))
        except ConflictError:
            return f"{operation.__name__} refused"
        return f"{operation.__name__} {bool(done)}"

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

    async def _save_as_another_tenant(self, session_id: UUID) -> object:
        session = make_session(TENANTS[IDS.index(session_id) - 1], session_id=session_id, user_channel_id="x")
        if await self._store.get(session_id) is None:
            return None
        return await self._store.save(changed(session, self._random), overwrite=True)

    async def _lock_and_release(self, session_id: UUID) -> object:
        owner = uuid4()
        try:
            token = await self._store.acquire_lock(session_id, owner, ttl=60)
        except NotFoundError:
            return None
        return token and self._random.random() < 0.5 and await self._store.release_lock(session_id, owner)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
async def test_after_every_operation_the_indexes_are_those_of_the_stored_sessions(
    client: Redis, store: RedisSessionStore, seed: int
) -> None:
    worker, seen, most = Worker(store, seed), set(), 0
    for _ in range(300):
        seen.add(await worker.step())
        await store.aclose()  # Waits for promotions after reads.
        most = max(most, await check(client))
    assert most == len(IDS)
    assert seen >= {
        "_save True",
        "_save refused",
        "_save_as_new True",
        "_save_as_new refused",
        "_save_as_another_tenant refused",
        "delete True",
        "delete False",
        "demote_to_persistent True",
        "demote_to_persistent False",
        "promote_to_hot True",
        "promote_to_hot False",
        "_lock_and_release True",
        "_lock_and_release False",
    }


@pytest.mark.parametrize("seed", range(5))
async def test_after_concurrent_operations_no_session_is_missing_in_an_index(
    client: Redis, store: RedisSessionStore, seed: int
) -> None:
    workers = [Worker(store, 100 * seed + number) for number in range(8)]
    for _ in range(25):
        await asyncio.gather(*(worker.step() for worker in workers))
        await store.aclose()  # Waits for promotions after reads.
        await check(client, settled=False)


async def after(turns: int, call: Coroutine[Any, Any, object]) -> object:
    """Make a call after some iterations of the event loop."""
    for _ in range(turns):
        await asyncio.sleep(0)
    return await call


async def race(client: Redis, rounds: int) -> Counter[str]:
    """Run saves concurrently with demotion, promotion and deletion; check after each round; count the outcomes."""
    random, ended = Random(rounds), Counter[str]()
    ahead = RedisSessionStore(client, hot_ttl=timedelta(seconds=1), clock=lambda: now() + timedelta(hours=1))
    store = RedisSessionStore(client)

    async def race_for(session_id: UUID) -> tuple[UUID, Session | None]:
        session = await store.get(session_id) or make_session(TENANTS[0], session_id=session_id, agent_id=AGENTS[0])
        before = session.model_copy(deep=True)
        if random.random() < 0.5:
            await store.demote_to_persistent(session_id)
        rivals = {
            "saved": store.save(changed(session, random)),
            "demoted": store.demote_to_persistent(session_id),
            "promoted": store.promote_to_hot(session_id),
            "read": store.get(session_id),
            "swept": ahead.sweep(),
        }
        if random.random() < 0.3:
            rivals["deleted"] = store.delete(session_id)
        names = random.sample(sorted(rivals), len(rivals))
        calls = (after(random.randrange(20), rivals[name]) for name in names)
        answers = await asyncio.gather(*calls, return_exceptions=True)
        done = dict(zip(names, answers, strict=True))
        read, refused = done.pop("read"), isinstance(done["saved"], ConflictError)
        assert {type(answer) for answer in done.values()} <= {UUID, bool, Swept, ConflictError}, done
        assert read in (before, session) or (read is None and (before.revision == 0 or "deleted" in done))
        ended.update(["refused" if refused else "saved"])
        ended.update(name for name in ("demoted", "promoted", "deleted") if done.get(name))
        assert done.get("deleted") or not refused
        return session_id, None if done.get("deleted") else session

    for _ in range(rounds):
        outcome = dict(await asyncio.gather(*map(race_for, IDS)))
        await store.aclose()
        for session_id, session in outcome.items():
            assert await store.get(session_id) == session
        await store.aclose()
        await check(client, settled=False)
    return ended


@pytest.mark.slow
async def test_saves_concurrent_with_demotion_promotion_and_deletion_leave_consistent_indexes(client: Redis) -> None:
    ended = await race(client, rounds=80)
    assert min(ended[name] for name in ("saved", "refused", "demoted", "promoted", "deleted")) > 0


@pytest.mark.parametrize("demoted", [False, True], ids=["hot", "demoted"])
@pytest.mark.parametrize(
    "change",
    [
        {"agent_id": AGENTS[1]},
        {"customer_profile_id": CUSTOMERS[1]},
        {"customer_profile_id": None},
        {"channel": Channel.SMS},
        {"user_channel_id": "somebody else"},
        {"status": SessionStatus.IDLE},
        {"status": SessionStatus.CLOSED},
        {"step_history": [make_visit(step_content_hash="next")]},
        {"step_history": []},
        {"active_scenario_id": SCENARIOS[1]},
        {"active_scenario_version": 2},
    ],
    ids=lambda change: "+".join(change),
)
async def test_a_change_leaves_no_stale_index_entry(
    client: Redis, store: RedisSessionStore, change: dict[str, Any], demoted: bool
) -> None:
    session = full_session(TENANTS[0]).model_copy(
        update={
            "agent_id": AGENTS[0],
            "customer_profile_id": CUSTOMERS[0],
            "status": SessionStatus.ACTIVE,
            "channel": Channel.WEBCHAT,
            "active_scenario_id": SCENARIOS[0],
            "active_scenario_version": 1,
            "step_history": [make_visit(step_content_hash="here")],
        }
    )
    await store.save(session)
    before = await all_keys(client)
    if demoted:
        await store.demote_to_persistent(session.session_id)
    await store.save(session.model_copy(update=change))
    assert await check(client) == 1
    assert set(await all_keys(client)) != set(before)


async def test_deleted_sessions_leave_no_keys(client: Redis, store: RedisSessionStore) -> None:
    worker = Worker(store, 7)
    for _ in range(50):
        await worker.step()
    for session_id in IDS:
        await store.delete(session_id)
    assert await contents(client) == ({}, {})


async def in_another_call(save: Coroutine[Any, Any, UUID]) -> None:
    """Make a call outside the context of the running one."""
    await asyncio.create_task(save, context=Context())


async def test_a_refused_save_leaves_a_pointer_that_another_save_has_written(
    client: Redis, store: RedisSessionStore
) -> None:
    session = make_session(TENANTS[0], user_channel_id="before")
    await store.save(session)
    winner, loser = (session.model_copy(update={"user_channel_id": "after"}) for _ in range(2))
    loser.revision = 0

    class Interrupted(Commands):
        """Commands with another save between the refusal and the removal of its pointer."""

        async def repair_pointer(self, *arguments: Any) -> None:
            await in_another_call(store.save(winner))
            await super().repair_pointer(*arguments)

    interrupted = RedisSessionStore(client)
    interrupted._commands = Interrupted(client)
    with pytest.raises(ConflictError):
        await interrupted.save(loser)
    assert await store.get_by_channel(TENANTS[0], session.channel, "after") == winner
    assert await store.get_by_channel(TENANTS[0], session.channel, "before") is None
    await check(client)


async def test_a_session_that_returns_to_a_channel_keeps_its_pointer(client: Redis, store: RedisSessionStore) -> None:
    session = make_session(TENANTS[0], user_channel_id="here")
    await store.save(session)
    away = session.model_copy(update={"user_channel_id": "there"})

    class Interrupted(Commands):
        """Commands with another save between a save and the removal of the pointer that it replaced."""

        async def repair_pointer(self, *arguments: Any) -> None:
            back = await store.get(session.session_id)
            assert back is not None
            back.user_channel_id = "here"
            await in_another_call(store.save(back))
            await super().repair_pointer(*arguments)

    interrupted = RedisSessionStore(client)
    interrupted._commands = Interrupted(client)
    await interrupted.save(away)
    found = await store.get_by_channel(TENANTS[0], session.channel, "here")
    assert found is not None
    assert found.revision == 3
    await check(client)

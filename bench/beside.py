"""A process of a release, old or new, that makes calls of all five stores until its input ends, and prints them.

Arguments: the URLs of both servers, the tenant, the dimensions of its embeddings, and how many conversations it leads
at a time. It prints a line when its rows are stored, and begins when a line comes. Of each call it prints when it began
and ended by the monotonic clock, its name, and the code of its error.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator, Awaitable
from typing import Any
from uuid import UUID

from convostore import open_stores
from convostore.errors import StoreError
from convostore.testing import factories as make

TOPICS = ("tea", "a parcel", "the invoice", "a refund", "shoes", "a lamp", "an outage", "the router", "seats", "a visa")
PAUSE = 0.01
"""Seconds between two calls of a conversation."""

Calls = list[tuple[float, float, str, str]]


class Conversation:
    """A session with its customer."""

    def __init__(self, stores: Any, tenant: UUID, dimensions: int, number: int) -> None:
        self.stores, self.tenant, self.rounds = stores, tenant, number
        self.embedding = [1.0, *(0.5 for _ in range(dimensions - 1))]
        identity = make.make_identity(channel_user_id=f"{tenant} {number}")
        self.profile = make.make_profile(tenant, channel_identities=[identity])
        self.session = make.make_session(tenant, agent_id=tenant, customer_profile_id=self.profile.id)
        self.of: dict[str, Any] = {"customer_profile_id": self.profile.id, "session_id": self.session.session_id}

    def episode(self, topic: str) -> Any:
        content = f"The customer asks about {topic}."
        return make.make_episode(self.tenant, self.tenant, content=content, embedding=self.embedding, **self.of)

    def turn(self) -> Any:
        return make.make_turn(self.tenant, turn_number=time.monotonic_ns() // 1_000, **self.of)

    async def begin(self) -> None:
        """Store one of everything, and an episode on each topic."""
        await self.stores.profiles.save_profile(self.profile)
        await self.stores.profiles.update_field(self.tenant, self.profile.id, make.make_field())
        await self.stores.sessions.save(self.session)
        await self.stores.memory.add_episodes([self.episode(topic) for topic in TOPICS])
        await self.stores.audit.save_turn(self.turn())

    async def lead(self, ended: asyncio.Event) -> Calls:
        """Make calls, one after the other, and return them."""
        made: Calls = []
        while not ended.is_set():
            async for name, call in self.round():
                code, began = "", time.monotonic()
                try:
                    await call
                except StoreError as error:
                    code = error.code or type(error).__name__
                made.append((began, time.monotonic(), name, code))
                await asyncio.sleep(PAUSE)
        return made

    async def round(self) -> AsyncIterator[tuple[str, Awaitable[Any]]]:
        """Yield a call of each kind."""
        self.rounds += 1
        tenant, session, profile, topic = self.tenant, self.session, self.profile.id, TOPICS[self.rounds % len(TOPICS)]
        memory, config, profiles = self.stores.memory, self.stores.config, self.stores.profiles
        audit, sessions = self.stores.audit, self.stores.sessions
        yield "sessions.get", sessions.get(session.session_id, tenant_id=tenant)
        yield "profiles.get_profile", profiles.get_profile(tenant, profile)
        yield "config.get_agent_config", config.get_agent_config(tenant, tenant)
        yield "memory.text_search_episodes", memory.text_search_episodes(topic, tenant, tenant)
        yield "memory.vector_search_episodes", memory.vector_search_episodes(self.embedding, tenant, tenant)
        yield "audit.list_turns_by_session", audit.list_turns_by_session(tenant, session.session_id, limit=20)
        yield "profiles.update_field", profiles.update_field(tenant, profile, make.make_field())
        yield "config.save_rule", config.save_rule(make.make_rule(tenant, session.session_id))
        yield "memory.add_episode", memory.add_episode(self.episode(topic))
        yield "audit.save_turn", audit.save_turn(self.turn())
        yield "sessions.save", sessions.save(session, overwrite=True)
        if hasattr(self.stores, "unit_of_work"):  # the first release has none
            yield "unit_of_work", self.unit()

    async def unit(self) -> None:
        """Write to four tables in one transaction."""
        async with self.stores.unit_of_work(self.tenant) as work:
            work.update_field(self.profile.id, make.make_field())
            work.add_episodes([self.episode(TOPICS[0])])
            work.save_turn(self.turn())
            work.save_event(make.make_event(self.tenant, session_id=self.session.session_id))


async def run(postgres_url: str, redis_url: str, tenant: UUID, dimensions: int, conversations: int) -> Calls:
    """Work until the input ends."""
    async with open_stores(postgres_url=postgres_url, redis_url=redis_url, sweep_every=0) as stores:
        await stores.config.save_agent(make.make_agent(tenant, id=tenant))
        led = [Conversation(stores, tenant, dimensions, number) for number in range(conversations)]
        for each in led:
            await each.begin()
        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        ended = asyncio.Event()
        asyncio.get_running_loop().add_reader(sys.stdin, ended.set)
        return [call for calls in await asyncio.gather(*(each.lead(ended) for each in led)) for call in calls]


if __name__ == "__main__":
    postgres, redis, tenant_id, *numbers = sys.argv[1:]
    print(json.dumps(asyncio.run(run(postgres, redis, UUID(tenant_id), *map(int, numbers)))))

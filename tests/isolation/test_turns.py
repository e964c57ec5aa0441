"""Turns beside a twin, another tenant with the same ids: its rows stay byte for byte, and nothing of it is read."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

import pytest

from convostore.contracts import TurnStore, UnitOfWork
from convostore.errors import ConflictError, NotFoundError
from convostore.models import Channel, Session
from convostore.postgres import create_pool
from convostore.postgres.database import Database
from convostore.testing.factories import (
    make_agent,
    make_asset,
    make_entity,
    make_episode,
    make_event,
    make_field,
    make_identity,
    make_profile,
    make_relationship,
    make_rule,
    make_session,
    make_turn,
)
from tests.isolation.test_twins import dsn, rows_of
from tests.postgres.composing import turns_on

__all__ = ["dsn"]

VECTOR = [1.0, 0.0]
USER = "ann@example.com"


@dataclass
class Tenant:
    """A tenant whose ids another one has too, but for those of sessions, which no two may have."""

    ids: dict[str, UUID]
    session: Session = field(init=False)
    tenant: UUID = field(default_factory=uuid4)

    def of(self, name: str) -> UUID:
        """Return the id of something, which is the same for both."""
        return self.ids.setdefault(name, uuid4())

    async def save(self, store: TurnStore) -> None:
        """Store what a turn reads."""
        agent, text = self.of("agent"), f"of {self.tenant}"
        identity = make_identity(channel=Channel.EMAIL, channel_user_id=USER)
        await store.config.save_agent(make_agent(self.tenant, id=agent, name=text))
        await store.config.save_rule(
            make_rule(self.tenant, agent, id=self.of("rule"), condition_text=text, embedding=VECTOR)
        )
        await store.profiles.save_profile(
            make_profile(self.tenant, id=self.of("profile"), channel_identities=[identity])
        )
        self.session = make_session(self.tenant, agent_id=agent, channel=Channel.EMAIL, user_channel_id=USER)
        await store.sessions.save(self.session)
        await self.commit(store, "first")

    async def commit(self, store: TurnStore, which: str, *, asset: bool = False) -> None:
        """Commit everything that a unit can hold."""
        async with store.unit_of_work(self.tenant) as work:
            self.fill(work, which)
            if asset:
                work.add_asset(self.of("profile"), make_asset(id=self.of(f"{which} asset")))

    def fill(self, work: UnitOfWork, which: str) -> None:
        """Put everything into a unit, with the ids that the twin uses too."""
        t, agent = self.tenant, self.of("agent")
        one, other = (make_entity(t, agent, id=self.of(f"{which} entity {n}")) for n in range(2))
        work.save_session(self.session)
        work.update_field(self.of("profile"), make_field(id=self.of(f"{which} field"), value=f"of {t}"))
        work.add_entities([one, other])
        work.add_relationships([make_relationship(one, other, id=self.of(f"{which} edge"))])
        work.add_episodes(
            [
                make_episode(
                    t,
                    agent,
                    id=self.of(f"{which} episode"),
                    content=f"of {t}",
                    embedding=VECTOR,
                    customer_profile_id=self.of("profile"),
                )
            ]
        )
        work.save_turn(make_turn(t, turn_id=self.of(f"{which} turn"), session_id=self.of(which)))
        work.save_event(make_event(t, id=self.of(f"{which} event"), session_id=self.of(which)))


@pytest.mark.parametrize("asset", [False, True], ids=["one statement", "transaction"])
async def test_rows_of_a_twin_stay_as_they_are(dsn: str, *, asset: bool) -> None:
    async with await create_pool(dsn) as pool:
        store = turns_on(pool, sessions_by_tenant=await Database(pool).is_distributed())
        one = Tenant({})
        twin = Tenant(one.ids)
        await one.save(store)
        await twin.save(store)
        await twin.commit(store, "second", asset=True)
        before = await rows_of(dsn, twin.tenant)
        assert sum(map(len, before.values())) > 20
        await one.commit(store, "second", asset=asset)
        await store.load_turn(one.tenant, agent_id=one.of("agent"), channel=Channel.SMS, user_channel_id="new")
        stale = one.session.model_copy(update={"revision": 1})
        one.session = stale
        with pytest.raises(ConflictError):
            await one.commit(store, "third")
        assert await rows_of(dsn, twin.tenant) == before
        assert len((await rows_of(dsn, one.tenant))["episode"]) == 2


@pytest.mark.parametrize("query", [None, "of"], ids=["vectors", "hybrid"])
async def test_a_turn_shows_nothing_of_a_twin(dsn: str, query: str | None) -> None:
    async with await create_pool(dsn, max_size=1) as pool:
        store = turns_on(pool, sessions_by_tenant=await Database(pool).is_distributed())
        one = Tenant({})
        twin = Tenant(one.ids)
        for each in (one, twin):
            await each.save(store)
        # In turns on one connection: neither a plan nor a tenant that was bound before may show.
        for _ in range(8):
            for each in (one, twin):
                own = f"of {each.tenant}"
                identity: dict[str, Any] = {
                    "agent_id": each.of("agent"),
                    "channel": Channel.EMAIL,
                    "user_channel_id": USER,
                }
                for which in ({"session_id": each.session.session_id}, identity):
                    turn = await store.load_turn(each.tenant, **which, query=query, query_embedding=VECTOR)
                    assert turn.profile is not None
                    assert (turn.session, turn.config.agent.name) == (each.session, own)
                    assert turn.profile.fields["city"].value == own
                    assert [rule.condition_text for rule, _ in turn.rules] == [own]
                    assert [episode.content for episode, _ in turn.episodes] == [own]
        with pytest.raises(NotFoundError):
            await store.load_turn(one.tenant, session_id=twin.session.session_id)

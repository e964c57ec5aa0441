"""Random units, with repetitions, conflicts and orphans among them, end in PostgreSQL as they do in memory."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any
from uuid import UUID

import pytest

from convostore.contracts import TurnStore, UnitOfWork
from convostore.embedded import Embedded
from convostore.errors import StoreError
from convostore.inmemory import (
    InMemoryAuditStore,
    InMemoryConfigStore,
    InMemoryMemoryStore,
    InMemoryProfileStore,
    InMemorySessionStore,
    InMemoryTurnStore,
)
from convostore.models.base import Model
from convostore.postgres import create_pool
from convostore.testing.factories import (
    make_asset,
    make_entity,
    make_episode,
    make_event,
    make_field,
    make_profile,
    make_relationship,
    make_session,
    make_turn,
)
from tests.postgres.composing import turns_on

BEGINNING = datetime(2026, 11, 1, tzinfo=UTC)


class Moment:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = BEGINNING

    def __call__(self) -> datetime:
        return self.now


class Dice:
    """Makes the same things again for the same seed; ids are few, so that they meet."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.tenant = UUID(int=self.random.getrandbits(128), version=4)

    def id(self, kind: int, most: int) -> UUID:
        """Return one of so many ids of a kind, of this tenant alone."""
        return UUID(int=self.tenant.int ^ (kind << 32) ^ self.random.randrange(most))

    def write(self, work: UnitOfWork, revisions: dict[UUID, int]) -> None:
        """Put something into a unit."""
        dice, tenant, agent = self.random, self.tenant, UUID(int=7)
        at = BEGINNING + timedelta(days=dice.randrange(2))
        match dice.randrange(9):
            case 0 | 1:
                session = make_session(tenant, session_id=self.id(1, 3), agent_id=agent, user_channel_id="ann")
                known = revisions.get(session.session_id, 0)
                session.__dict__["revision"] = known if dice.random() < 0.9 else known + dice.choice([-1, 1])
                work.save_session(session, overwrite=dice.random() < 0.1)
            case 2:
                work.update_field(
                    self.id(2, 3),
                    make_field(
                        dice.choice("ab"), dice.randrange(2), id=self.id(3, 60), collected_at=at, updated_at=BEGINNING
                    ),
                )
            case 3:
                work.add_asset(self.id(2, 3), make_asset(id=self.id(4, 20), uploaded_at=at))
            case 4:
                entities = [
                    make_entity(tenant, agent, id=self.id(5, 12), group_id=agent, valid_from=at, recorded_at=BEGINNING)
                    for _ in range(2)
                ]
                work.add_entities(entities)
            case 5:
                ends = [make_entity(tenant, agent, id=self.id(5, 12)) for _ in range(2)]
                fixed: dict[str, Any] = {"group_id": agent, "valid_from": BEGINNING, "recorded_at": BEGINNING}
                work.add_relationships([make_relationship(*ends, id=self.id(6, 200), **fixed)])
            case 6:
                fixed = {"group_id": agent, "occurred_at": at, "recorded_at": BEGINNING}
                work.add_episodes([make_episode(tenant, agent, id=self.id(7, 60), **fixed)])
            case 7:
                number = dice.randrange(40)
                fixed = {"agent_id": agent, "session_id": self.id(1, 3), "turn_number": number, "timestamp": at}
                work.save_turn(make_turn(tenant, turn_id=self.id(8, 60), **fixed))
            case _:
                session_id = self.id(1, 3) if dice.random() < 0.8 else None
                work.save_event(make_event(tenant, id=self.id(9, 60), session_id=session_id, timestamp=at))


async def ended(store: TurnStore, dice: Dice, revisions: dict[UUID, int]) -> Any:
    """Commit a random unit; return how it ended, and what the caller's objects hold."""
    unit: list[Model] = []
    try:
        async with store.unit_of_work(dice.tenant) as work:
            for _ in range(dice.random.randrange(1, 6)):
                dice.write(work, revisions)
            unit = list(work._given)
    except StoreError as error:
        return type(error), error.item, getattr(error, "current_revision", None), error.outcome, _told(unit)
    return _told(unit)


def _told(unit: list[Model]) -> list[Any]:
    """Return what the caller is told of items."""
    return [[getattr(item, name, None) for name in ("revision", "language")] for item in unit]


async def contents(store: TurnStore, dice: Dice) -> Any:
    """Return everything that units write."""
    tenant, agent = dice.tenant, UUID(int=7)
    return [
        sorted(await store.sessions.list_by_agent(tenant, agent), key=lambda each: each.session_id),
        sorted(await store.profiles.list_profiles(tenant), key=lambda each: each.id),
        await store.memory.get_entities(tenant, agent),
        await store.memory.get_relationships(tenant, agent),
        await store.memory.get_episodes(tenant, agent),
        await store.audit.list_records(tenant, limit=1_000),
    ]


def in_memory(clock: Callable[[], datetime]) -> TurnStore:
    return InMemoryTurnStore(
        InMemorySessionStore(clock=clock),
        InMemoryConfigStore(clock=clock),
        InMemoryMemoryStore(clock=clock),
        InMemoryAuditStore(clock=clock),
        InMemoryProfileStore(clock=clock),
    )


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.trust) for seed in range(1, 12))])
async def test_random_units_end_as_in_memory(engines: Embedded, seed: int) -> None:
    clock, refused = Moment(), 0
    async with await create_pool(engines.postgres_dsn, max_size=1) as pool:
        stores = [in_memory(clock), turns_on(pool, clock=clock, timeout=60)]
        dice = [Dice(seed) for _ in stores]
        for store, each in zip(stores, dice, strict=True):
            for number in range(2):
                profile = make_profile(
                    each.tenant,
                    id=UUID(int=each.tenant.int ^ (2 << 32) ^ number),
                    customer_id=UUID(int=each.tenant.int ^ (10 << 32) ^ number),
                )
                await store.profiles.save_profile(profile)
        for _ in range(60):
            clock.now += timedelta(seconds=1)
            found = await contents(stores[0], dice[0])
            revisions = {session.session_id: session.revision for session in found[0]}
            one, other = [await ended(store, each, revisions) for store, each in zip(stores, dice, strict=True)]
            assert one == other
            refused += isinstance(one, tuple)
            assert await contents(stores[0], dice[0]) == await contents(stores[1], dice[1])
    assert 10 < refused < 55

"""The statements that are composed of others: what a turn loads and commits."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from itertools import product
from typing import Any
from uuid import UUID, uuid4

import asyncpg

from convostore.call.call import Call, running
from convostore.call.effects import Effect
from convostore.contracts import UnitOfWork
from convostore.contracts.unit_of_work import Unit
from convostore.gateway.turn import TurnParts
from convostore.models import Channel
from convostore.models.fields import new_id
from convostore.postgres import (
    PostgresAuditStore,
    PostgresConfigStore,
    PostgresMemoryStore,
    PostgresProfileStore,
    PostgresSessionStore,
    PostgresTurnStore,
)
from convostore.postgres.kept import Configuration
from convostore.postgres.loading import Asked, LoadStatement
from convostore.postgres.units import UnitStatement
from convostore.testing.factories import (
    make_asset,
    make_entity,
    make_episode,
    make_event,
    make_field,
    make_relationship,
    make_session,
    make_turn,
)


class Sent(Exception):
    """Instead of an answer."""


class Recorder:
    """Records a statement instead of running it."""

    statement = ""

    async def fetchrow_in_time(self, statement: str, *_: Any) -> Any:
        """Record a statement."""
        self.statement = statement
        raise Sent


def turns_on(pool: asyncpg.Pool[Any], *, sessions_by_tenant: bool = False, **options: Any) -> PostgresTurnStore:
    """Return a store of turns on a pool, over stores with these options."""
    return PostgresTurnStore(
        PostgresSessionStore(pool, sessions_by_tenant=sessions_by_tenant, **options),
        PostgresConfigStore(pool, **options),
        PostgresMemoryStore(pool, **options),
        PostgresAuditStore(pool, **options),
        PostgresProfileStore(pool, **options),
    )


def unit(tenant: UUID, *, revision: int) -> Unit:
    """Return a unit that is one statement of all parts."""
    work, agent = UnitOfWork(tenant), uuid4()
    profile, entity = uuid4(), make_entity(tenant, agent)
    for session in (make_session(tenant), make_session(tenant)):
        session.__dict__["revision"] = revision
        work.save_session(session)
    work.update_field(profile, make_field())
    work.add_asset(profile, make_asset())
    work.add_entities([entity])
    work.add_relationships([make_relationship(entity, entity)])
    work.add_episodes([make_episode(tenant, agent)])
    work.save_turn(make_turn(tenant))
    work.save_event(make_event(tenant))
    return Unit(tenant, work._writes)


async def composed_statements(pool: asyncpg.Pool[Any]) -> dict[str, list[str]]:
    """Return the composed statements, by what they do."""
    stores, tenant = TurnParts(*turns_on(pool)._stores), uuid4()
    commits, loads = list[str](), list[str]()
    agent = uuid4()
    stores.config._kept.put((tenant, agent), Configuration("", {}, 0))  # type: ignore[attr-defined]
    with running_call(tenant):
        for revision in (0, 1):
            for invalidate_copies in (False, True):
                statement = UnitStatement(unit(tenant, revision=revision), stores)
                commits.append(await sent(partial(statement.run, invalidate_copies=invalidate_copies)))
        for query in (None, "tea"):
            for identity, known in product((False, True), repeat=2):
                load = LoadStatement(stores, tenant, Asked(query, [1.0, 2.0, 3.0], 5, 5))
                if identity:
                    load.by_identity(uuid4(), Channel.EMAIL, "ann@example.com")
                else:
                    load.by_id(uuid4())
                loads.append(await sent(partial(load.run, agent_id=agent if known else None)))
    return {"turn.commit": commits, "turn.load_turn": loads}


@contextmanager
def running_call(tenant: UUID) -> Iterator[None]:
    """Let a call run within the block."""
    token = running.set(Call("turn", "commit", tenant, {}, new_id(), 0.0, Effect.IDEMPOTENT))
    try:
        yield
    finally:
        running.reset(token)


async def sent(run: Callable[[Any], Awaitable[object]]) -> str:
    """Return the statement that something sends first."""
    recorder = Recorder()
    with suppress(Sent):
        await run(recorder)
    return recorder.statement

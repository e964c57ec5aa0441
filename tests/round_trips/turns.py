"""Every method of a store of turns, called in the cases that differ in cost."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest

from convostore.contracts import TurnStore, UnitOfWork
from convostore.contracts.unit_of_work import Unit
from convostore.errors import ConflictError, NotFoundError
from convostore.testing import factories
from tests.round_trips import calls
from tests.round_trips.calls import VECTOR
from tests.round_trips.metering import unmetered, when


async def turns(store: TurnStore) -> None:
    """Call a store of turns."""
    plain: TurnStore = unmetered(store)
    for each in (plain.config, plain.memory, plain.audit, plain.profiles):
        await each.health_check()  # Each store checks a connection, which forgets its statements then.
    tenant = calls.new_tenant()
    agent, profile = factories.make_agent(tenant), factories.make_profile(tenant)
    session = factories.make_session(tenant, agent_id=agent.id, customer_profile_id=profile.id)
    await plain.config.save_agent(agent)
    await plain.config.save_rule(factories.make_rule(tenant, agent.id, embedding=VECTOR))
    await plain.profiles.save_profile(profile)
    await plain.sessions.save(session)
    entities = [factories.make_entity(tenant, agent.id) for _ in range(2)]

    async def unit(*more: tuple[Any, ...], overwrite: bool = False) -> Unit:
        """Return what a turn writes, and more."""
        # Other than a read by id, a list starts no promotion.
        work, (found,) = UnitOfWork(tenant), await plain.sessions.list_by_agent(tenant, agent.id, limit=1)
        work.save_event(factories.make_event(tenant, session_id=session.session_id))
        work.save_turn(
            factories.make_turn(tenant, session_id=session.session_id, turn_number=found.revision, agent_id=agent.id)
        )
        work.add_episodes([factories.make_episode(tenant, agent.id, embedding=VECTOR) for _ in range(2)])
        work.update_field(profile.id, factories.make_field())
        work.save_session(found, overwrite=overwrite)
        for method, *arguments in more:
            getattr(work, method)(*arguments)
        return Unit(tenant, work._writes)

    asset = ("add_asset", profile.id, factories.make_asset())
    graph = ("add_entities", entities), ("add_relationships", [factories.make_relationship(*entities)])
    await store.commit(tenant, await unit())
    await when(store, "with a graph").commit(tenant, await unit(*graph))
    await when(store, "with something stored").commit(tenant, await unit(graph[0]))
    await when(store, "with an asset").commit(tenant, await unit(asset))
    stale = await unit()
    await plain.commit(tenant, await unit())
    with pytest.raises(ConflictError):
        await when(store, "stale revision").commit(tenant, stale)
    await when(store, "overwrite").commit(tenant, await unit(overwrite=True), overwrite=True)
    async with when(store, "nothing to do").unit_of_work(tenant):
        pass

    asked: dict[str, Any] = {"query_embedding": VECTOR}
    await when(store, "first").load_turn(tenant, session_id=session.session_id, **asked)
    await store.load_turn(tenant, session_id=session.session_id, **asked)
    await when(store, "hybrid").load_turn(tenant, session_id=session.session_id, query="tea", **asked)
    identity: dict[str, Any] = {name: getattr(session, name) for name in ("agent_id", "channel", "user_channel_id")}
    await when(store, "of an identity").load_turn(tenant, **identity, **asked)
    await when(store, "new").load_turn(tenant, **identity | {"user_channel_id": "new"}, **asked)
    with pytest.raises(NotFoundError):
        await when(store, "unknown id").load_turn(tenant, session_id=uuid4(), **asked)
    await store.health_check()

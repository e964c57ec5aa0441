"""The contract of units that say the same again: content and write id recognise it."""

from __future__ import annotations

import asyncio
from operator import methodcaller
from uuid import uuid4

import pytest

from convostore.contracts import TurnStore
from convostore.errors import ConflictError, StoreError
from convostore.models import AuditEvent
from convostore.testing.base import StoreContract
from convostore.testing.factories import (
    make_agent,
    make_asset,
    make_entity,
    make_episode,
    make_event,
    make_field,
    make_session,
    make_turn,
)
from convostore.testing.faults.answers import LostAnswers, around_attempts
from convostore.testing.turn.units import commit, saved_profile, saved_session


class UnitRepetitionContract(StoreContract):
    """What of a unit exists already, and units that are repeated or meet."""

    async def test_what_is_given_twice_with_the_same_content_is_written_once(self, store: TurnStore) -> None:
        tenant, agent = uuid4(), uuid4()
        profile, session = await saved_profile(store, tenant), uuid4()
        episode, turn, event, field = (
            make_episode(tenant, agent),
            make_turn(tenant, session_id=session),
            make_event(tenant, session_id=session),
            make_field(),
        )
        async with store.unit_of_work(tenant) as work:
            for _ in range(2):
                work.add_episodes([episode])
                work.save_turn(turn)
                work.save_event(event)
                work.update_field(profile.id, field)
        assert await store.memory.get_episodes(tenant, agent) == [episode]
        assert len(await store.audit.list_records(tenant, session_id=session)) == 2
        found = await store.profiles.get_profile(tenant, profile.id)
        assert found is not None
        assert found.revision == 2

    async def test_what_exists_with_the_same_content_is_left_as_it_is(self, store: TurnStore) -> None:
        tenant, agent = uuid4(), uuid4()
        profile = await saved_profile(store, tenant)
        entity, episode, turn = make_entity(tenant, agent), make_episode(tenant, agent), make_turn(tenant)
        asset = make_asset()
        for _ in range(2):
            session = make_session(tenant)
            async with store.unit_of_work(tenant) as work:
                work.save_session(session)
                work.add_entities([entity.model_copy()])
                work.add_episodes([episode.model_copy()])
                work.add_asset(profile.id, asset)
                work.save_turn(turn)
            assert session.revision == 1
        assert [found.revision for found in await store.memory.get_entities(tenant, agent)] == [1]
        assert len(await store.memory.get_episodes(tenant, agent)) == 1
        assert len(await store.audit.list_records(tenant)) == 1

    async def test_a_lost_answer_is_made_good_by_the_write_id(self, store: TurnStore) -> None:
        tenant, agent = uuid4(), uuid4()
        session, profile = await saved_session(store, tenant), await saved_profile(store, tenant)
        entity, field, turn = make_entity(tenant, agent), make_field(), make_turn(tenant)
        lost = LostAnswers("commit", times=1)
        async with around_attempts(store, lost).unit_of_work(tenant) as work:
            work.save_session(session)
            work.add_entities([entity])
            work.add_episodes([make_episode(tenant, agent)])
            work.update_field(profile.id, field)
            work.add_asset(profile.id, make_asset())
            work.save_turn(turn)
        assert lost.lost == 1
        assert (session.revision, entity.revision) == (2, 1)
        assert await store.sessions.get(session.session_id) == session
        found = await store.profiles.get_profile(tenant, profile.id)
        assert found is not None
        assert (found.revision, len(found.assets)) == (3, 1)
        assert len(await store.memory.get_episodes(tenant, agent)) == 1
        assert len(await store.audit.list_records(tenant)) == 1

    async def test_an_unknown_outcome_is_not_repeated_where_a_save_overwrites(self, store: TurnStore) -> None:
        tenant = uuid4()
        session = await saved_session(store, tenant)
        lost = LostAnswers("commit", times=1)
        with pytest.raises(StoreError) as caught:
            await commit(around_attempts(store, lost), tenant, methodcaller("save_session", session, overwrite=True))
        assert caught.value.outcome == "unknown"
        assert session.revision == 1
        found = await store.sessions.get(session.session_id)
        assert found is not None
        assert found.revision == 2

    async def test_a_read_that_accepts_staleness_sees_units_and_loads_of_its_own(self, store: TurnStore) -> None:
        tenant = uuid4()
        agent = make_agent(tenant)
        session = await saved_session(store, tenant, agent_id=agent.id)
        await store.config.save_agent(agent)
        for _ in range(3):
            assert await store.sessions.get(session.session_id, max_staleness=60) == session
            await commit(store, tenant, methodcaller("save_session", session))
        await store.for_tenant(tenant).sessions.save(session)
        assert (await store.load_turn(tenant, session_id=session.session_id)).session == session
        assert await store.sessions.get(session.session_id, max_staleness=60) == session

    async def test_of_concurrent_units_on_one_session_one_is_applied(self, store: TurnStore) -> None:
        tenant = uuid4()
        session = await saved_session(store, tenant)

        async def applies(event: AuditEvent) -> bool:
            try:
                async with store.within(60).unit_of_work(tenant) as work:
                    work.save_event(event)
                    work.save_session(session.model_copy(deep=True))
            except ConflictError:
                return False
            return True

        events = [make_event(tenant, session_id=session.session_id) for _ in range(5)]
        applied = await asyncio.gather(*map(applies, events))
        assert sum(applied) == 1
        assert await store.audit.list_events(tenant) == [events[applied.index(True)]]

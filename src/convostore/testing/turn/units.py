"""The contract of the unit of work: all that it collects is applied together, as single calls would."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID, uuid4

import pytest

from convostore.contracts import TurnStore, UnitOfWork
from convostore.errors import ConflictError, StoreError
from convostore.models import CustomerProfile, ItemStatus, Session
from convostore.testing.base import StoreContract
from convostore.testing.factories import (
    full_asset,
    full_entity,
    full_episode,
    full_event,
    full_field,
    full_relationship,
    full_session,
    full_turn,
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


async def saved_session(store: TurnStore, tenant: UUID, **changes: Any) -> Session:
    session = make_session(tenant, **changes)
    await store.sessions.save(session)
    return session


async def saved_profile(store: TurnStore, tenant: UUID, **changes: Any) -> CustomerProfile:
    profile = make_profile(tenant, **changes)
    await store.profiles.save_profile(profile)
    return profile


async def commit(store: TurnStore, tenant: UUID, fill: Callable[[UnitOfWork], object]) -> None:
    """Commit what a function puts into a unit."""
    async with store.unit_of_work(tenant) as work:
        fill(work)


class UnitOfWorkContract(StoreContract):
    """What a unit of work applies, and when."""

    async def test_a_unit_writes_every_kind_together(self, store: TurnStore) -> None:
        tenant, agent = uuid4(), uuid4()
        profile = await saved_profile(store, tenant)
        session, turn, event = full_session(tenant), full_turn(tenant), full_event(tenant)
        episode, source, target = full_episode(tenant, agent), full_entity(tenant, agent), make_entity(tenant, agent)
        edge, field, asset = full_relationship(source, target), full_field(), full_asset()
        async with store.unit_of_work(tenant) as work:
            work.save_event(event)
            work.save_turn(turn)
            work.add_relationships([edge])
            work.add_entities([source, target])
            work.add_episodes([episode])
            work.update_field(profile.id, field)
            work.add_asset(profile.id, asset)
            work.save_session(session)
        assert await store.sessions.get(session.session_id) == session
        assert await store.memory.get_episode(tenant, episode.id) == episode
        assert await store.memory.get_entity(tenant, source.id) == source
        assert await store.memory.get_relationship(tenant, edge.id) == edge
        assert await store.audit.get_turn(tenant, turn.turn_id) == turn
        assert await store.audit.get_event(tenant, event.id) == event
        found = await store.profiles.get_profile(tenant, profile.id)
        assert found is not None
        assert (found.fields, found.assets) == ({"cart": field}, [asset])
        assert (await store.audit.verify(tenant)).ok

    async def test_nothing_is_applied_before_the_end_of_the_block(self, store: TurnStore) -> None:
        tenant = uuid4()
        episode = make_episode(tenant, uuid4())
        async with store.unit_of_work(tenant) as work:
            work.add_episodes([episode])
            assert await store.memory.get_episode(tenant, episode.id) is None
        assert await store.memory.get_episode(tenant, episode.id) is not None

    async def test_an_exception_in_the_block_drops_what_was_collected(self, store: TurnStore) -> None:
        tenant = uuid4()
        session, event = await saved_session(store, tenant), make_event(tenant)

        def fill(work: UnitOfWork) -> None:
            work.save_session(session)
            work.save_event(event)
            raise KeyError

        with pytest.raises(KeyError):
            await commit(store, tenant, fill)
        assert session.revision == 1
        assert await store.sessions.get(session.session_id) == session
        assert await store.audit.get_event(tenant, event.id) is None

    async def test_an_empty_unit_does_nothing(self, store: TurnStore) -> None:
        async with store.unit_of_work(uuid4()) as work:
            work.add_episodes([])
        async with store.unit_of_work(uuid4()):
            pass

    async def test_a_unit_can_be_any_one_write_alone(self, store: TurnStore) -> None:
        tenant, agent = uuid4(), uuid4()
        profile, entity = await saved_profile(store, tenant), make_entity(tenant, agent)
        other = make_entity(tenant, agent)
        for method, arguments in (
            ("save_session", (make_session(tenant),)),
            ("add_entities", ([entity, other],)),
            ("add_relationships", ([make_relationship(entity, other)],)),
            ("add_episodes", ([make_episode(tenant, agent)],)),
            ("update_field", (profile.id, make_field())),
            ("add_asset", (profile.id, make_asset())),
            ("save_turn", (make_turn(tenant),)),
            ("save_event", (make_event(tenant),)),
        ):
            async with store.unit_of_work(tenant) as work:
                getattr(work, method)(*arguments)
        assert len(await store.sessions.list_by_agent(tenant, agent)) == 0
        assert len(await store.memory.get_entities(tenant, agent)) == 2
        assert len(await store.memory.get_episodes(tenant, agent)) == 1
        found = await store.profiles.get_profile(tenant, profile.id)
        assert found is not None
        assert (len(found.fields), len(found.assets), found.revision) == (1, 1, 3)
        assert len(await store.audit.list_turns_by_tenant(tenant)) == len(await store.audit.list_events(tenant)) == 1

    async def test_the_caller_s_objects_hold_what_the_stores_set(self, store: TurnStore) -> None:
        tenant, agent = uuid4(), uuid4()
        session, new = await saved_session(store, tenant), make_session(tenant)
        entity, episode = make_entity(tenant, agent), make_episode(tenant, agent)
        before = session.last_activity_at
        async with store.unit_of_work(tenant) as work:
            work.save_session(session)
            work.save_session(new)
            work.add_entities([entity])
            work.add_episodes([episode])
        assert (session.revision, new.revision, entity.revision) == (2, 1, 1)
        assert session.last_activity_at >= before
        assert episode.language == "simple"
        assert await store.sessions.get(session.session_id) == session
        assert await store.sessions.get(new.session_id) == new
        assert await store.memory.get_entity(tenant, entity.id) == entity

    async def test_arguments_are_copied_when_they_are_given(self, store: TurnStore) -> None:
        tenant = uuid4()
        session, episode = await saved_session(store, tenant), make_episode(tenant, uuid4(), metadata={"a": 1})
        given = [episode]
        async with store.unit_of_work(tenant) as work:
            session.variables["a"] = 1
            work.save_session(session)
            work.add_episodes(given)
            session.variables["a"] = 2
            episode.metadata["a"] = 2
            given.append(make_episode(tenant, uuid4()))
        found = await store.sessions.get(session.session_id)
        assert found is not None
        assert (found.variables, session.variables, session.revision) == ({"a": 1}, {"a": 2}, 2)
        stored = await store.memory.get_episode(tenant, episode.id)
        assert stored is not None
        assert stored.metadata == {"a": 1}

    async def test_fields_are_set_in_their_order(self, store: TurnStore) -> None:
        tenant = uuid4()
        profile, other = await saved_profile(store, tenant), await saved_profile(store, tenant)
        first, second, third = make_field(value="Bonn"), make_field(value="Rome"), make_field("size", 4)
        async with store.unit_of_work(tenant) as work:
            work.update_field(other.id, make_field(value="Oslo"))
            work.update_field(profile.id, first)
            work.update_field(profile.id, third)
            work.update_field(profile.id, second)
        found = await store.profiles.get_profile(tenant, profile.id)
        assert found is not None
        assert found.fields == {"city": second, "size": third}
        assert found.revision == 4
        history = await store.profiles.get_field_history(tenant, profile.id, "city")
        past = {item.id: item for item in history}[first.id]
        assert (past.status, past.superseded_by_id) == (ItemStatus.SUPERSEDED, second.id)

    async def test_several_new_fields_are_set_at_once(self, store: TurnStore) -> None:
        tenant = uuid4()
        profile = await saved_profile(store, tenant)
        await store.profiles.update_field(tenant, profile.id, old := make_field(value="Oslo"))
        fields = [make_field(value="Rome"), make_field("size", 4), make_field("gone", 1, status="expired")]
        async with store.unit_of_work(tenant) as work:
            for field in fields:
                work.update_field(profile.id, field)
        found = await store.profiles.get_profile(tenant, profile.id)
        assert found is not None
        assert (found.fields, found.revision) == ({"city": fields[0], "size": fields[1]}, 5)
        assert {item.id for item in await store.profiles.get_field_history(tenant, profile.id, "city")} == {
            old.id,
            fields[0].id,
        }

    async def test_assets_follow_those_that_are_there(self, store: TurnStore) -> None:
        tenant = uuid4()
        profile = await saved_profile(store, tenant)
        first = make_asset()
        await store.profiles.add_asset(tenant, profile.id, first)
        second, third, last, past = (make_asset() for _ in range(4))
        past.status = ItemStatus.SUPERSEDED
        for assets in ((second, third), (last, past)):
            async with store.unit_of_work(tenant) as work:
                for asset in assets:
                    work.add_asset(profile.id, asset)
                work.update_field(profile.id, make_field())
        found = await store.profiles.get_profile(tenant, profile.id)
        assert found is not None
        assert (found.assets, found.revision) == ([first, second, third, last], 8)

    async def test_several_sessions_are_saved_together_or_not_at_all(self, store: TurnStore) -> None:
        tenant = uuid4()
        old, new = await saved_session(store, tenant), make_session(tenant)
        stale = old.model_copy(deep=True)
        more = [make_session(tenant) for _ in range(20)]

        async def save(*sessions: Session) -> None:
            async with store.unit_of_work(tenant) as work:
                for each in sessions:
                    work.save_session(each)

        await save(new, old)
        assert [each.revision for each in (old, new)] == [2, 1]
        for each in (old, new):
            assert await store.sessions.get(each.session_id) == each
        with pytest.raises(ConflictError) as refused:
            await save(new, *more[:2], stale)
        assert (refused.value.item, refused.value.current_revision) == (("save_session", 3), 2)
        assert await store.sessions.get(new.session_id) == new
        await save(*more)
        for each in more:
            assert await store.sessions.get(each.session_id) == each

    async def test_writes_of_a_merged_profile_reach_the_one_that_it_was_merged_into(self, store: TurnStore) -> None:
        tenant = uuid4()
        source, target = await saved_profile(store, tenant), await saved_profile(store, tenant)
        await store.profiles.merge_profiles(tenant, source.id, target.id)
        async with store.unit_of_work(tenant) as work:
            work.update_field(source.id, make_field())
            work.add_asset(source.id, make_asset())
        found = await store.profiles.get_profile(tenant, target.id)
        assert found is not None
        assert (len(found.fields), len(found.assets)) == (1, 1)

    async def test_a_chain_holds_turns_and_events_in_the_order_given(self, store: TurnStore) -> None:
        tenant, one, other = uuid4(), uuid4(), uuid4()
        turn, event = make_turn(tenant, session_id=one), make_event(tenant, session_id=one)
        last, elsewhere, own = (
            make_event(tenant, session_id=one),
            make_turn(tenant, session_id=other),
            make_event(tenant),
        )
        async with store.unit_of_work(tenant) as work:
            work.save_event(event)
            work.save_event(own)
            work.save_turn(elsewhere)
            work.save_turn(turn)
            work.save_event(last)
        records = await store.audit.list_records(tenant, session_id=one)
        assert [record.record_id for record in records] == [event.id, turn.turn_id, last.id]
        assert len(await store.audit.list_records(tenant)) == 5
        assert (await store.audit.verify(tenant)).ok

    async def test_units_in_one_another_are_units_of_their_own(self, store: TurnStore) -> None:
        tenant = uuid4()
        inside, outside = make_event(tenant), make_event(tenant)

        async def nested() -> None:
            async with store.unit_of_work(tenant) as work:
                work.save_event(outside)
                await commit(store, tenant, lambda other: other.save_event(inside))
                raise KeyError

        with pytest.raises(KeyError):
            await nested()
        assert await store.audit.list_events(tenant) == [inside]

    async def test_a_unit_that_has_ended_takes_nothing_more(self, store: TurnStore) -> None:
        tenant = uuid4()
        async with store.unit_of_work(tenant) as work:
            pass
        with pytest.raises(StoreError) as caught:
            work.save_event(make_event(tenant))
        assert caught.value.code == "closed"
        assert await store.audit.list_events(tenant) == []

    async def test_a_thousand_items_are_imported_together(self, store: TurnStore) -> None:
        tenant, agent, sessions = uuid4(), uuid4(), [make_session(uuid4()).session_id for _ in range(20)]
        episodes = [make_episode(tenant, agent, embedding=[1.0, float(n)]) for n in range(600)]
        turns = [make_turn(tenant, session_id=sessions[n % 20], turn_number=n // 20) for n in range(400)]
        async with store.within(60).unit_of_work(tenant) as work:
            work.add_episodes(episodes)
            for turn in turns:
                work.save_turn(turn)
        assert len(await store.memory.get_episodes(tenant, agent)) == 600
        found = await store.audit.list_turns_by_session(tenant, sessions[3])
        assert [turn.turn_number for turn in found] == list(range(20))
        assert (await store.audit.verify(tenant)).ok

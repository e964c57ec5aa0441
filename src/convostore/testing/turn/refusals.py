"""The contract of refused units: the error names the item, nothing is left behind, no object of the caller changes."""

from __future__ import annotations

from collections.abc import Callable
from operator import methodcaller
from typing import Any
from uuid import UUID, uuid4

import pytest

from convostore.contracts import TurnStore, UnitOfWork
from convostore.errors import ConflictError, NotFoundError, StoreError
from convostore.testing.base import StoreContract
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
from convostore.testing.turn.units import commit, saved_profile, saved_session


async def refused(
    store: TurnStore, error: type[StoreError], item: tuple[str, int], tenant: UUID, *fills: Callable[[UnitOfWork], Any]
) -> StoreError:
    """Commit a unit of a bit of everything and what functions add; check that it is refused without a trace."""
    agent, profile = uuid4(), await saved_profile(store, tenant)
    session, new = await saved_session(store, tenant), make_session(tenant)
    entity, episode = make_entity(tenant, agent), make_episode(tenant, agent)
    turn = make_turn(tenant, session_id=session.session_id)

    def everything(work: UnitOfWork) -> None:
        work.save_session(session)
        work.save_session(new)
        work.add_entities([entity])
        work.add_episodes([episode])
        work.update_field(profile.id, make_field())
        work.add_asset(profile.id, make_asset())
        work.save_turn(turn)
        for fill in fills:
            fill(work)

    with pytest.raises(error) as caught:
        await commit(store, tenant, everything)
    assert caught.value.item == item
    assert (caught.value.store, caught.value.outcome) == ("turn", "not_applied")
    assert (session.revision, new.revision, entity.revision, episode.language) == (1, 0, 0, None)
    assert await store.sessions.get(session.session_id) == session
    assert await store.sessions.get(new.session_id) is None
    assert await store.memory.get_entity(tenant, entity.id) is None
    assert await store.memory.get_episode(tenant, episode.id) is None
    assert await store.profiles.get_profile(tenant, profile.id) == profile
    assert await store.audit.get_turn(tenant, turn.turn_id) is None
    assert await store.audit.list_records(tenant, session_id=session.session_id) == []
    return caught.value


class UnitRefusalContract(StoreContract):
    """What refuses a unit of work."""

    async def test_a_stale_session_refuses_the_unit(self, store: TurnStore) -> None:
        tenant = uuid4()
        session = make_session(tenant)
        await store.sessions.save(session)
        stale = session.model_copy(deep=True)
        await store.sessions.save(session)
        await refused(store, ConflictError, ("save_session", 2), tenant, methodcaller("save_session", stale))
        assert await store.sessions.get(session.session_id) == session

    async def test_the_conflict_of_a_session_tells_its_revision(self, store: TurnStore) -> None:
        tenant = uuid4()
        session = make_session(tenant)
        await store.sessions.save(session)
        stale = session.model_copy(deep=True)
        await store.sessions.save(session)
        conflict = await refused(store, ConflictError, ("save_session", 2), tenant, methodcaller("save_session", stale))
        assert isinstance(conflict, ConflictError)
        assert conflict.current_revision == 2

    async def test_a_session_that_was_deleted_refuses_the_unit(self, store: TurnStore) -> None:
        tenant = uuid4()
        session = make_session(tenant)
        await store.sessions.save(session)
        await store.sessions.delete(session.session_id)
        await refused(store, ConflictError, ("save_session", 2), tenant, methodcaller("save_session", session))

    async def test_a_session_id_of_another_tenant_refuses_the_unit(self, store: TurnStore) -> None:
        tenant, theirs = uuid4(), make_session(uuid4())
        await store.sessions.save(theirs)
        await refused(
            store,
            ConflictError,
            ("save_session", 2),
            tenant,
            methodcaller("save_session", make_session(tenant, session_id=theirs.session_id), overwrite=True),
        )
        assert await store.sessions.get(theirs.session_id) == theirs

    async def test_a_lock_that_was_given_on_refuses_the_unit(self, store: TurnStore) -> None:
        tenant = uuid4()
        session = make_session(tenant)
        await store.sessions.save(session)
        first, owner = uuid4(), uuid4()
        old = await store.sessions.acquire_lock(session.session_id, first)
        await store.sessions.release_lock(session.session_id, first)
        token = await store.sessions.acquire_lock(session.session_id, owner)
        assert old is not None
        assert token is not None
        await refused(
            store, ConflictError, ("save_session", 2), tenant, methodcaller("save_session", session, fence=old)
        )
        async with store.unit_of_work(tenant) as work:
            work.save_session(session, fence=token)
        assert session.revision == 2

    async def test_an_overwriting_save_ignores_the_revision(self, store: TurnStore) -> None:
        tenant = uuid4()
        session = make_session(tenant)
        await store.sessions.save(session)
        stale = session.model_copy(deep=True)
        await store.sessions.save(session)
        async with store.unit_of_work(tenant) as work:
            work.save_session(stale, overwrite=True)
            work.save_event(make_event(tenant))
        assert stale.revision == 3

    @pytest.mark.parametrize("method", ["add_entities", "add_episodes"])
    async def test_an_id_with_other_content_refuses_the_unit(self, store: TurnStore, method: str) -> None:
        tenant, agent = uuid4(), uuid4()
        make = make_entity if method == "add_entities" else make_episode
        stored: Any = make(tenant, agent)
        await getattr(store.memory, method)([stored])
        changed = stored.model_copy(update={"group_id": uuid4()})
        await refused(
            store,
            ConflictError,
            (method, 2),
            tenant,
            methodcaller(method, [make(tenant, agent), changed]),
        )

    @pytest.mark.parametrize("method", ["add_entities", "add_episodes"])
    async def test_two_contents_of_one_id_refuse_the_unit(self, store: TurnStore, method: str) -> None:
        tenant, agent = uuid4(), uuid4()
        make = make_entity if method == "add_entities" else make_episode
        item: Any = make(tenant, agent)

        await refused(
            store,
            ConflictError,
            (method, 2),
            tenant,
            methodcaller(method, [item]),
            methodcaller(method, [item.model_copy(update={"group_id": uuid4()})]),
        )

    async def test_a_relationship_with_other_content_refuses_the_unit(self, store: TurnStore) -> None:
        tenant, agent = uuid4(), uuid4()
        source, target = make_entity(tenant, agent), make_entity(tenant, agent)
        edge = make_relationship(source, target)
        await store.memory.add_entities([source, target])
        await store.memory.add_relationships([edge])
        await refused(
            store,
            ConflictError,
            ("add_relationships", 1),
            tenant,
            methodcaller(
                "add_relationships", [make_relationship(target, source), edge.model_copy(update={"confidence": 0.5})]
            ),
        )

    async def test_a_relationship_of_an_entity_that_is_not_there_refuses_the_unit(self, store: TurnStore) -> None:
        tenant, agent = uuid4(), uuid4()
        there, gone, theirs = make_entity(tenant, agent), make_entity(tenant, agent), make_entity(uuid4(), agent)
        await store.memory.add_entities([there])
        await store.memory.add_entities([theirs])
        for missing in (gone, theirs.model_copy(update={"tenant_id": tenant})):
            await refused(
                store,
                NotFoundError,
                ("add_relationships", 1),
                tenant,
                methodcaller("add_relationships", [make_relationship(there, there), make_relationship(there, missing)]),
            )

    @pytest.mark.parametrize(
        ("method", "make"), [("update_field", make_field), ("add_asset", make_asset)], ids=["field", "asset"]
    )
    async def test_a_profile_that_is_not_there_refuses_the_unit(
        self, store: TurnStore, method: str, make: Callable[[], Any]
    ) -> None:
        tenant, theirs = uuid4(), make_profile(uuid4())
        deleted = await saved_profile(store, tenant)
        await store.profiles.delete_profile(tenant, deleted.id)
        await store.profiles.save_profile(theirs)
        for profile_id in (uuid4(), deleted.id, theirs.id):
            await refused(store, NotFoundError, (method, 1), tenant, methodcaller(method, profile_id, make()))
        assert await store.profiles.get_profile(theirs.tenant_id, theirs.id) == theirs

    @pytest.mark.parametrize(
        ("method", "make"), [("update_field", make_field), ("add_asset", make_asset)], ids=["field", "asset"]
    )
    async def test_an_item_of_another_profile_refuses_the_unit(
        self, store: TurnStore, method: str, make: Callable[..., Any]
    ) -> None:
        tenant = uuid4()
        one, other = await saved_profile(store, tenant), await saved_profile(store, tenant)
        item = make()
        await getattr(store.profiles, method)(tenant, one.id, item)
        await refused(store, ConflictError, (method, 1), tenant, methodcaller(method, other.id, item))

    @pytest.mark.parametrize("method", ["save_turn", "save_event"])
    async def test_a_record_with_other_content_refuses_the_unit(self, store: TurnStore, method: str) -> None:
        tenant = uuid4()
        make = make_turn if method == "save_turn" else make_event
        item: Any = make(tenant)
        await getattr(store.audit, method)(item)
        changed = item.model_copy(update={"session_id": uuid4()})
        await refused(
            store,
            ConflictError,
            (method, 1 if method == "save_turn" else 0),
            tenant,
            methodcaller(method, changed),
        )

    async def test_a_turn_number_that_is_taken_refuses_the_unit(self, store: TurnStore) -> None:
        tenant, session = uuid4(), uuid4()
        await store.audit.save_turn(make_turn(tenant, session_id=session, turn_number=3))

        await refused(
            store,
            ConflictError,
            ("save_turn", 2),
            tenant,
            methodcaller("save_turn", make_turn(tenant, session_id=session, turn_number=4)),
            methodcaller("save_turn", make_turn(tenant, session_id=session, turn_number=3)),
        )

        await refused(
            store,
            ConflictError,
            ("save_turn", 2),
            tenant,
            methodcaller("save_turn", make_turn(tenant, session_id=session, turn_number=5)),
            methodcaller("save_turn", make_turn(tenant, session_id=session, turn_number=5)),
        )

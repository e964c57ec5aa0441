"""The contract of what a unit of work does not take. It is said at once, and nothing is sent."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest

from convostore.contracts import TurnStore, UnitOfWork
from convostore.errors import ValidationError
from convostore.models import Session
from convostore.testing.base import StoreContract
from convostore.testing.factories import (
    make_asset,
    make_entity,
    make_episode,
    make_event,
    make_relationship,
    make_session,
    make_turn,
)
from convostore.testing.turn.units import commit


class UnitArgumentContract(StoreContract):
    """What a unit of work does not take."""

    async def test_bad_input_names_method_and_item(self, store: TurnStore) -> None:
        tenant, agent = uuid4(), uuid4()
        bad = make_episode(tenant, agent)
        bad.__dict__["content"] = "a\x00b"
        session = make_session(tenant)
        session.__dict__["turn_count"] = -1
        async with store.unit_of_work(tenant) as work:
            work.add_episodes([make_episode(tenant, agent)])
            for method, arguments, index, text in (
                ("add_episodes", ([make_episode(tenant, agent), bad],), 2, "episodes.1.content"),
                ("save_session", (session,), 0, "session.turn_count"),
                ("save_session", ("session",), 0, "session"),
                ("save_turn", (), 0, "turn"),
                ("update_field", (uuid4(), make_asset()), 0, "field"),
            ):
                with pytest.raises(ValidationError, match=text) as caught:
                    getattr(work, method)(*arguments)
                error = caught.value
                assert (error.item, error.operation, error.retryable) == ((method, index), method, False)
        assert len(await store.memory.get_episodes(tenant, agent)) == 1

    async def test_bad_input_that_leaves_the_block_drops_the_unit(self, store: TurnStore) -> None:
        tenant = uuid4()
        event = make_event(tenant)

        def fill(work: UnitOfWork) -> None:
            work.save_event(event)
            work.save_session(make_session(tenant), fence=0)

        with pytest.raises(ValidationError, match="fence"):
            await commit(store, tenant, fill)
        assert await store.audit.get_event(tenant, event.id) is None

    @pytest.mark.parametrize("arguments", [("x",), (None,), ()], ids=str)
    async def test_a_unit_is_of_one_tenant(self, store: TurnStore, arguments: Any) -> None:
        with pytest.raises(ValidationError, match="tenant_id"):
            store.unit_of_work(*arguments)

    async def test_items_of_another_tenant_are_refused(self, store: TurnStore) -> None:
        tenant, other, agent = uuid4(), uuid4(), uuid4()
        mine, theirs = make_entity(tenant, agent), make_entity(other, agent)
        async with store.unit_of_work(tenant) as work:
            for method, argument, index in (
                ("save_session", make_session(other), 0),
                ("add_episodes", [make_episode(tenant, agent), make_episode(other, agent)], 1),
                ("add_entities", [theirs], 0),
                ("add_relationships", [make_relationship(mine, mine), make_relationship(theirs, theirs)], 1),
                ("save_turn", make_turn(other), 0),
                ("save_event", make_event(other), 0),
            ):
                with pytest.raises(ValidationError, match="another tenant") as caught:
                    getattr(work, method)(argument)
                assert caught.value.item == (method, index)
        assert await store.memory.get_episodes(tenant, agent) == []

    async def test_a_bound_store_has_units_of_its_tenant_alone(self, store: TurnStore) -> None:
        tenant = uuid4()
        bound, event = store.for_tenant(tenant), make_event(tenant)
        with pytest.raises(ValidationError, match="another tenant"):
            bound.unit_of_work(uuid4())
        async with bound.unit_of_work(tenant) as work:
            work.save_event(event)
        assert await store.audit.list_events(tenant) == [event]

    async def test_a_session_stands_once_in_a_unit(self, store: TurnStore) -> None:
        tenant = uuid4()
        session: Session = make_session(tenant)
        async with store.unit_of_work(tenant) as work:
            work.save_session(session)
            with pytest.raises(ValidationError, match="twice") as caught:
                work.save_session(session)
        assert caught.value.item == ("save_session", 1)
        assert session.revision == 1

    async def test_a_unit_has_ten_thousand_items_at_most(self, store: TurnStore) -> None:
        tenant, agent = uuid4(), uuid4()
        episode = make_episode(tenant, agent)

        def fill(work: UnitOfWork) -> None:
            work.add_episodes([episode] * 9_999)
            work.add_episodes([episode, episode])

        with pytest.raises(ValidationError, match="10,000") as caught:
            await commit(store, tenant, fill)
        assert caught.value.item == ("add_episodes", 9_999)
        with pytest.raises(ValidationError, match="episodes"):
            await commit(store, tenant, lambda work: work.add_episodes([episode] * 10_001))

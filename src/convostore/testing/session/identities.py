"""The contract of session stores: one open session per channel identity and agent."""

from __future__ import annotations

import asyncio
from uuid import UUID, uuid4

import pytest

from convostore.contracts import SessionStore
from convostore.errors import ValidationError
from convostore.models import Channel, Session, SessionStatus
from convostore.models.fields import now
from convostore.testing.base import StoreContract
from convostore.testing.factories import TEXT
from convostore.testing.session.sessions import save_sessions

Identity = tuple[UUID, UUID, Channel, str]
"""A tenant, an agent, and a channel identity."""


def new_identity() -> Identity:
    """Return an identity that no other test uses."""
    return uuid4(), uuid4(), Channel.SMS, TEXT


async def close(store: SessionStore, session: Session) -> None:
    """Save a session as closed."""
    session.status = SessionStatus.CLOSED
    await store.save(session)


class SessionIdentityContract(StoreContract):
    """`get_or_create`, and `get_by_channel` of one agent."""

    async def test_a_first_message_creates_the_session_that_the_next_finds(self, store: SessionStore) -> None:
        identity, customer, before = new_identity(), uuid4(), now()
        session, created = await store.get_or_create(*identity, customer_profile_id=customer, config_version=4)
        assert created is True
        assert (session.tenant_id, session.agent_id, session.channel, session.user_channel_id) == identity
        assert (session.customer_profile_id, session.config_version, session.revision) == (customer, 4, 1)
        assert before <= session.created_at == session.last_activity_at <= now()
        assert await store.get(session.session_id) == session
        assert await store.get_by_channel(identity[0], *identity[2:]) == session
        assert await store.list_by_customer(identity[0], customer) == [session]
        assert await store.get_or_create(*identity, customer_profile_id=uuid4(), config_version=5) == (session, False)
        await store.save(session)
        assert session.revision == 2
        assert await store.get_or_create(*identity) == (session, False)

    async def test_the_most_recently_active_open_session_of_the_agent_is_returned(self, store: SessionStore) -> None:
        tenant, agent, channel, user = new_identity()
        of_agent = {"agent_id": agent, "channel": channel, "user_channel_id": user}
        first, second, *_ = await save_sessions(
            store,
            tenant,
            of_agent,
            {**of_agent, "status": SessionStatus.INTERRUPTED},
            {**of_agent, "status": SessionStatus.CLOSED},
            {**of_agent, "agent_id": uuid4()},
            {**of_agent, "channel": Channel.EMAIL},
            {**of_agent, "user_channel_id": "another"},
        )
        assert await store.get_or_create(tenant, agent, channel, user) == (second, False)
        await store.save(first)
        assert await store.get_or_create(tenant, agent, channel, user) == (first, False)
        await close(store, first)
        assert await store.get_or_create(tenant, agent, channel, user) == (second, False)

    async def test_after_the_last_one_was_closed_or_deleted_a_new_session_is_created(self, store: SessionStore) -> None:
        identity, seen = new_identity(), set[UUID]()
        for number in range(6):
            session, created = await store.get_or_create(*identity)
            assert created
            assert await store.get_or_create(*identity) == (session, False)
            seen.add(session.session_id)
            await (close(store, session) if number % 2 else store.delete(session.session_id))
        assert len(seen) == 6
        assert len(await store.list_by_agent(*identity[:2])) == 3

    async def test_a_session_that_left_the_identity_is_not_returned(self, store: SessionStore) -> None:
        tenant, agent, channel, user = new_identity()
        session, _ = await store.get_or_create(tenant, agent, channel, user)
        session.user_channel_id = "another"
        await store.save(session)
        assert await store.get_or_create(tenant, agent, channel, "another") == (session, False)
        other, created = await store.get_or_create(tenant, agent, channel, user)
        assert created
        assert other.session_id != session.session_id
        other.agent_id = uuid4()
        await store.save(other)
        assert (await store.get_or_create(tenant, agent, channel, user))[1] is True
        assert await store.get_or_create(tenant, other.agent_id, channel, user) == (other, False)

    async def test_every_tenant_agent_and_identity_has_a_session_of_its_own(self, store: SessionStore) -> None:
        tenant, agent, channel, user = new_identity()
        identities: list[Identity] = [
            (tenant, agent, channel, user),
            (uuid4(), agent, channel, user),
            (tenant, uuid4(), channel, user),
            (tenant, agent, Channel.EMAIL, user),
            (tenant, agent, channel, "another"),
        ]
        for created in (True, False):
            found = [await store.get_or_create(*identity) for identity in identities]
            assert len({session.session_id for session, _ in found}) == 5
            assert [new for _, new in found] == [created] * 5

    async def test_a_returned_session_is_a_copy(self, store: SessionStore) -> None:
        identity = new_identity()
        session, _ = await store.get_or_create(*identity)
        session.variables["x"] = 1
        again, _ = await store.get_or_create(*identity)
        assert again.variables == {}
        assert await store.get(session.session_id) == again

    async def test_of_many_concurrent_first_messages_exactly_one_creates(self, store: SessionStore) -> None:
        for _ in range(5):
            identity = new_identity()
            found = await asyncio.gather(*(store.get_or_create(*identity) for _ in range(20)))
            assert len({session.session_id for session, _ in found}) == 1
            assert sum(created for _, created in found) == 1
            assert await store.list_by_agent(*identity[:2]) == [found[0][0]]

    async def test_of_many_concurrent_messages_after_a_closing_exactly_one_creates(self, store: SessionStore) -> None:
        identity = new_identity()
        for closed in range(1, 6):
            found = await asyncio.gather(*(store.get_or_create(*identity) for _ in range(10)))
            assert sum(created for _, created in found) == 1
            await close(store, found[0][0])
            assert len(await store.list_by_agent(*identity[:2])) == closed

    async def test_concurrent_saves_neither_hide_nor_double_a_session(self, store: SessionStore) -> None:
        identity = new_identity()
        session, _ = await store.get_or_create(*identity)

        async def keep_saving() -> None:
            for _ in range(20):
                await store.save(session)

        async def keep_asking() -> None:
            for _ in range(20):
                found, created = await store.get_or_create(*identity)
                assert (found.session_id, created) == (session.session_id, False)

        await asyncio.gather(keep_saving(), *(keep_asking() for _ in range(4)))
        assert await store.list_by_agent(*identity[:2]) == [session]

    async def test_a_channel_lookup_can_be_limited_to_an_agent(self, store: SessionStore) -> None:
        tenant, agent, channel, user = new_identity()
        of_agent = {"agent_id": agent, "channel": channel, "user_channel_id": user}
        elsewhere = [{**of_agent, "agent_id": uuid4()} for _ in range(20)]
        await save_sessions(store, tenant, {**of_agent, "status": SessionStatus.CLOSED})
        opened, closed, *_, latest = await save_sessions(
            store, tenant, of_agent, {**of_agent, "status": SessionStatus.CLOSED}, *elsewhere
        )
        find = store.get_by_channel
        assert await find(tenant, channel, user) == latest
        assert await find(tenant, channel, user, agent_id=agent) == opened
        await store.delete(opened.session_id)
        assert await find(tenant, channel, user, agent_id=agent) == closed
        assert await find(tenant, channel, user, agent_id=latest.agent_id) == latest
        assert await find(tenant, channel, user, agent_id=uuid4()) is None

    async def test_what_names_an_identity_is_bounded(self, store: SessionStore) -> None:
        for text in ("", "x" * 513, "a\x00b", "\ud800", 5):
            with pytest.raises(ValidationError, match="user_channel_id"):
                await store.get_or_create(uuid4(), uuid4(), Channel.SMS, text)  # type: ignore[arg-type]
        for version in (0, True, "1", 2**31):
            with pytest.raises(ValidationError, match="config_version"):
                await store.get_or_create(uuid4(), uuid4(), Channel.SMS, "1", config_version=version)  # type: ignore[arg-type]
        bound = store.for_tenant(uuid4())
        with pytest.raises(ValidationError, match="tenant_id"):
            await bound.get_or_create(*new_identity())

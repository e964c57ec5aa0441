"""Stored values that cannot be read are named by their id, and left out of lists and streams, which go on."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

import pytest

from convostore.call import paging
from convostore.domain.codec import canonical
from convostore.domain.declaration import Declaration
from convostore.domain.declarations import (
    AGENT,
    ENTITY,
    EPISODE,
    EVENT,
    RELATIONSHIP,
    RULE,
    SESSION,
    TURN,
)
from convostore.errors import StoreError
from convostore.models.base import Model
from convostore.testing.config.rows import CONFIG_ROWS
from convostore.testing.factories import (
    make_agent,
    make_entity,
    make_episode,
    make_event,
    make_profile,
    make_relationship,
    make_rule,
    make_session,
    make_turn,
)
from tests.postgres.conftest import Pool
from tests.postgres.rewriting import rewrite, stores_on

Store = Any


@pytest.fixture(scope="module")
async def stores(pool: Pool) -> dict[str, Store]:
    return stores_on(pool)


@dataclass(frozen=True)
class Listed:
    """Rows that are listed.

    Attributes:
        declaration: of the rows.
        store: the kind of store.
        make: makes a row of a tenant and an agent.
        add: stores it.
        get: reads it.
        rows: lists all of a tenant and an agent, by the options of a page.
        stream: streams the same, if there is such a method.
    """

    declaration: Declaration[Any]
    store: str
    make: Callable[[UUID, UUID], Any]
    add: Callable[[Store, Any], Awaitable[Any]]
    get: Callable[[Store, Any], Awaitable[Any]]
    rows: Callable[..., Awaitable[list[Any]]]
    stream: Callable[[Store, UUID, UUID], AsyncIterator[Any]] | None

    def __str__(self) -> str:
        return self.declaration.name

    @property
    def damage(self) -> dict[str, Any]:
        """Columns of a row that cannot be read."""
        if nested := sorted(self.declaration.codec.nested):
            return {nested[0]: '"secret"'}
        return {next(name for name in ("scope", "update_policy") if name in self.declaration.columns): "secret"}


async def _add_edge(store: Store, edge: Any) -> None:
    for entity_id in (edge.from_entity_id, edge.to_entity_id):
        await store.add_entity(make_entity(edge.tenant_id, uuid4(), id=entity_id))
    await store.add_relationship(edge)


LISTED = [
    *(
        Listed(rows.declaration, "config", rows.make, rows.save, rows.get, rows.list, rows.stream)
        for rows in CONFIG_ROWS
    ),
    Listed(
        EPISODE,
        "memory",
        make_episode,
        lambda store, item: store.add_episode(item),
        lambda store, item: store.get_episode(item.tenant_id, item.id),
        lambda store, tenant, agent, **page: store.get_episodes(tenant, agent, **page),
        lambda store, tenant, agent: store.iter_episodes(tenant, agent),
    ),
    Listed(
        ENTITY,
        "memory",
        make_entity,
        lambda store, item: store.add_entity(item),
        lambda store, item: store.get_entity(item.tenant_id, item.id),
        lambda store, tenant, agent, **page: store.get_entities(tenant, agent, **page),
        lambda store, tenant, agent: store.iter_entities(tenant, agent),
    ),
    Listed(
        RELATIONSHIP,
        "memory",
        lambda tenant, agent: make_relationship(make_entity(tenant, agent), make_entity(tenant, agent)),
        _add_edge,
        lambda store, item: store.get_relationship(item.tenant_id, item.id),
        lambda store, tenant, agent, **page: store.get_relationships(tenant, agent, **page),
        lambda store, tenant, agent: store.iter_relationships(tenant, agent),
    ),
    Listed(
        SESSION,
        "sessions",
        lambda tenant, agent: make_session(tenant, agent_id=agent),
        lambda store, item: store.save(item),
        lambda store, item: store.get(item.session_id),
        lambda store, tenant, agent, **page: store.list_by_agent(tenant, agent, **page),
        None,
    ),
]


def left_out(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return the ids of what was left out, in the order of the log, which is cleared."""
    records, ids = list(caplog.records), [record.__dict__.get("entity_id") for record in caplog.records]
    assert not any("secret" in record.getMessage() for record in records)
    caplog.clear()
    return [entity_id for entity_id in ids if entity_id]


@pytest.mark.parametrize("listed", LISTED, ids=str)
async def test_rows_are_named_by_id_and_left_out_of_lists_and_streams(
    stores: dict[str, Store],
    admin: Any,
    listed: Listed,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store, tenant, agent = stores[listed.store], uuid4(), uuid4()
    for _ in range(7):
        await listed.add(store, listed.make(tenant, agent))
    items = await listed.rows(store, tenant, agent, limit=10)
    damaged, good = [items[number] for number in (0, 2, 3, 6)], [items[number] for number in (1, 4, 5)]
    for item in damaged:
        await rewrite(admin, listed.declaration, item, listed.damage)

    key = listed.declaration.key[0]
    caplog.set_level(logging.WARNING, "convostore")
    with pytest.raises(StoreError, match=rf"^{listed} {getattr(items[0], key)}: .*cannot be read") as refused:
        await listed.get(store, items[0])
    assert refused.value.code == "unreadable"
    caplog.clear()

    assert await listed.rows(store, tenant, agent, limit=10) == good
    assert left_out(caplog) == [str(getattr(item, key)) for item in damaged]
    # A page is full as long as anything follows, so that it is not taken for the last.
    assert await listed.rows(store, tenant, agent, limit=2) == good[:2]
    assert await listed.rows(store, tenant, agent, limit=2, offset=4) == good[1:]
    caplog.clear()
    if listed.stream:
        monkeypatch.setattr(paging, "PAGE", 2)
        assert [item async for item in listed.stream(store, tenant, agent)] == good
        assert set(left_out(caplog)) == {str(getattr(item, key)) for item in damaged}


async def test_a_rule_does_not_keep_an_agent_from_its_turn(stores: dict[str, Store], admin: Any) -> None:
    agent = make_agent(uuid4())
    rules = [make_rule(agent.tenant_id, agent.id, name=name) for name in "abc"]
    await stores["config"].save_agent(agent)
    await stores["config"].save_rules(rules)
    await rewrite(admin, RULE, rules[1], {"scope": "secret"})
    config = await stores["config"].get_agent_config(agent.tenant_id, agent.id)
    assert config.rules == [rules[0], rules[2]]
    await rewrite(admin, AGENT, agent, {"settings": "[]"})
    with pytest.raises(StoreError, match=f"^agent {agent.id}: "):
        await stores["config"].get_agent_config(agent.tenant_id, agent.id)


async def test_profiles(
    stores: dict[str, Store],
    admin: Any,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store, tenant = stores["profiles"], uuid4()
    profiles = [make_profile(tenant) for _ in range(5)]
    for profile in profiles:
        await store.save_profile(profile)
    profiles.reverse()
    for number in (0, 2, 3):
        await admin.execute(
            "UPDATE convostore.profile SET consents = $2 WHERE id = $1", profiles[number].id, '["secret"]'
        )
    with pytest.raises(StoreError, match=f"^profile {profiles[0].id}: "):
        await store.get_profile(tenant, profiles[0].id)
    caplog.clear()
    caplog.set_level(logging.WARNING, "convostore")
    assert await store.list_profiles(tenant) == [profiles[1], profiles[4]]
    assert left_out(caplog) == [str(profiles[number].id) for number in (0, 2, 3)]
    assert await store.list_profiles(tenant, limit=2) == [profiles[1], profiles[4]]
    monkeypatch.setattr(paging, "PAGE", 1)
    assert [profile async for profile in store.iter_profiles(tenant)] == [profiles[1], profiles[4]]


async def test_a_merge_is_named_by_the_profile_that_it_went_into(stores: dict[str, Store], admin: Any) -> None:
    store, tenant = stores["profiles"], uuid4()
    source, target = make_profile(tenant), make_profile(tenant)
    for profile in (source, target):
        await store.save_profile(profile)
    await store.merge_profiles(tenant, source.id, target.id)
    await admin.execute("UPDATE convostore.profile_merge SET document = '{}' WHERE source_id = $1", source.id)
    with pytest.raises(StoreError, match=f"^merge into {target.id}: "):
        await store.unmerge_profiles(tenant, target.id)


async def test_bodies_of_the_audit_trail(
    stores: dict[str, Store],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store, tenant, session = stores["audit"], uuid4(), uuid4()
    turns = [make_turn(tenant, session_id=session, turn_number=number) for number in range(5)]
    events = [make_event(tenant) for _ in range(5)]
    damaged = {item for number in (0, 2, 3) for item in (turns[number].turn_id, events[number].id)}

    def damaging(item: Model) -> str:
        return "[]" if getattr(item, "turn_id" if item in turns else "id") in damaged else canonical(item)

    with monkeypatch.context() as patch:
        for kind in (TURN, EVENT):
            patch.setattr(kind.codec, "to_canonical", damaging)
        await store.save_turns(turns)
        await store.save_events(events)
    for name, get in (("turn", store.get_turn), ("event", store.get_event)):
        of_kind = [turn.turn_id for turn in turns] if name == "turn" else [event.id for event in events]
        with pytest.raises(StoreError, match=f"^{name} {of_kind[0]}: "):
            await get(tenant, of_kind[0])
    monkeypatch.setattr(paging, "PAGE", 1)
    caplog.clear()
    caplog.set_level(logging.WARNING, "convostore")
    assert await store.list_turns_by_session(tenant, session) == [turns[1], turns[4]]
    assert left_out(caplog) == [str(turns[number].turn_id) for number in (0, 2, 3)]
    assert [turn async for turn in store.iter_turns_by_session(tenant, session)] == [turns[1], turns[4]]
    assert {turn.turn_number for turn in await store.list_turns_by_tenant(tenant)} == {1, 4}
    assert [turn async for turn in store.iter_turns_by_tenant(tenant)] == await store.list_turns_by_tenant(tenant)
    assert {event.id for event in await store.list_events(tenant, limit=2)} == {events[1].id, events[4].id}
    assert {event.id async for event in store.iter_events(tenant)} == {events[1].id, events[4].id}
    # What was recorded is still what was recorded.
    assert (await store.verify(tenant)).problem is None

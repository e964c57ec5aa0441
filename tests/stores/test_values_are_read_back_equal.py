"""Every value that a model accepts is read back equal from every store: generated values, and each field's limits."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic_core import from_json, to_json

from convostore import inmemory, models
from convostore.call.store import Store
from convostore.embedded import Embedded
from convostore.models.base import Model
from convostore.postgres import (
    PostgresAuditStore,
    PostgresConfigStore,
    PostgresMemoryStore,
    PostgresProfileStore,
    PostgresSessionStore,
    create_pool,
)
from convostore.redis import RedisSessionStore, create_client
from convostore.testing.config.rows import CONFIG_ROWS, ConfigRows
from convostore.testing.factories import make_entity
from convostore.tiered import TieredSessionStore
from tests.unit import strategies
from tests.unit.limits import examples

pytestmark = pytest.mark.slow

Call = Callable[[Any, Any], Awaitable[Any]]


@dataclass(frozen=True)
class Way:
    """How a model is saved to a store and read back.

    Attributes:
        store: the kind of store.
        model: the model.
        save: saves an item.
        read: reads it back.
        key: the field of its id.
        name: distinguishes ways of the same model.
    """

    store: str
    model: type[Model]
    save: Call
    read: Call
    key: str = "id"
    name: str = ""

    def __str__(self) -> str:
        return self.name or self.model.__name__


def _config(rows: ConfigRows) -> Way:
    return Way("config", rows.declaration.model, rows.save, rows.get)


def _config_in_bulk(rows: ConfigRows) -> Way:
    async def save(store: Any, item: Any) -> None:
        await rows.save_all(store, [item])

    return Way("config", rows.declaration.model, save, rows.get, name=rows.declaration.plural)


async def _save_relationship(store: Any, edge: Any) -> None:
    for entity_id in {edge.from_entity_id, edge.to_entity_id}:
        await store.save_entity(make_entity(edge.tenant_id, edge.agent_id, id=entity_id))
    await store.add_relationship(edge)


WAYS = [
    *map(_config, CONFIG_ROWS),
    *map(_config_in_bulk, CONFIG_ROWS),
    Way(
        "config",
        models.Scenario,
        lambda store, item: store.archive_scenario_version(item.tenant_id, item),
        lambda store, item: store.get_archived_scenario(item.tenant_id, item.id, item.version),
        name="archive",
    ),
    Way(
        "memory",
        models.Episode,
        lambda store, item: store.add_episode(item),
        lambda store, item: store.get_episode(item.tenant_id, item.id),
    ),
    Way(
        "memory",
        models.Episode,
        lambda store, item: store.add_episodes([item]),
        lambda store, item: store.get_episode(item.tenant_id, item.id),
        name="episodes",
    ),
    Way(
        "memory",
        models.Entity,
        lambda store, item: store.add_entity(item),
        lambda store, item: store.get_entity(item.tenant_id, item.id),
    ),
    Way(
        "memory",
        models.Entity,
        lambda store, item: store.save_entity(item),
        lambda store, item: store.get_entity(item.tenant_id, item.id),
        name="saved entity",
    ),
    Way(
        "memory",
        models.Relationship,
        _save_relationship,
        lambda store, item: store.get_relationship(item.tenant_id, item.id),
    ),
    Way(
        "audit",
        models.TurnRecord,
        lambda store, item: store.save_turn(item),
        lambda store, item: store.get_turn(item.tenant_id, item.turn_id),
        key="turn_id",
    ),
    Way(
        "audit",
        models.AuditEvent,
        lambda store, item: store.save_event(item),
        lambda store, item: store.get_event(item.tenant_id, item.id),
    ),
    Way(
        "profiles",
        models.CustomerProfile,
        lambda store, item: store.save_profile(item),
        lambda store, item: store.get_profile(item.tenant_id, item.id),
    ),
    Way(
        "sessions",
        models.Session,
        lambda store, item: store.save(item),
        lambda store, item: store.get(item.session_id),
        key="session_id",
    ),
]
EVERY_WAY = pytest.mark.parametrize("way", WAYS, ids=str)


@pytest.fixture(scope="module")
async def backends(engines: Embedded) -> AsyncIterator[dict[str, list[Store]]]:
    """Every store of each kind, with a deadline long enough for the largest values."""
    async with await create_pool(engines.postgres_dsn) as pool, create_client(engines.redis_url) as client:
        sessions = PostgresSessionStore(pool)
        tiered = TieredSessionStore(client, sessions)
        opened: dict[str, list[Store]] = {
            "config": [inmemory.InMemoryConfigStore(), PostgresConfigStore(pool)],
            "memory": [inmemory.InMemoryMemoryStore(), PostgresMemoryStore(pool)],
            "audit": [inmemory.InMemoryAuditStore(), PostgresAuditStore(pool)],
            "profiles": [inmemory.InMemoryProfileStore(), PostgresProfileStore(pool)],
            "sessions": [
                inmemory.InMemorySessionStore(),
                sessions,
                RedisSessionStore(client),
                tiered,
            ],
        }
        yield {kind: [store.within(60) for store in stores] for kind, stores in opened.items()}
        await tiered.aclose()


async def check(stores: list[Store], way: Way, drawn: Model) -> None:
    """Save a model as a new one in each store, and compare what is read back."""
    for store in stores:
        new: dict[str, Any] = {"tenant_id": uuid4(), way.key: uuid4()}
        new |= {name: None for name in ("deleted_at", "merged_into") if name in way.model.model_fields}
        new |= {"revision": 0} if "revision" in way.model.model_fields else {}
        item = drawn.model_copy(update=new, deep=True)
        await way.save(store, item)
        found = await way.read(store, item)
        # As text too, because True == 1 == 1.0; by field, because pytest would compare megabytes by character.
        assert differing(item, found) == [], type(store).__name__


def differing(item: Model, found: Model) -> list[str]:
    """Return the fields in which two models differ; objects have no order, and zero has no sign."""
    return [
        name
        for name in type(item).model_fields
        if (one := item.__dict__[name]) != (two := found.__dict__[name]) or _text(one) != _text(two)
    ]


def _text(value: Any) -> str:
    return json.dumps(from_json(to_json(value)), sort_keys=True).replace("-0.0", "0.0")


@EVERY_WAY
@settings(strategies.QUICK, suppress_health_check=list(HealthCheck))
@given(data=st.data())
async def test_generated_values_are_read_back_equal(
    backends: dict[str, list[Store]], way: Way, data: st.DataObject
) -> None:
    await check(backends[way.store], way, data.draw(strategies.models(way.model)))


@pytest.mark.slow
@EVERY_WAY
async def test_the_limits_of_every_field_are_read_back_equal(backends: dict[str, list[Store]], way: Way) -> None:
    for example in examples(way.model):
        await check(backends[way.store], way, example)

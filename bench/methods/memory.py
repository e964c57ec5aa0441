"""The methods of a memory store."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any
from uuid import UUID, uuid4

from bench.data import Vectors, columns
from bench.methods.cases import LIMIT, Arguments, Case, insert, many, ordered, select, upsert, values_of
from bench.methods.slots import EACH, Slot, entity, episode
from convostore import Stores
from convostore.domain.declaration import Declaration
from convostore.domain.declarations import ENTITY, EPISODE, RELATIONSHIP
from convostore.models import Episode
from convostore.testing.factories import make_relationship

_VECTORS = Vectors(7)
_ADDED: dict[UUID, Any] = {}
"""What is deleted in a moment."""


def _of_memory(declaration: Declaration[Any], make: Callable[[Slot], Any]) -> Iterator[Case]:
    """Yield the methods that episodes, entities and relationships have."""
    name, values = declaration.name, values_of(declaration)
    get = select(declaration, "tenant_id = $1 AND id = $2")
    listed = select(declaration, f"tenant_id = $1 AND agent_id = $2 {ordered(declaration)}")
    delete = f"DELETE FROM convostore.{name} WHERE tenant_id = $1 AND id = $2"

    async def added(stores: Stores, arguments: Arguments) -> None:
        # What is deleted is what was added for it.
        await getattr(stores.memory, f"add_{name}")(_ADDED.pop(arguments[1]))

    def new(slot: Slot, _: int) -> Arguments:
        item = make(slot)
        _ADDED[item.id] = item
        return item.tenant_id, item.id

    def first(slot: Slot, _: int) -> Arguments:
        return slot.tenant, slot.rows[name][0].id

    def owner(slot: Slot, _: int) -> Arguments:
        return slot.tenant, slot.agent

    yield Case("memory", f"get_{name}", first, get, model=declaration.model)
    yield Case("memory", declaration.listed, owner, listed, model=declaration.model, options={"limit": LIMIT})
    yield Case("memory", f"add_{name}", lambda slot, _: (make(slot),), insert(declaration), values)
    yield Case(
        "memory",
        f"add_{declaration.plural}",
        lambda slot, _: ([make(slot) for _ in range(EACH)],),
        insert(declaration),
        **many(declaration),
    )
    if declaration.revisioned:
        yield Case("memory", f"save_{name}", lambda s, way: (s.rows[name][way],), upsert(declaration), values)
    yield Case("memory", f"delete_{name}", new, delete, before=added)


def _more_of_memory() -> Iterator[Case]:
    score = f"SELECT {columns(Episode)}, 1 - (embedding <=> $1) AS score FROM convostore.episode"

    def found(slot: Slot, _: int) -> Arguments:
        return "blue parcel", slot.query, slot.tenant, slot.agent

    def start(slot: Slot, _: int) -> Arguments:
        return slot.tenant, [slot.rows["entity"][0].id]

    def owner(slot: Slot, _: int) -> Arguments:
        return slot.tenant, slot.agent

    for name in ("group", "customer"):
        column = {"group": "group_id", "customer": "customer_profile_id"}[name]
        yield Case("memory", f"delete_by_{name}", lambda slot, _: (slot.tenant, uuid4()), _delete_all(column))
    yield Case(
        "memory",
        "vector_search_episodes",
        lambda slot, way: found(slot, way)[1:],
        f"{score} WHERE tenant_id = $2 AND agent_id = $3 ORDER BY embedding <=> $1, id LIMIT 10",
        model=Episode,
        options={"min_score": -1.0},
    )
    yield Case(
        "memory",
        "text_search_episodes",
        lambda slot, _: ("parcel", slot.tenant, slot.agent),
        select(
            EPISODE,
            "tenant_id = $2 AND agent_id = $3 AND to_tsvector('simple', content) @@ plainto_tsquery('simple', $1) "
            "ORDER BY ts_rank(to_tsvector('simple', content), plainto_tsquery('simple', $1)) DESC LIMIT 10",
        ),
    )
    yield Case("memory", "search_episodes", found)
    yield Case("memory", "explain_episodes", found)
    yield Case("memory", "find_entities", owner, options={"name": "Blue parcel"})
    yield Case("memory", "traverse_from_entities", start, options={"max_depth": 2})
    yield Case("memory", "neighbourhood", start, options={"max_depth": 2})
    yield Case("memory", "get_episodes_to_embed", lambda slot, _: (slot.tenant, "another"))
    yield Case(
        "memory",
        "add_embeddings",
        lambda slot, _: (slot.tenant, "another", {item.id: _VECTORS.floats() for item in slot.rows["episode"]}),
    )
    yield Case("memory", "switch_embeddings", lambda *_: (uuid4(), "another"))
    yield Case("memory", "invalidate_relationship", lambda s, way: (s.tenant, s.rows["relationship"][way].id))


def _delete_all(column: str) -> str:
    """Return the statement that deletes what a group or customer has, of all three tables."""
    tables = ("relationship", "entity", "episode") if column == "group_id" else ("entity", "episode")
    gone = [f"DELETE FROM convostore.{table} WHERE tenant_id = $1 AND {column} = $2 RETURNING 1" for table in tables]
    *first, last = gone
    return f"WITH {', '.join(f'gone{number} AS ({sql})' for number, sql in enumerate(first))} {last}"


def _episode(slot: Slot) -> Episode:
    return episode(slot.tenant, slot.agent, slot.customer, slot.session, _VECTORS)


CASES = [
    *_of_memory(EPISODE, _episode),
    *_of_memory(ENTITY, lambda slot: entity(slot.tenant, slot.agent, slot.customer)),
    *_of_memory(RELATIONSHIP, lambda slot: make_relationship(*slot.rows["entity"][:2])),
    *_more_of_memory(),
]

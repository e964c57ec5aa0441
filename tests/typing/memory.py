"""The memory store as its callers see it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime
from typing import assert_type
from uuid import UUID

from convostore.contracts import MemoryStore
from convostore.models import Entity, Episode, Neighbourhood, Relationship, SearchHit


async def episodes(store: MemoryStore, episode: Episode, id: UUID, moment: datetime) -> None:
    assert_type(await store.add_episode(episode), UUID)
    assert_type(await store.add_episodes([episode]), list[UUID])
    assert_type(await store.get_episode(id, id), Episode | None)
    assert_type(await store.get_episodes(id, id, since=moment, limit=None), list[Episode])
    assert_type(store.iter_episodes(id, id), AsyncIterator[Episode])
    assert_type(await store.delete_episode(id, id), bool)
    assert_type(await store.delete_by_group(id, id), int)
    assert_type(await store.delete_by_customer(id, id), int)


async def searching(store: MemoryStore, id: UUID) -> None:
    vector = [0.5, 0.5]
    assert_type(await store.text_search_episodes("refund", id, id, language="english", prefix=True), list[Episode])
    assert_type(await store.vector_search_episodes(vector, id, id, limit=5), list[tuple[Episode, float]])
    assert_type(await store.search_episodes("refund", vector, id, id, min_score=0.5), list[tuple[Episode, float]])
    assert_type(await store.explain_episodes("refund", vector, id, id, context=2, rerank=rerank), list[SearchHit])


async def rerank(query: str, episodes: list[Episode]) -> list[float]:
    return [float(len(query))] * len(episodes)


async def embedding(store: MemoryStore, id: UUID) -> None:
    assert_type(await store.get_episodes_to_embed(id, "model", after=id), list[Episode])
    assert_type(await store.add_embeddings(id, "model", {id: [0.5, 0.5]}), int)
    assert_type(await store.switch_embeddings(id, "model"), int)


async def entities(store: MemoryStore, entity: Entity, id: UUID) -> None:
    assert_type(await store.add_entity(entity), UUID)
    assert_type(await store.add_entities([entity]), list[UUID])
    assert_type(await store.save_entity(entity), UUID)
    assert_type(await store.get_entity(id, id), Entity | None)
    assert_type(await store.get_entities(id, id), list[Entity])
    assert_type(store.iter_entities(id, id), AsyncIterator[Entity])
    assert_type(await store.find_entities(id, id, name="Ann"), list[tuple[Entity, float]])
    assert_type(await store.delete_entity(id, id), bool)


async def relationships(store: MemoryStore, relationship: Relationship, id: UUID, moment: datetime) -> None:
    assert_type(await store.add_relationship(relationship), UUID)
    assert_type(await store.add_relationships([relationship]), list[UUID])
    assert_type(await store.save_relationship(relationship), UUID)
    assert_type(await store.get_relationship(id, id), Relationship | None)
    assert_type(await store.get_relationships(id, id, as_of=moment), list[Relationship])
    assert_type(store.iter_relationships(id, id), AsyncIterator[Relationship])
    assert_type(await store.invalidate_relationship(id, id, at=moment), bool)
    assert_type(await store.delete_relationship(id, id), bool)
    assert_type(await store.traverse_from_entities(id, [id], max_depth=3), list[Relationship])
    assert_type(await store.neighbourhood(id, [id]), Neighbourhood)


async def views_of_a_store(store: MemoryStore, tenant_id: UUID) -> None:
    assert_type(store.for_tenant(tenant_id), MemoryStore)
    assert_type(store.within(60), MemoryStore)


async def what_is_refused(store: MemoryStore, episode: Episode, entity: Entity, id: UUID) -> None:
    await store.add_episode(entity)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await store.add_episodes(episode)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await store.vector_search_episodes("refund", id, id)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await store.search_episodes("refund", id, id)  # type: ignore[arg-type, call-arg]  # pyright: ignore[reportCallIssue]
    await store.get_episodes(id, id, 10)  # type: ignore[arg-type, call-arg]  # pyright: ignore[reportCallIssue]
    await store.delete_by_group(id)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]

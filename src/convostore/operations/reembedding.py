"""Embedding migration: from one embedding model to another while both are searched."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Sequence
from uuid import UUID

from convostore.contracts import MemoryStore
from convostore.errors import ConflictError, ValidationError

__all__ = ["Embedder", "reembed"]

Vectors = Sequence[Sequence[float]]

Embedder = Callable[[list[str]], Vectors | Awaitable[Vectors]]
"""Returns a vector for each text, in their order. A plain function is called in a thread."""

_SWITCH_TIMEOUT = 3_600.0


async def reembed(
    store: MemoryStore,
    tenant_id: UUID,
    embedder: Embedder,
    model: str,
    *,
    batch: int = 100,
    watch: Callable[[int], None] | None = None,
) -> int:
    """Embed a tenant's episodes with another model, then make those embeddings the episodes' own; return how many.

    The new embeddings are stored beside the old ones, batch by batch. Until the switch, which is one transaction, a
    search for the new model finds what is embedded so far, and every other search is as before; afterwards the old
    embeddings are gone. Interrupted, it goes on where it was when called again. Episodes that are added with another
    model during the switch stay as they are: call it again once every writer uses the new model. Episodes without an
    embedding are left alone.

    Args:
        store: the memory store.
        tenant_id: the tenant.
        embedder: the new model.
        model: its name, which becomes the episodes' `embedding_model`.
        batch: how many texts the embedder is given at once, 1 to 1,000.
        watch: is told how many episodes each batch has embedded.

    Raises:
        ValidationError: the embedder returned another number of vectors than it was given texts, or one is invalid.
    """
    while True:
        after = None
        while episodes := await store.get_episodes_to_embed(tenant_id, model, after=after, limit=batch):
            vectors = await _embedded(embedder, [episode.content for episode in episodes])
            if len(vectors) != len(episodes):
                raise ValidationError("embedder: must return a vector for each text")
            given = {episode.id: [*map(float, vector)] for episode, vector in zip(episodes, vectors, strict=True)}
            await store.add_embeddings(tenant_id, model, given)
            after = episodes[-1].id
            if watch:
                watch(len(episodes))
        try:
            return await store.within(_SWITCH_TIMEOUT).switch_embeddings(tenant_id, model)
        except ConflictError:
            continue  # an episode was added since the last batch


async def _embedded(embedder: Embedder, texts: list[str]) -> Vectors:
    if inspect.iscoroutinefunction(embedder):
        coroutine: Awaitable[Vectors] = embedder(texts)
        return await coroutine
    vectors = await asyncio.to_thread(embedder, texts)
    return await vectors if inspect.isawaitable(vectors) else vectors

"""Online migration from one embedding model to another."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Sequence
from typing import Any
from uuid import UUID

from convostore.contracts import MemoryStore
from convostore.errors import ConflictError, ValidationError

__all__ = ["Embedder", "reembed"]

Vectors = Sequence[Sequence[float]]

Embedder = Callable[[list[str]], Vectors | Awaitable[Vectors]]
"""Returns a vector for each text, in order. A function that is not a coroutine function runs in a thread."""

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
    """Embed a tenant's episodes with another model, then switch them to the new embeddings; return their number.

    The new embeddings are stored beside the old ones, batch by batch. Until the switch, which is one transaction, a
    search for the new model finds the episodes embedded so far, and other searches are unaffected; the switch removes
    the old embeddings. An interrupted run is resumed by the next call. Episodes that are added with another model
    during the switch keep it: call this again once every writer uses the new model. Episodes without an embedding are
    skipped.

    Args:
        store: the memory store.
        tenant_id: the tenant.
        embedder: the new model.
        model: its name, which becomes the episodes' `embedding_model`.
        batch: the texts per call of the embedder, 1 to 1,000.
        watch: called after each batch with its number of episodes.

    Raises:
        ValidationError: the embedder returned not one vector per text, or an invalid one.
    """
    while True:
        after = None
        while episodes := await store.get_episodes_to_embed(tenant_id, model, after=after, limit=batch):
            vectors = await embed(embedder, [episode.content for episode in episodes])
            given = {episode.id: vector for episode, vector in zip(episodes, vectors, strict=True)}
            await store.add_embeddings(tenant_id, model, given)
            after = episodes[-1].id
            if watch:
                watch(len(episodes))
        try:
            return await store.within(_SWITCH_TIMEOUT).switch_embeddings(tenant_id, model)
        except ConflictError:
            continue  # an episode was added since the last batch


async def embed(embedder: Embedder, texts: list[str]) -> list[list[float]]:
    """Return what an embedder makes of texts: a vector for each, in order.

    Raises:
        ValidationError: it returned something else.
    """
    made = embedder(texts) if inspect.iscoroutinefunction(embedder) else await asyncio.to_thread(embedder, texts)
    returned: Any = await made if inspect.isawaitable(made) else made
    try:
        vectors = [[*map(float, vector)] for vector in returned]
    except (TypeError, ValueError):
        vectors = []
    if len(vectors) != len(texts):
        raise ValidationError("embedder: must return a vector for each text")
    return vectors

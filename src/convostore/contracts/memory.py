"""The contract of the memory store: what an agent remembers."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import AsyncIterator
from functools import partial
from typing import Annotated
from uuid import UUID

from pydantic import Field

from convostore.call.effects import idempotent, non_idempotent
from convostore.call.paging import paginate
from convostore.call.validation import Limit, Offset
from convostore.contracts.entities import Entities
from convostore.contracts.episode_search import EpisodeSearch
from convostore.contracts.relationships import Relationships
from convostore.models.fields import Identifier, UtcDatetime, Vector, named_keys
from convostore.models.memory import ContentType, Episode

_MANY = Field(max_length=100_000)
_STARTS = Field(max_length=1_000)


class MemoryStore(EpisodeSearch, Entities, Relationships):
    """Episodes, and a graph of entities and relationships, both searchable and bi-temporal.

    `valid_from` and `valid_to` bound the time at which something holds in the world (half-open; None is unbounded).
    `recorded_at` is when the store learned of it. Lists are ordered by `recorded_at`, newest first, then by id. `after`
    is the cursor of keyset pagination: the last item of the page before, stored or not; `iter_…` streams a whole list
    page by page. Deletion is permanent.

    **Adding** inserts: the same id with the same content is a no-op, with other content a `ConflictError`. Adding many
    is all or none, and much faster than one by one. **Saving** entities and relationships is an upsert and a
    compare-and-set on `revision`, as in the configuration store. The store keeps only the current version of each:
    what is no longer true gets an end (`invalidate_relationship`), what was wrong is saved again.
    """

    kind = "memory"

    @abstractmethod
    @idempotent
    async def add_episode(self, episode: Episode) -> UUID:
        """Insert an episode and return its id.

        Raises:
            ConflictError: the id exists with other content.
        """

    @abstractmethod
    @idempotent
    async def add_episodes(self, episodes: Annotated[list[Episode], _MANY]) -> list[UUID]:
        """Insert episodes of one tenant, all or none, and return their ids in the order given.

        Args:
            episodes: at most 100,000. Give the call the time it needs: `store.within(60).add_episodes(…)`.

        Raises:
            ConflictError: an id exists with other content, in the store or in the list; the message names it.
        """

    @abstractmethod
    async def get_episode(self, tenant_id: UUID, episode_id: UUID) -> Episode | None:
        """Return an episode, or None."""

    @abstractmethod
    async def get_episodes(
        self,
        tenant_id: UUID,
        agent_id: UUID,
        *,
        customer_profile_id: UUID | None = None,
        session_id: UUID | None = None,
        group_id: UUID | None = None,
        content_type: ContentType | None = None,
        since: UtcDatetime | None = None,
        until: UtcDatetime | None = None,
        as_of: UtcDatetime | None = None,
        limit: Limit | None = None,
        offset: Offset = 0,
        after: Episode | None = None,
    ) -> list[Episode]:
        """Return an agent's episodes, last recorded first; empty if there are none.

        Args:
            tenant_id: the tenant.
            agent_id: the agent.
            customer_profile_id: only episodes of this customer.
            session_id: only episodes of this session.
            group_id: only episodes of this group.
            content_type: only episodes of this type.
            since: only what occurred at this moment or after it.
            until: only what occurred before this moment.
            as_of: only episodes that are valid at this moment; None means valid or not.
            limit: the maximum number of results, 1 to 1,000; None means all.
            offset: the number of results to skip, 0 to 10,000.
            after: the cursor of keyset pagination: only items behind this one, stored or not.
        """

    def iter_episodes(
        self,
        tenant_id: UUID,
        agent_id: UUID,
        *,
        customer_profile_id: UUID | None = None,
        session_id: UUID | None = None,
        group_id: UUID | None = None,
        content_type: ContentType | None = None,
        since: UtcDatetime | None = None,
        until: UtcDatetime | None = None,
        as_of: UtcDatetime | None = None,
    ) -> AsyncIterator[Episode]:
        """Yield an agent's episodes, last recorded first; keyset pagination, no connection held between pages.

        Args:
            tenant_id: the tenant.
            agent_id: the agent.
            customer_profile_id: this and the next six as in `get_episodes`.
        """
        return paginate(
            partial(
                self.get_episodes,
                tenant_id,
                agent_id,
                customer_profile_id=customer_profile_id,
                session_id=session_id,
                group_id=group_id,
                content_type=content_type,
                since=since,
                until=until,
                as_of=as_of,
            )
        )

    @abstractmethod
    @non_idempotent
    async def delete_episode(self, tenant_id: UUID, episode_id: UUID) -> bool:
        """Delete an episode permanently; return whether it existed."""

    @abstractmethod
    async def get_episodes_to_embed(
        self, tenant_id: UUID, embedding_model: Identifier, *, after: UUID | None = None, limit: Limit = 100
    ) -> list[Episode]:
        """Return episodes that have an embedding, but none of this model, ordered by id.

        Args:
            tenant_id: the tenant.
            embedding_model: the model with which they are to be embedded.
            after: only episodes with a higher id.
            limit: the maximum number of results, 1 to 1,000.
        """

    @abstractmethod
    @idempotent
    async def add_embeddings(
        self,
        tenant_id: UUID,
        embedding_model: Identifier,
        embeddings: Annotated[dict[UUID, Vector], Field(max_length=1_000), named_keys],
    ) -> int:
        """Store embeddings of a model beside the episodes' own, where a search for that model finds them at once.

        Return how many of those given are stored now. Those of episodes that are gone, or whose own embedding is of
        this model, are left out. An existing embedding is replaced.

        Args:
            tenant_id: the tenant.
            embedding_model: the model.
            embeddings: the vectors by the ids of their episodes, at most 1,000.
        """

    @abstractmethod
    @non_idempotent
    async def switch_embeddings(self, tenant_id: UUID, embedding_model: Identifier) -> int:
        """Make the embeddings of a model the episodes' own, all at once, and drop those they had; return how many.

        Raises:
            ConflictError: an episode has an embedding, but none of this model.
        """

    @abstractmethod
    @non_idempotent
    async def delete_by_group(self, tenant_id: UUID, group_id: UUID) -> int:
        """Delete a group's episodes, entities and relationships permanently, atomically; return the number of rows.

        Relationships of other groups that touch a deleted entity go with it and are counted.
        """

    @abstractmethod
    @non_idempotent
    async def delete_by_customer(self, tenant_id: UUID, customer_profile_id: UUID) -> int:
        """Delete a customer's episodes and entities of all agents permanently, atomically; return the number of rows.

        Relationships that touch a deleted entity go with it and are counted.
        """

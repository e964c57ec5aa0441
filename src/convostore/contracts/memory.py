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
from convostore.call.validation import Depth, Limit, Offset, Score
from convostore.contracts.episode_search import EpisodeSearch
from convostore.models.fields import Identifier, TypeName, UtcDatetime, Vector, named_keys
from convostore.models.memory import ContentType, Entity, EntityName, Episode, Neighbourhood, Relationship

_MANY = Field(max_length=100_000)
_STARTS = Field(max_length=1_000)


class MemoryStore(EpisodeSearch):
    """Episodes, and a graph of entities and relationships, both searchable and bi-temporal.

    `valid_from` and `valid_to` bound when something held in the world (half-open; None is unbounded), `recorded_at` is
    when the store learned of it. Lists are ordered by `recorded_at`, newest first, then by id. `after` is the cursor of
    keyset pagination: the last item of the page before, stored or not; `iter_…` streams a whole list page by page.
    Deletion is permanent.

    **Adding** inserts: the same id with the same content is a no-op, with other content a `ConflictError`. Adding many
    is all or none, and much faster than one by one. **Saving** entities and relationships is an upsert and a
    compare-and-set on `revision`, as in the configuration store. The store keeps the current version of each: what
    became false is given an end (`invalidate_relationship`), what was wrong is saved anew.
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
            customer_profile_id: and the six that follow: as in `get_episodes`.
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
            embedding_model: the model that they are to be embedded with.
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

        Return how many there are now of those given: those of episodes that are gone, or whose own embedding is of this
        model, are left out. An embedding that is there already is replaced.

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

    @abstractmethod
    @idempotent
    async def add_entity(self, entity: Entity) -> UUID:
        """Insert an entity and return its id.

        Raises:
            ConflictError: the id exists with other content.
        """

    @abstractmethod
    @idempotent
    async def add_entities(self, entities: Annotated[list[Entity], _MANY]) -> list[UUID]:
        """Insert entities of one tenant, all or none, and return their ids in the order given.

        Args:
            entities: at most 100,000.

        Raises:
            ConflictError: an id exists with other content, in the store or in the list; the message names it.
        """

    @abstractmethod
    @idempotent
    async def save_entity(self, entity: Entity, *, overwrite: bool = False) -> UUID:
        """Upsert an entity, a compare-and-set on its revision, and return its id.

        Raises:
            ConflictError: the stored revision is another, the entity was deleted, or the id exists.
        """

    @abstractmethod
    async def get_entity(self, tenant_id: UUID, entity_id: UUID) -> Entity | None:
        """Return an entity, or None."""

    @abstractmethod
    async def get_entities(
        self,
        tenant_id: UUID,
        agent_id: UUID,
        *,
        entity_type: TypeName | None = None,
        customer_profile_id: UUID | None = None,
        as_of: UtcDatetime | None = None,
        limit: Limit | None = None,
        offset: Offset = 0,
        after: Entity | None = None,
    ) -> list[Entity]:
        """Return an agent's entities, last recorded first; empty if there are none.

        Args:
            tenant_id: the tenant.
            agent_id: the agent.
            entity_type: only entities of this type.
            customer_profile_id: only entities of this customer.
            as_of: only entities that are valid at this moment; None means valid or not.
            limit: the maximum number of results, 1 to 1,000; None means all.
            offset: the number of results to skip, 0 to 10,000.
            after: the cursor of keyset pagination: only items behind this one, stored or not.
        """

    def iter_entities(
        self,
        tenant_id: UUID,
        agent_id: UUID,
        *,
        entity_type: TypeName | None = None,
        customer_profile_id: UUID | None = None,
        as_of: UtcDatetime | None = None,
    ) -> AsyncIterator[Entity]:
        """Yield an agent's entities, last recorded first; keyset pagination, no connection held between pages.

        Args:
            tenant_id: the tenant.
            agent_id: the agent.
            entity_type: and the two that follow: as in `get_entities`.
        """
        return paginate(
            partial(
                self.get_entities,
                tenant_id,
                agent_id,
                entity_type=entity_type,
                customer_profile_id=customer_profile_id,
                as_of=as_of,
            )
        )

    @abstractmethod
    async def find_entities(
        self,
        tenant_id: UUID,
        agent_id: UUID,
        *,
        name: EntityName | None = None,
        entity_type: TypeName | None = None,
        query_embedding: Vector | None = None,
        embedding_model: Identifier | None = None,
        customer_profile_id: UUID | None = None,
        as_of: UtcDatetime | None = None,
        limit: Limit = 10,
        offset: Offset = 0,
        min_score: Score = 0.0,
    ) -> list[tuple[Entity, float]]:
        """Return an agent's entities by name, type and meaning with their scores, best first; empty if there are none.

        Names are compared as they look, as text search does. One that is the same scores 1.0, one that has a word of
        the name in common above 0.5 to 0.9, one that has a word beginning with a word of the name up to 0.2. Within
        these, the score grows with the share of the words of the longer name that are in common; a beginning counts
        half. Equal scores are ordered as lists are.

        With a vector, the score is the cosine similarity instead, only entities whose embedding has as many dimensions
        are compared, a name leaves out those that do not match it, and equal scores are ordered by id. Without either,
        every entity that fits scores 1.0.

        Args:
            tenant_id: the tenant.
            agent_id: the agent.
            name: a name as it is typed, of which the first 64 words are looked for.
            entity_type: only entities of this type.
            query_embedding: 1 to 4,000 finite numbers, not all zero.
            embedding_model: only entities whose `embedding_model` is this.
            customer_profile_id: only entities of this customer.
            as_of: only entities that are valid at this moment; None means valid or not.
            limit: the maximum number of results, 1 to 1,000.
            offset: the number of results to skip, 0 to 10,000.
            min_score: the lowest score to return, -1 to 1, inclusive.
        """

    @abstractmethod
    @non_idempotent
    async def delete_entity(self, tenant_id: UUID, entity_id: UUID) -> bool:
        """Delete an entity permanently, with the relationships that touch it; return whether it existed."""

    @abstractmethod
    @idempotent
    async def add_relationship(self, relationship: Relationship) -> UUID:
        """Insert a relationship and return its id.

        Raises:
            NotFoundError: one of its entities does not exist.
            ConflictError: the id exists with other content.
        """

    @abstractmethod
    @idempotent
    async def add_relationships(self, relationships: Annotated[list[Relationship], _MANY]) -> list[UUID]:
        """Insert relationships of one tenant, all or none, and return their ids in the order given.

        Args:
            relationships: at most 100,000.

        Raises:
            NotFoundError: an entity does not exist.
            ConflictError: an id exists with other content, in the store or in the list; the message names it.
        """

    @abstractmethod
    @idempotent
    async def save_relationship(self, relationship: Relationship, *, overwrite: bool = False) -> UUID:
        """Upsert a relationship, a compare-and-set on its revision, and return its id.

        Raises:
            NotFoundError: one of its entities does not exist.
            ConflictError: the stored revision is another, the relationship was deleted, or the id exists.
        """

    @abstractmethod
    async def get_relationship(self, tenant_id: UUID, relationship_id: UUID) -> Relationship | None:
        """Return a relationship, or None."""

    @abstractmethod
    async def get_relationships(
        self,
        tenant_id: UUID,
        agent_id: UUID,
        *,
        relation_type: TypeName | None = None,
        from_entity_id: UUID | None = None,
        to_entity_id: UUID | None = None,
        as_of: UtcDatetime | None = None,
        limit: Limit | None = None,
        offset: Offset = 0,
        after: Relationship | None = None,
    ) -> list[Relationship]:
        """Return an agent's relationships, last recorded first; empty if there are none.

        Args:
            tenant_id: the tenant.
            agent_id: the agent.
            relation_type: only relationships of this type.
            from_entity_id: only those that start at this entity.
            to_entity_id: only those that end at this entity.
            as_of: only relationships that are valid at this moment; None means valid or not.
            limit: the maximum number of results, 1 to 1,000; None means all.
            offset: the number of results to skip, 0 to 10,000.
            after: the cursor of keyset pagination: only items behind this one, stored or not.
        """

    def iter_relationships(
        self,
        tenant_id: UUID,
        agent_id: UUID,
        *,
        relation_type: TypeName | None = None,
        from_entity_id: UUID | None = None,
        to_entity_id: UUID | None = None,
        as_of: UtcDatetime | None = None,
    ) -> AsyncIterator[Relationship]:
        """Yield an agent's relationships, last recorded first; keyset pagination, no connection held between pages.

        Args:
            tenant_id: the tenant.
            agent_id: the agent.
            relation_type: and the three that follow: as in `get_relationships`.
        """
        return paginate(
            partial(
                self.get_relationships,
                tenant_id,
                agent_id,
                relation_type=relation_type,
                from_entity_id=from_entity_id,
                to_entity_id=to_entity_id,
                as_of=as_of,
            )
        )

    @abstractmethod
    @idempotent
    async def invalidate_relationship(
        self, tenant_id: UUID, relationship_id: UUID, *, at: UtcDatetime | None = None
    ) -> bool:
        """End the validity of a relationship; return whether it exists.

        Its `valid_to` becomes the moment and its revision rises, so that a stale copy cannot overwrite it. One that
        ended at the moment or before is unchanged. A moment at or before `valid_from` means that it never held.

        Args:
            tenant_id: the tenant.
            relationship_id: the relationship.
            at: the first moment at which it no longer holds; None means now.
        """

    @abstractmethod
    @non_idempotent
    async def delete_relationship(self, tenant_id: UUID, relationship_id: UUID) -> bool:
        """Delete a relationship permanently; return whether it existed."""

    @abstractmethod
    async def traverse_from_entities(
        self,
        tenant_id: UUID,
        entity_ids: Annotated[list[UUID], _STARTS],
        *,
        relationship_types: list[TypeName] | None = None,
        max_depth: Depth = 2,
        as_of: UtcDatetime | None = None,
    ) -> list[Relationship]:
        """Return the relationships reached from entities along edges in both directions, each once.

        Ordered by depth (the fewest edges from a start), then by `recorded_at`, oldest first, then by id. Only
        relationships that are valid at the moment are followed.

        Args:
            tenant_id: the tenant.
            entity_ids: where to start, at most 1,000; unknown ones lead nowhere.
            relationship_types: follow only these types; None means all, an empty list none.
            max_depth: how many edges to follow, 1 to 10.
            as_of: the moment at which a relationship must be valid; None means now.
        """

    @abstractmethod
    async def neighbourhood(
        self,
        tenant_id: UUID,
        entity_ids: Annotated[list[UUID], _STARTS],
        *,
        relationship_types: list[TypeName] | None = None,
        max_depth: Depth = 1,
        as_of: UtcDatetime | None = None,
    ) -> Neighbourhood:
        """Return what `traverse_from_entities` does together with the entities: the starts and all ends.

        Relationships are ordered as there; entities by depth (0 for a start), then by `recorded_at`, oldest first, then
        by id. Entities are returned whether they are valid at the moment or not: no relationship lacks an end.

        Args:
            tenant_id: the tenant.
            entity_ids: where to start, at most 1,000; unknown ones are left out.
            relationship_types: follow only these types; None means all, an empty list none.
            max_depth: how many edges to follow, 1 to 10.
            as_of: the moment at which a relationship must be valid; None means now.
        """

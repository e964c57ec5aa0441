"""The contract of the memory store: what an agent remembers."""

from __future__ import annotations

from abc import abstractmethod
from typing import Annotated
from uuid import UUID

from pydantic import Field

from convostore.core.boundary import Store
from convostore.core.operations import writes, writes_once
from convostore.core.validation import Depth, Limit, Offset, Score
from convostore.models.fields import Identifier, Language, Text, TypeName, UtcDatetime, Vector
from convostore.models.memory import Entity, Episode, Relationship


class MemoryStore(Store):
    """Episodes, and a graph of entities and relationships, both searchable and bi-temporal.

    `valid_from` and `valid_to` say when something held in the world (half-open), `recorded_at` when the store learned
    of it. Lists are ordered by `recorded_at`, newest first, then by id. Deletion is for good.

    **Adding** stores a new object: the same id with the same content does nothing, with other content it is a
    `ConflictError`. **Saving** entities and relationships is a compare-and-set on `revision`, as in the configuration
    store.
    """

    kind = "memory"

    @abstractmethod
    @writes
    async def add_episode(self, episode: Episode) -> UUID:
        """Store a new episode and return its id.

        Raises:
            ConflictError: the id is taken by other content.
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
        limit: Limit | None = None,
        offset: Offset = 0,
    ) -> list[Episode]:
        """Return an agent's episodes, last recorded first; empty if there are none.

        Args:
            tenant_id: the tenant.
            agent_id: the agent.
            customer_profile_id: only episodes of this customer.
            session_id: only episodes of this session.
            group_id: only episodes of this group.
            limit: how many at most, 1 to 1,000; None means all.
            offset: how many to skip, 0 to 10,000.
        """

    @abstractmethod
    @writes_once
    async def delete_episode(self, tenant_id: UUID, episode_id: UUID) -> bool:
        """Delete an episode for good; return whether it was there."""

    @abstractmethod
    async def vector_search_episodes(
        self,
        query_embedding: Vector,
        tenant_id: UUID,
        agent_id: UUID,
        *,
        customer_profile_id: UUID | None = None,
        limit: Limit = 10,
        offset: Offset = 0,
        min_score: Score = 0.0,
        embedding_model: Identifier | None = None,
    ) -> list[tuple[Episode, float]]:
        """Return an agent's episodes nearest to a vector with their scores, best first, equal scores by id.

        The score is the cosine similarity, -1 to 1, to six decimals. Only episodes whose embedding has as many
        dimensions as the query are compared; the others, and those without an embedding, are left out.

        Args:
            query_embedding: 1 to 4,000 finite numbers, not all zero.
            tenant_id: the tenant.
            agent_id: the agent.
            customer_profile_id: only episodes of this customer.
            limit: how many at most, 1 to 1,000.
            offset: how many to skip, 0 to 10,000.
            min_score: the lowest score to return, -1 to 1, inclusive.
            embedding_model: only episodes whose `embedding_model` is this.
        """

    @abstractmethod
    async def text_search_episodes(
        self,
        query: Text,
        tenant_id: UUID,
        agent_id: UUID,
        *,
        language: Language = "simple",
        limit: Limit = 10,
        offset: Offset = 0,
    ) -> list[Episode]:
        """Return an agent's episodes that match a text query, best first, equal ranks by id.

        The query has the syntax of a web search: words are joined by AND, `or` means OR, quotes make a phrase and a
        minus excludes. Any string is accepted; one without words finds nothing. Words are compared without regard to
        case.

        Args:
            query: the query.
            tenant_id: the tenant.
            agent_id: the agent.
            language: the text search configuration of the query; only episodes with the same `language` are found.
            limit: how many at most, 1 to 1,000.
            offset: how many to skip, 0 to 10,000.
        """

    @abstractmethod
    @writes_once
    async def delete_by_group(self, tenant_id: UUID, group_id: UUID) -> int:
        """Delete a group's episodes, entities and relationships for good, at once; return how many that were.

        Relationships of other groups that touch a deleted entity go with it and are counted.
        """

    @abstractmethod
    @writes
    async def add_entity(self, entity: Entity) -> UUID:
        """Store a new entity and return its id.

        Raises:
            ConflictError: the id is taken by other content.
        """

    @abstractmethod
    @writes
    async def save_entity(self, entity: Entity, *, overwrite: bool = False) -> UUID:
        """Store an entity and return its id.

        Raises:
            ConflictError: the stored revision is another, the entity was deleted, or the id is taken.
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
        limit: Limit | None = None,
        offset: Offset = 0,
    ) -> list[Entity]:
        """Return an agent's entities, last recorded first; empty if there are none.

        Args:
            tenant_id: the tenant.
            agent_id: the agent.
            entity_type: only entities of this type.
            customer_profile_id: only entities of this customer.
            limit: how many at most, 1 to 1,000; None means all.
            offset: how many to skip, 0 to 10,000.
        """

    @abstractmethod
    @writes_once
    async def delete_entity(self, tenant_id: UUID, entity_id: UUID) -> bool:
        """Delete an entity for good, with the relationships that touch it; return whether it was there."""

    @abstractmethod
    @writes
    async def add_relationship(self, relationship: Relationship) -> UUID:
        """Store a new relationship and return its id.

        Raises:
            NotFoundError: one of its entities is not there.
            ConflictError: the id is taken by other content.
        """

    @abstractmethod
    @writes
    async def save_relationship(self, relationship: Relationship, *, overwrite: bool = False) -> UUID:
        """Store a relationship and return its id.

        Raises:
            NotFoundError: one of its entities is not there.
            ConflictError: the stored revision is another, the relationship was deleted, or the id is taken.
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
        limit: Limit | None = None,
        offset: Offset = 0,
    ) -> list[Relationship]:
        """Return an agent's relationships, last recorded first; empty if there are none.

        Args:
            tenant_id: the tenant.
            agent_id: the agent.
            relation_type: only relationships of this type.
            from_entity_id: only those that start at this entity.
            to_entity_id: only those that end at this entity.
            limit: how many at most, 1 to 1,000; None means all.
            offset: how many to skip, 0 to 10,000.
        """

    @abstractmethod
    @writes_once
    async def delete_relationship(self, tenant_id: UUID, relationship_id: UUID) -> bool:
        """Delete a relationship for good; return whether it was there."""

    @abstractmethod
    async def traverse_from_entities(
        self,
        tenant_id: UUID,
        entity_ids: Annotated[list[UUID], Field(max_length=1_000)],
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

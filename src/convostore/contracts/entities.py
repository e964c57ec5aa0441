"""The entities of the memory store's contract, and their search."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import AsyncIterator
from functools import partial
from typing import Annotated
from uuid import UUID

from pydantic import Field

from convostore.call.effects import idempotent, non_idempotent
from convostore.call.paging import paginate
from convostore.call.store import Store
from convostore.call.validation import Limit, Offset, Score
from convostore.models.fields import Identifier, TypeName, UtcDatetime, Vector
from convostore.models.memory import Entity, EntityName

_MANY = Field(max_length=100_000)


class Entities(Store):
    """Entities and their search, which are part of `MemoryStore`."""

    kind = "memory"

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
            entity_type: this and the next two as in `get_entities`.
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

        Names are compared as they look, as in text search. The same name scores 1.0; one that shares a word, more than
        0.5 and up to 0.9; one with a word that only begins with a word of the name, up to 0.2. Within these bounds the
        score grows with the share of the longer name's words that are in common; a beginning counts half. Equal scores
        are ordered as lists are.

        With a vector, the score is the cosine similarity instead, and equal scores are ordered by id. Only entities
        whose embedding has as many dimensions are compared; a name leaves out those that do not match it. Without name
        and vector every entity that fits scores 1.0.

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

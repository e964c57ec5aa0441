"""The relationships of the memory store's contract, and traversal along them."""

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
from convostore.call.validation import Depth, Limit, Offset
from convostore.models.fields import TypeName, UtcDatetime
from convostore.models.memory import Neighbourhood, Relationship

_MANY = Field(max_length=100_000)
_STARTS = Field(max_length=1_000)


class Relationships(Store):
    """Relationships and traversal, which are part of `MemoryStore`."""

    kind = "memory"

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
            relation_type: this and the next three as in `get_relationships`.
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

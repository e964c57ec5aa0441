"""The memory store above the waist."""

from __future__ import annotations

from abc import abstractmethod
from typing import TypeVar
from uuid import UUID

from convostore.contracts.memory import MemoryStore
from convostore.core.entities import ENTITY, EPISODE, RELATIONSHIP, Declaration
from convostore.core.tables import Table
from convostore.models import Entity, Episode, Relationship
from convostore.models.base import Model

M = TypeVar("M", bound=Model)


class TableMemoryStore(MemoryStore):
    """Everything but searches, traversal and what deletes more than one row."""

    @abstractmethod
    def _table(self, declaration: Declaration[M]) -> Table[M]:
        """Return the table of an entity."""

    async def add_episode(self, episode: Episode) -> UUID:
        await self._table(EPISODE).add(episode)
        return episode.id

    async def get_episode(self, tenant_id: UUID, episode_id: UUID) -> Episode | None:
        return await self._table(EPISODE).get(tenant_id, id=episode_id)

    async def get_episodes(
        self,
        tenant_id: UUID,
        agent_id: UUID,
        *,
        customer_profile_id: UUID | None = None,
        session_id: UUID | None = None,
        group_id: UUID | None = None,
        limit: int | None = None,
        offset: int = 0,
    ) -> list[Episode]:
        where = {
            "agent_id": agent_id,
            "customer_profile_id": customer_profile_id,
            "session_id": session_id,
            "group_id": group_id,
        }
        return await self._table(EPISODE).find(tenant_id, where, limit=limit, offset=offset)

    async def delete_episode(self, tenant_id: UUID, episode_id: UUID) -> bool:
        return await self._table(EPISODE).delete(tenant_id, id=episode_id)

    async def add_entity(self, entity: Entity) -> UUID:
        await self._table(ENTITY).add(entity)
        return entity.id

    async def save_entity(self, entity: Entity, *, overwrite: bool = False) -> UUID:
        await self._table(ENTITY).save(entity, overwrite=overwrite)
        return entity.id

    async def get_entity(self, tenant_id: UUID, entity_id: UUID) -> Entity | None:
        return await self._table(ENTITY).get(tenant_id, id=entity_id)

    async def get_entities(
        self,
        tenant_id: UUID,
        agent_id: UUID,
        *,
        entity_type: str | None = None,
        customer_profile_id: UUID | None = None,
        limit: int | None = None,
        offset: int = 0,
    ) -> list[Entity]:
        where = {"agent_id": agent_id, "entity_type": entity_type, "customer_profile_id": customer_profile_id}
        return await self._table(ENTITY).find(tenant_id, where, limit=limit, offset=offset)

    async def add_relationship(self, relationship: Relationship) -> UUID:
        await self._table(RELATIONSHIP).add(relationship)
        return relationship.id

    async def save_relationship(self, relationship: Relationship, *, overwrite: bool = False) -> UUID:
        await self._table(RELATIONSHIP).save(relationship, overwrite=overwrite)
        return relationship.id

    async def get_relationship(self, tenant_id: UUID, relationship_id: UUID) -> Relationship | None:
        return await self._table(RELATIONSHIP).get(tenant_id, id=relationship_id)

    async def get_relationships(
        self,
        tenant_id: UUID,
        agent_id: UUID,
        *,
        relation_type: str | None = None,
        from_entity_id: UUID | None = None,
        to_entity_id: UUID | None = None,
        limit: int | None = None,
        offset: int = 0,
    ) -> list[Relationship]:
        where = {
            "agent_id": agent_id,
            "relation_type": relation_type,
            "from_entity_id": from_entity_id,
            "to_entity_id": to_entity_id,
        }
        return await self._table(RELATIONSHIP).find(tenant_id, where, limit=limit, offset=offset)

    async def delete_relationship(self, tenant_id: UUID, relationship_id: UUID) -> bool:
        return await self._table(RELATIONSHIP).delete(tenant_id, id=relationship_id)

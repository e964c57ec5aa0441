"""The rules of the configuration store's contract, and their searches."""

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
from convostore.models.config import Rule
from convostore.models.enums import Scope
from convostore.models.fields import Identifier, Text, Vector

_MANY = Field(max_length=1_000)


class Rules(Store):
    """Rules and their searches, which are part of `ConfigStore`."""

    kind = "config"

    @abstractmethod
    async def get_rule(self, tenant_id: UUID, rule_id: UUID) -> Rule | None:
        """Return a rule, or None."""

    @abstractmethod
    async def get_rules(
        self,
        tenant_id: UUID,
        agent_id: UUID,
        *,
        scope: Scope | None = None,
        scope_id: UUID | None = None,
        enabled_only: bool = True,
        limit: Limit | None = None,
        offset: Offset = 0,
        after: Rule | None = None,
    ) -> list[Rule]:
        """Return an agent's rules, ordered by priority, highest first, then name; empty if there are none.

        Args:
            tenant_id: the tenant.
            agent_id: the agent.
            scope: only those of this scope.
            scope_id: only those of this scenario or step.
            enabled_only: leave out disabled ones.
            limit: the maximum number of results, 1 to 1,000; None means all.
            offset: the number of results to skip, 0 to 10,000.
            after: the cursor of keyset pagination: only items behind this one, stored or not.
        """

    def iter_rules(
        self,
        tenant_id: UUID,
        agent_id: UUID,
        *,
        scope: Scope | None = None,
        scope_id: UUID | None = None,
        enabled_only: bool = True,
    ) -> AsyncIterator[Rule]:
        """Yield all of an agent's rules in the order of `get_rules`, with its filters."""
        return paginate(
            partial(self.get_rules, tenant_id, agent_id, scope=scope, scope_id=scope_id, enabled_only=enabled_only)
        )

    @abstractmethod
    @idempotent
    async def save_rule(self, rule: Rule, *, overwrite: bool = False) -> UUID:
        """Upsert a rule, a compare-and-set on its revision, and return its id."""

    @abstractmethod
    @idempotent
    async def save_rules(self, rules: Annotated[list[Rule], _MANY], *, overwrite: bool = False) -> list[UUID]:
        """Upsert rules of one tenant, all or none, and return their ids in the order given."""

    @abstractmethod
    @non_idempotent
    async def delete_rule(self, tenant_id: UUID, rule_id: UUID) -> bool:
        """Delete a rule softly; return whether it existed."""

    @abstractmethod
    @non_idempotent
    async def restore_rule(self, tenant_id: UUID, rule_id: UUID) -> bool:
        """Restore a deleted rule; return whether there was one."""

    @abstractmethod
    async def vector_search_rules(
        self,
        query_embedding: Vector,
        tenant_id: UUID,
        agent_id: UUID,
        *,
        limit: Limit = 10,
        offset: Offset = 0,
        min_score: Score = 0.0,
        enabled_only: bool = True,
        embedding_model: Identifier | None = None,
    ) -> list[tuple[Rule, float]]:
        """Return an agent's rules nearest to a vector with their scores, best first, equal scores by id.

        The score is the cosine similarity, -1 to 1, to six decimals. Only rules whose embedding has as many
        dimensions as the query are compared; the others, and those without an embedding, are left out.

        Args:
            query_embedding: 1 to 4,000 finite numbers, not all zero.
            tenant_id: the tenant.
            agent_id: the agent.
            limit: the maximum number of results, 1 to 1,000.
            offset: the number of results to skip, 0 to 10,000.
            min_score: the lowest score to return, -1 to 1, inclusive.
            enabled_only: leave out disabled rules.
            embedding_model: only rules whose `embedding_model` is this.
        """

    @abstractmethod
    async def search_rules(
        self,
        query: Text,
        query_embedding: Vector,
        tenant_id: UUID,
        agent_id: UUID,
        *,
        limit: Limit = 10,
        enabled_only: bool = True,
    ) -> list[tuple[Rule, float]]:
        """Return an agent's rules by words and meaning with their scores, best first, equal scores by id.

        A rule is found if its `condition_text` matches the query as a text does in `search_episodes`, in the store's
        language, or if its embedding has as many dimensions as the query's. The score is that of `search_episodes` with
        equal weights. All rules of the agent are candidates, and count for how frequent a word is; disabled ones only
        if they are asked for.

        Args:
            query: the words; those beyond 10,000 characters or 64 terms are ignored.
            query_embedding: 1 to 4,000 finite numbers, not all zero.
            tenant_id: the tenant.
            agent_id: the agent.
            limit: the maximum number of results, 1 to 1,000.
            enabled_only: leave out disabled rules.
        """

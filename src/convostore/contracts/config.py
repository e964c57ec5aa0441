"""The contract of the configuration store: what an agent is."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import AsyncIterator
from functools import partial
from typing import Annotated, Any
from uuid import UUID

from pydantic import Field

from convostore.call.effects import idempotent, non_idempotent
from convostore.call.paging import paginate
from convostore.call.validation import Limit, Offset
from convostore.contracts.rules import Rules
from convostore.contracts.scenarios import Scenarios
from convostore.models.config import Agent, AgentConfig, Template, ToolActivation, Variable
from convostore.models.enums import Scope
from convostore.models.fields import Identifier, Key, UtcDatetime

_MANY = Field(max_length=1_000)


class ConfigStore(Rules, Scenarios):
    """Agents and what belongs to them, with revisions and soft delete.

    **Saving** is an upsert and a compare-and-set on `revision`: 0 for a new object, else the revision it was read with.
    On success the caller's object holds the store-managed fields: the new `revision` and `updated_at`, and after the
    first save `created_at`. `overwrite=True` stores it whatever revision is stored, and is not idempotent. Every
    `save_` method raises `ConflictError` if another revision is stored (`current_revision`), the object is deleted, the
    id of a new one is in use, or a living object has its unique value: the name of an agent in its tenant, the name of
    a variable and the tool of an activation in their agent.

    The bulk `save_` methods take at most 1,000 objects of one tenant, store all or none in one round trip, and return
    their ids in the order given. Each object is checked as if saved alone, against the state before the call: a name
    that the same call frees is still in use. `ConflictError` names the id of the first object refused. An id
    twice in the list is a `ValidationError`, a unique value twice a `ConflictError`. After a failure the caller's
    objects are unchanged.

    **Lists** have total orders. `after` is the cursor of keyset pagination: the last item of the page before, stored or
    not. `iter_…` streams a whole list page by page and holds no connection between pages; it may or may not
    return concurrent changes.

    **Deleting** is soft: no read, search, count or uniqueness check sees the object until it is restored; purging
    removes it for good. `delete_` and `restore_` return whether there was something to do; restoring raises
    `ConflictError` if a living object has got a unique value since.

    An agent need not exist for its rules, scenarios, templates, variables and tool activations to be stored.

    **Migration plans.** At most one living plan between two versions of a scenario is pending, approved or deployed.
    The store checks no other transition of `status`; the caller sets who approved and deployed it and when. The
    compare-and-set on `revision` ensures that a decision was made on the stored state.
    """

    kind = "config"

    @abstractmethod
    async def get_agent(self, tenant_id: UUID, agent_id: UUID) -> Agent | None:
        """Return an agent, or None."""

    @abstractmethod
    async def get_agents(
        self,
        tenant_id: UUID,
        *,
        enabled_only: bool = False,
        limit: Limit = 20,
        offset: Offset = 0,
        after: Agent | None = None,
    ) -> tuple[list[Agent], int]:
        """Return a page of a tenant's agents, ordered by name, and how many there are in all.

        Args:
            tenant_id: the tenant.
            enabled_only: leave out disabled agents, also from the total.
            limit: the maximum number of results, 1 to 1,000.
            offset: the number of results to skip, 0 to 10,000.
            after: the cursor of keyset pagination: only items behind this one, stored or not.
        """

    def iter_agents(self, tenant_id: UUID, *, enabled_only: bool = False) -> AsyncIterator[Agent]:
        """Yield all of a tenant's agents, ordered by name; on request the enabled ones alone."""

        async def page(**page: Any) -> list[Agent]:
            return (await self.get_agents(tenant_id, enabled_only=enabled_only, **page))[0]

        return paginate(page)

    @abstractmethod
    @idempotent
    async def save_agent(self, agent: Agent, *, overwrite: bool = False) -> UUID:
        """Upsert an agent, a compare-and-set on its revision, and return its id."""

    @abstractmethod
    @idempotent
    async def save_agents(self, agents: Annotated[list[Agent], _MANY], *, overwrite: bool = False) -> list[UUID]:
        """Upsert agents of one tenant, all or none, and return their ids in the order given."""

    @abstractmethod
    @non_idempotent
    async def delete_agent(self, tenant_id: UUID, agent_id: UUID) -> bool:
        """Delete an agent softly with everything that belongs to it, atomically; return whether it existed."""

    @abstractmethod
    @non_idempotent
    async def restore_agent(self, tenant_id: UUID, agent_id: UUID) -> bool:
        """Restore a deleted agent with exactly what was deleted with it, atomically; return whether there was one.

        Raises:
            ConflictError: a living object has its name, or a unique value of what belongs to it; nothing is restored.
        """

    @abstractmethod
    async def get_agent_config(self, tenant_id: UUID, agent_id: UUID, *, embeddings: bool = True) -> AgentConfig | None:
        """Return all that an agent needs for a turn, from one snapshot, or None if there is no such agent.

        That is the agent, enabled or not, its enabled rules and scenarios, and all its templates, variables and tool
        activations, each in the order of its list.

        Args:
            tenant_id: the tenant.
            agent_id: the agent.
            embeddings: False leaves out the embeddings of rules, scenarios and transitions: they are None.
        """

    @abstractmethod
    async def get_template(self, tenant_id: UUID, template_id: UUID) -> Template | None:
        """Return a template, or None."""

    @abstractmethod
    async def get_templates(
        self,
        tenant_id: UUID,
        agent_id: UUID,
        *,
        scope: Scope | None = None,
        scope_id: UUID | None = None,
        limit: Limit | None = None,
        offset: Offset = 0,
        after: Template | None = None,
    ) -> list[Template]:
        """Return an agent's templates, ordered by name; empty if there are none.

        Args:
            tenant_id: the tenant.
            agent_id: the agent.
            scope: only those of this scope.
            scope_id: only those of this scenario or step.
            limit: the maximum number of results, 1 to 1,000; None means all.
            offset: the number of results to skip, 0 to 10,000.
            after: the cursor of keyset pagination: only items behind this one, stored or not.
        """

    def iter_templates(
        self, tenant_id: UUID, agent_id: UUID, *, scope: Scope | None = None, scope_id: UUID | None = None
    ) -> AsyncIterator[Template]:
        """Yield all of an agent's templates in the order of `get_templates`, with its filters."""
        return paginate(partial(self.get_templates, tenant_id, agent_id, scope=scope, scope_id=scope_id))

    @abstractmethod
    @idempotent
    async def save_template(self, template: Template, *, overwrite: bool = False) -> UUID:
        """Upsert a template, a compare-and-set on its revision, and return its id."""

    @abstractmethod
    @idempotent
    async def save_templates(
        self, templates: Annotated[list[Template], _MANY], *, overwrite: bool = False
    ) -> list[UUID]:
        """Upsert templates of one tenant, all or none, and return their ids in the order given."""

    @abstractmethod
    @non_idempotent
    async def delete_template(self, tenant_id: UUID, template_id: UUID) -> bool:
        """Delete a template softly; return whether it existed."""

    @abstractmethod
    @non_idempotent
    async def restore_template(self, tenant_id: UUID, template_id: UUID) -> bool:
        """Restore a deleted template; return whether there was one."""

    @abstractmethod
    async def get_variable(self, tenant_id: UUID, variable_id: UUID) -> Variable | None:
        """Return a variable, or None."""

    @abstractmethod
    async def get_variables(
        self,
        tenant_id: UUID,
        agent_id: UUID,
        *,
        limit: Limit | None = None,
        offset: Offset = 0,
        after: Variable | None = None,
    ) -> list[Variable]:
        """Return an agent's variables, ordered by name; empty if there are none.

        Args:
            tenant_id: the tenant.
            agent_id: the agent.
            limit: the maximum number of results, 1 to 1,000; None means all.
            offset: the number of results to skip, 0 to 10,000.
            after: the cursor of keyset pagination: only items behind this one, stored or not.
        """

    def iter_variables(self, tenant_id: UUID, agent_id: UUID) -> AsyncIterator[Variable]:
        """Yield all of an agent's variables, ordered by name."""
        return paginate(partial(self.get_variables, tenant_id, agent_id))

    @abstractmethod
    @idempotent
    async def save_variable(self, variable: Variable, *, overwrite: bool = False) -> UUID:
        """Upsert a variable, a compare-and-set on its revision, and return its id."""

    @abstractmethod
    @idempotent
    async def save_variables(
        self, variables: Annotated[list[Variable], _MANY], *, overwrite: bool = False
    ) -> list[UUID]:
        """Upsert variables of one tenant, all or none, and return their ids in the order given."""

    @abstractmethod
    @non_idempotent
    async def delete_variable(self, tenant_id: UUID, variable_id: UUID) -> bool:
        """Delete a variable softly; return whether it existed."""

    @abstractmethod
    @non_idempotent
    async def restore_variable(self, tenant_id: UUID, variable_id: UUID) -> bool:
        """Restore a deleted variable; return whether there was one."""

    @abstractmethod
    async def get_variable_by_name(self, tenant_id: UUID, agent_id: UUID, name: Key) -> Variable | None:
        """Return the agent's variable of this name, or None."""

    @abstractmethod
    async def get_tool_activation(self, tenant_id: UUID, agent_id: UUID, tool_id: Identifier) -> ToolActivation | None:
        """Return a tool activation, or None."""

    @abstractmethod
    async def get_tool_activations(
        self,
        tenant_id: UUID,
        agent_id: UUID,
        *,
        limit: Limit | None = None,
        offset: Offset = 0,
        after: ToolActivation | None = None,
    ) -> list[ToolActivation]:
        """Return an agent's tool activations, ordered by `tool_id`; empty if there are none.

        Args:
            tenant_id: the tenant.
            agent_id: the agent.
            limit: the maximum number of results, 1 to 1,000; None means all.
            offset: the number of results to skip, 0 to 10,000.
            after: the cursor of keyset pagination: only items behind this one, stored or not.
        """

    def iter_tool_activations(self, tenant_id: UUID, agent_id: UUID) -> AsyncIterator[ToolActivation]:
        """Yield all of an agent's tool activations, ordered by `tool_id`."""
        return paginate(partial(self.get_tool_activations, tenant_id, agent_id))

    @abstractmethod
    @idempotent
    async def save_tool_activation(self, activation: ToolActivation, *, overwrite: bool = False) -> UUID:
        """Upsert a tool activation, a compare-and-set on its revision, and return its id."""

    @abstractmethod
    @idempotent
    async def save_tool_activations(
        self, activations: Annotated[list[ToolActivation], _MANY], *, overwrite: bool = False
    ) -> list[UUID]:
        """Upsert tool activations of one tenant, all or none, and return their ids in the order given."""

    @abstractmethod
    @non_idempotent
    async def delete_tool_activation(self, tenant_id: UUID, agent_id: UUID, tool_id: Identifier) -> bool:
        """Delete a tool activation softly; return whether it existed."""

    @abstractmethod
    @non_idempotent
    async def restore_tool_activation(self, tenant_id: UUID, agent_id: UUID, tool_id: Identifier) -> bool:
        """Restore a deleted tool activation; return whether there was one."""

    @abstractmethod
    @non_idempotent
    async def purge_deleted(self, tenant_id: UUID, *, before: UtcDatetime, limit: Limit = 1_000) -> int:
        """Remove for good what was deleted before a moment, all or none; return the number of objects.

        One call removes one batch, what was deleted first. Call it until it returns 0.

        Args:
            tenant_id: the tenant.
            before: the moment.
            limit: the maximum number of objects of each kind, 1 to 1,000.
        """

"""The configuration store on the table gateway."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from datetime import datetime
from typing import Any, TypeVar
from uuid import UUID

from convostore.call.call import current_call
from convostore.contracts.config import ConfigStore
from convostore.domain.agent_configs import without_embeddings
from convostore.domain.declaration import Declaration
from convostore.domain.declarations import (
    AGENT,
    AGENT_OWNED,
    CONFIG,
    MIGRATION_PLAN,
    RULE,
    SCENARIO,
    SCENARIO_ARCHIVE,
    TEMPLATE,
    TOOL_ACTIVATION,
    VARIABLE,
    in_force,
)
from convostore.domain.fusion import fused
from convostore.domain.scoring import nearest
from convostore.domain.text import document, parse_query, ranked
from convostore.gateway import derived
from convostore.gateway.rows import Row, RowTable, items_of
from convostore.gateway.table import Tables
from convostore.models import Agent, AgentConfig, MigrationPlan, Rule, Scenario
from convostore.models.base import Model

M = TypeVar("M", bound=Model)


class TableConfigStore(Tables, ConfigStore):
    """Everything but searches, purging and what concerns an agent as a whole."""

    get_agent = derived.get(AGENT, ConfigStore.get_agent)
    save_agent = derived.save(AGENT, ConfigStore.save_agent)
    save_agents = derived.save_all(AGENT, ConfigStore.save_agents)

    get_rule = derived.get(RULE, ConfigStore.get_rule)
    get_rules = derived.find(RULE, ConfigStore.get_rules)
    save_rule = derived.save(RULE, ConfigStore.save_rule)
    save_rules = derived.save_all(RULE, ConfigStore.save_rules)
    delete_rule = derived.delete(RULE, ConfigStore.delete_rule)
    restore_rule = derived.restore(RULE, ConfigStore.restore_rule)

    get_scenario = derived.get(SCENARIO, ConfigStore.get_scenario)
    get_scenarios = derived.find(SCENARIO, ConfigStore.get_scenarios)
    save_scenario = derived.save(SCENARIO, ConfigStore.save_scenario)
    save_scenarios = derived.save_all(SCENARIO, ConfigStore.save_scenarios)
    delete_scenario = derived.delete(SCENARIO, ConfigStore.delete_scenario)
    restore_scenario = derived.restore(SCENARIO, ConfigStore.restore_scenario)

    get_template = derived.get(TEMPLATE, ConfigStore.get_template)
    get_templates = derived.find(TEMPLATE, ConfigStore.get_templates)
    save_template = derived.save(TEMPLATE, ConfigStore.save_template)
    save_templates = derived.save_all(TEMPLATE, ConfigStore.save_templates)
    delete_template = derived.delete(TEMPLATE, ConfigStore.delete_template)
    restore_template = derived.restore(TEMPLATE, ConfigStore.restore_template)

    get_variable = derived.get(VARIABLE, ConfigStore.get_variable)
    get_variable_by_name = derived.get(VARIABLE, ConfigStore.get_variable_by_name, by=("agent_id", "name"))
    get_variables = derived.find(VARIABLE, ConfigStore.get_variables)
    save_variable = derived.save(VARIABLE, ConfigStore.save_variable)
    save_variables = derived.save_all(VARIABLE, ConfigStore.save_variables)
    delete_variable = derived.delete(VARIABLE, ConfigStore.delete_variable)
    restore_variable = derived.restore(VARIABLE, ConfigStore.restore_variable)

    get_tool_activation = derived.get(TOOL_ACTIVATION, ConfigStore.get_tool_activation)
    get_tool_activations = derived.find(TOOL_ACTIVATION, ConfigStore.get_tool_activations)
    save_tool_activation = derived.save(TOOL_ACTIVATION, ConfigStore.save_tool_activation)
    save_tool_activations = derived.save_all(TOOL_ACTIVATION, ConfigStore.save_tool_activations)
    delete_tool_activation = derived.delete(TOOL_ACTIVATION, ConfigStore.delete_tool_activation)
    restore_tool_activation = derived.restore(TOOL_ACTIVATION, ConfigStore.restore_tool_activation)

    get_migration_plan = derived.get(MIGRATION_PLAN, ConfigStore.get_migration_plan)
    list_migration_plans = derived.find(MIGRATION_PLAN, ConfigStore.list_migration_plans)
    save_migration_plan = derived.save(MIGRATION_PLAN, ConfigStore.save_migration_plan)
    save_migration_plans = derived.save_all(MIGRATION_PLAN, ConfigStore.save_migration_plans)
    delete_migration_plan = derived.delete(MIGRATION_PLAN, ConfigStore.delete_migration_plan)
    restore_migration_plan = derived.restore(MIGRATION_PLAN, ConfigStore.restore_migration_plan)

    get_archived_scenario = derived.get(SCENARIO_ARCHIVE, ConfigStore.get_archived_scenario)

    async def archive_scenario_version(self, tenant_id: UUID, scenario: Scenario) -> None:
        await self._table(SCENARIO_ARCHIVE).add(scenario)

    async def get_agents(
        self,
        tenant_id: UUID,
        *,
        enabled_only: bool = False,
        limit: int = 20,
        offset: int = 0,
        after: Agent | None = None,
    ) -> tuple[list[Agent], int]:
        agents, where = self._table(AGENT), {"enabled": enabled_only or None}
        page = await agents.find(tenant_id, where, limit=limit, offset=offset, after=after)
        return page, await agents.count(tenant_id, where)

    async def get_migration_plan_for_versions(
        self, tenant_id: UUID, scenario_id: UUID, from_version: int, to_version: int
    ) -> MigrationPlan | None:
        where = {"scenario_id": scenario_id, "from_version": from_version, "to_version": to_version}
        plans = await self._table(MIGRATION_PLAN).find(tenant_id, where)
        return next(filter(in_force, plans), plans[0] if plans else None)


class RowConfigStore(TableConfigStore):
    """Everything, for backends whose tables are `RowTable`s."""

    @abstractmethod
    def _table(self, declaration: Declaration[M]) -> RowTable[M]:
        """Return the table of a declaration."""

    async def delete_agent(self, tenant_id: UUID, agent_id: UUID) -> bool:
        write_id = current_call().write_id

        def work() -> bool:
            found = self._table(AGENT).delete_all(tenant_id, {"id": agent_id}, write_id) > 0
            for owned in AGENT_OWNED if found else ():
                self._table(owned).delete_all(tenant_id, {"agent_id": agent_id}, write_id)
            return found

        return await self._table(AGENT).transaction(work)

    async def restore_agent(self, tenant_id: UUID, agent_id: UUID) -> bool:
        write_id = current_call().write_id

        def work() -> bool:
            agent = self._table(AGENT).last_deleted(tenant_id, {"id": agent_id})
            if agent is None:
                return False
            deleted_with_it = [(self._table(AGENT), agent)] + [
                (table, row)
                for table in map(self._table, AGENT_OWNED)
                for row in table.select(tenant_id, {"agent_id": agent_id}, deleted=True)
                if row.write_id == agent.write_id
            ]
            for table, row in deleted_with_it:
                table.check_unique(row.read())
            for table, row in deleted_with_it:
                table.mark(row, None, write_id)
            return True

        return await self._table(AGENT).transaction(work)

    async def purge_deleted(self, tenant_id: UUID, *, before: datetime, limit: int = 1_000) -> int:
        def work() -> int:
            return sum(self._table(declaration).purge(tenant_id, before, limit) for declaration in CONFIG)

        return await self._table(AGENT).transaction(work)

    async def get_agent_config(self, tenant_id: UUID, agent_id: UUID, *, embeddings: bool = True) -> AgentConfig | None:
        def work() -> tuple[Sequence[Row[Agent]], dict[str, Sequence[Row[Any]]]]:
            agents = self._table(AGENT).select(tenant_id, {"id": agent_id})
            owned = AGENT_OWNED if agents else ()
            return agents, {
                part.plural: self._table(part).select(tenant_id, {"agent_id": agent_id, **part.only}) for part in owned
            }

        agents, parts = await self._table(AGENT).transaction(work)
        if not agents:
            return None
        found = AgentConfig(agent=agents[0].read(), **{name: items_of(rows) for name, rows in parts.items()})
        return found if embeddings else without_embeddings(found)

    async def vector_search_rules(
        self,
        query_embedding: list[float],
        tenant_id: UUID,
        agent_id: UUID,
        *,
        limit: int = 10,
        offset: int = 0,
        min_score: float = 0.0,
        enabled_only: bool = True,
        embedding_model: str | None = None,
    ) -> list[tuple[Rule, float]]:
        where = {"agent_id": agent_id, "enabled": enabled_only or None, "embedding_model": embedding_model}
        rules = await self._table(RULE).find(tenant_id, where)
        return nearest(query_embedding, rules, min_score)[offset : offset + limit]

    async def search_rules(
        self,
        query: str,
        query_embedding: list[float],
        tenant_id: UUID,
        agent_id: UUID,
        *,
        limit: int = 10,
        enabled_only: bool = True,
    ) -> list[tuple[Rule, float]]:
        where = {"agent_id": agent_id, "enabled": enabled_only or None}
        rules = {rule.id: rule for rule in await self._table(RULE).find(tenant_id, where)}
        documents = {key: document(rule.condition_text) for key, rule in rules.items()}
        found, share = ranked(parse_query(query), documents, documents.values())
        by_text = [pair for pair in found if pair[1]]
        by_vector = [(rule.id, score) for rule, score in nearest(query_embedding, rules.values(), -1.0)]
        scores = {key: parts.score for key, parts in fused(by_text, by_vector, {}, share=share).items()}
        best = sorted(scores, key=lambda key: (-scores[key], key))[:limit]
        return [(rules[key], scores[key]) for key in best]

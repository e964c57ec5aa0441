"""Imports agents, scenarios, rules, templates and variables."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from hashlib import sha256
from itertools import zip_longest
from typing import Any
from uuid import UUID

from convostore.contracts import ConfigStore
from convostore.domain.declarations import AGENT, AGENT_OWNED, SCENARIO
from convostore.models import (
    Agent,
    Rule,
    Scenario,
    ScenarioStep,
    Scope,
    StepTransition,
    Template,
    ToolActivation,
    Variable,
)
from convostore.replay.embedder import HashingEmbedder
from convostore.replay.ids import Ids, content_hash
from convostore.replay.records import AgentRecord, RuleRecord, ScenarioRecord, TemplateRecord, VariableRecord
from convostore.replay.report import Report

Item = Agent | Scenario | Rule | Template | Variable | ToolActivation
ConfigRecord = AgentRecord | ScenarioRecord | RuleRecord | TemplateRecord | VariableRecord

_DECLARED = {declaration.model: declaration for declaration in (AGENT, *AGENT_OWNED)}


class Configuration:
    """Writes records to a configuration store, and keeps what it wrote for the check."""

    def __init__(self, store: ConfigStore, tenant_id: UUID, embedder: HashingEmbedder, report: Report) -> None:
        self._store = store
        self._tenant_id = tenant_id
        self._embedder = embedder
        self._ids = Ids(tenant_id)
        self._report = report
        self._written: dict[str, dict[UUID, Item]] = {declaration.name: {} for declaration in _DECLARED.values()}

    async def add(self, record: ConfigRecord) -> None:
        """Write a record; skip records that are stored with the same content."""
        for item in self._items(record):
            declaration = _DECLARED[type(item)]
            name, written = declaration.name, self._written[declaration.name]
            if item.id in written:
                continue
            which = (getattr(item, column) for column in declaration.lookup)
            stored = await getattr(self._store, f"get_{name}")(self._tenant_id, *which)
            if stored is not None:
                item = item.model_copy(update={field: getattr(stored, field) for field in item.store_managed})
            if item != stored:
                await getattr(self._store, f"save_{name}")(item)
            written[item.id] = item

    async def check(self) -> None:
        """Read everything back by lists, and compare."""
        agents = self._written["agent"].values()
        stored = [await self._store.get_agent(self._tenant_id, agent.id) for agent in agents]
        self._report.compare("config", "agents", agents, stored, "the agents")
        for declaration in AGENT_OWNED:
            written = self._written[declaration.name]
            owners = {item.agent_id for item in written.values() if not isinstance(item, Agent)}
            lists = [await getattr(self._store, declaration.listed)(self._tenant_id, owner) for owner in owners]
            what = declaration.plural.replace("_", " ")
            read = _by_id(item for items in lists for item in items if item.id in written)
            self._report.compare("config", what, _by_id(written.values()), read, f"the {what}")
            if declaration is SCENARIO:
                self._report.compare("config", "steps", _steps(_by_id(written.values())), _steps(read), "the steps")

    def _items(self, record: ConfigRecord) -> Iterator[Item]:
        match record:
            case AgentRecord():
                yield Agent(
                    id=self._ids("agent", record.name),
                    tenant_id=self._tenant_id,
                    name=record.name,
                    description=record.description,
                    system_prompt=record.system_prompt,
                )
            case ScenarioRecord():
                yield from self._scenario(record)
            case RuleRecord():
                yield Rule(
                    **self._owned("rule", record.agent, record.name),
                    name=record.name,
                    condition_text=record.when,
                    action_text=record.then,
                    **self._scope(record),
                    priority=record.priority,
                    is_hard_constraint=record.hard,
                    attached_tool_ids=list(record.tools),
                    embedding=self._embedder.embed(record.when),
                    embedding_model=self._embedder.model,
                )
                yield from self._activations(record.agent, record.tools)
            case TemplateRecord():
                yield Template(
                    **self._owned("template", record.agent, record.name),
                    name=record.name,
                    text=record.text,
                    mode=record.mode,
                    **self._scope(record),
                )
            case VariableRecord():
                yield Variable(
                    **self._owned("variable", record.agent, record.name),
                    name=record.name,
                    description=record.description,
                    resolver_tool_id=record.tool,
                )
                yield from self._activations(record.agent, (record.tool,))

    def _scenario(self, record: ScenarioRecord) -> Iterator[Item]:
        owned = self._owned("scenario", record.agent, record.name)
        step_ids = [self._ids("step", record.agent, record.name, step.name) for step in record.steps]
        steps = []
        for step, step_id, next_id in zip_longest(record.steps, step_ids, step_ids[1:]):
            template = None
            if step.say:
                template = Template(
                    **self._owned("template", record.agent, record.name, step.name),
                    name=f"{record.name}: {step.name}"[:100],
                    text=step.say,
                    scope=Scope.STEP,
                    scope_id=step_id,
                )
                yield template
            steps.append(
                ScenarioStep(
                    id=step_id,
                    scenario_id=owned["id"],
                    name=step.name,
                    description=step.description,
                    transitions=[StepTransition(to_step_id=next_id, condition_text="The step is done")]
                    if next_id
                    else [],
                    template_ids=[template.id] if template else [],
                    tool_ids=[step.tool] if step.tool else [],
                    is_entry=step_id == step_ids[0],
                    is_terminal=next_id is None,
                    collects_profile_fields=list(step.collects),
                    performs_action=step.tool is not None,
                )
            )
        yield Scenario(
            **owned,
            name=record.name,
            description=record.description,
            entry_step_id=step_ids[0],
            steps=steps,
            entry_condition_text=record.starts_when,
            content_hash=sha256("".join(map(content_hash, steps)).encode()).hexdigest(),
            tags=list(record.tags),
        )
        yield from self._activations(record.agent, (step.tool for step in record.steps if step.tool))

    def _activations(self, agent: str, tools: Iterable[str]) -> Iterator[ToolActivation]:
        for tool in tools:
            yield ToolActivation(**self._owned("tool_activation", agent, tool), tool_id=tool)

    def _owned(self, kind: str, agent: str, *names: str) -> dict[str, Any]:
        return {
            "id": self._ids(kind, agent, *names),
            "tenant_id": self._tenant_id,
            "agent_id": self._ids("agent", agent),
        }

    def _scope(self, record: RuleRecord | TemplateRecord) -> dict[str, Any]:
        if record.scenario is None:
            return {}
        return {"scope": Scope.SCENARIO, "scope_id": self._ids("scenario", record.agent, record.scenario)}


def _by_id(items: Iterable[Item]) -> list[Item]:
    return sorted(items, key=lambda item: item.id)


def _steps(items: Iterable[Item]) -> list[ScenarioStep]:
    return [step for item in items if isinstance(item, Scenario) for step in item.steps]

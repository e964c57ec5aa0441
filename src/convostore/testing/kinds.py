"""The kinds of configuration entity, as data: tests of what they have in common run over all of them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from convostore.contracts import ConfigStore
from convostore.domain.declaration import Declaration
from convostore.domain.declarations import AGENT, MIGRATION_PLAN, RULE, SCENARIO, TEMPLATE, TOOL_ACTIVATION, VARIABLE
from convostore.testing import factories


@dataclass(frozen=True)
class ConfigKind:
    """One kind of configuration entity.

    Attributes:
        declaration: what it is.
        make: makes a small one for a tenant and an agent.
        full: makes one with every field filled.
        change: a field and another value for it.
        key: the names of the arguments, after `tenant_id`, that say which one is meant.
        unique: the fields that two living ones must not share, if any.
    """

    declaration: Declaration[Any]
    make: Callable[..., Any]
    full: Callable[[UUID, UUID], Any]
    change: tuple[str, Any]
    key: tuple[str, ...] = ("id",)
    unique: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """What methods call it."""
        return self.declaration.name

    async def save(self, store: ConfigStore, item: Any, **options: Any) -> UUID:
        """Save one."""
        saved: UUID = await getattr(store, f"save_{self.name}")(item, **options)
        return saved

    async def save_all(self, store: ConfigStore, items: list[Any], **options: Any) -> list[UUID]:
        """Save several."""
        saved: list[UUID] = await getattr(store, f"save_{self.name}s")(items, **options)
        return saved

    async def get(self, store: ConfigStore, item: Any) -> Any:
        """Read one by the key it has."""
        return await getattr(store, f"get_{self.name}")(*self._which(item))

    async def delete(self, store: ConfigStore, item: Any) -> bool:
        """Delete one."""
        deleted: bool = await getattr(store, f"delete_{self.name}")(*self._which(item))
        return deleted

    async def restore(self, store: ConfigStore, item: Any) -> bool:
        """Bring one back."""
        restored: bool = await getattr(store, f"restore_{self.name}")(*self._which(item))
        return restored

    async def list(self, store: ConfigStore, tenant_id: UUID, agent_id: UUID, **page: Any) -> list[Any]:
        """List them all, disabled ones too."""
        if self.name == "agent":
            return (await store.get_agents(tenant_id, **{"limit": 1_000, **page}))[0]
        if self.name == "migration_plan":
            return await store.list_migration_plans(tenant_id, **{"limit": 1_000, **page})
        if self.name in ("rule", "scenario"):
            page["enabled_only"] = False
        listed: list[Any] = await getattr(store, f"get_{self.name}s")(tenant_id, agent_id, **page)
        return listed

    def iterate(self, store: ConfigStore, tenant_id: UUID, agent_id: UUID) -> AsyncIterator[Any]:
        """Stream them all, disabled ones too."""
        owner = (tenant_id,) if self.name in ("agent", "migration_plan") else (tenant_id, agent_id)
        options = {"enabled_only": False} if self.name in ("rule", "scenario") else {}
        items: AsyncIterator[Any] = getattr(store, f"iter_{self.name}s")(*owner, **options)
        return items

    def _which(self, item: Any) -> tuple[Any, ...]:
        return (item.tenant_id, *(getattr(item, name) for name in self.key))


def _without_agent(make: Callable[..., Any]) -> Callable[..., Any]:
    return lambda tenant_id, agent_id, **changes: make(tenant_id, **changes)


CONFIG_KINDS = (
    ConfigKind(
        AGENT,
        _without_agent(factories.make_agent),
        _without_agent(factories.full_agent),
        ("description", "new"),
        unique=("name",),
    ),
    ConfigKind(RULE, factories.make_rule, factories.full_rule, ("priority", 5)),
    ConfigKind(SCENARIO, factories.make_scenario, factories.full_scenario, ("tags", ["new"])),
    ConfigKind(TEMPLATE, factories.make_template, factories.full_template, ("text", "new")),
    ConfigKind(VARIABLE, factories.make_variable, factories.full_variable, ("cache_ttl_seconds", 9), unique=("name",)),
    ConfigKind(
        TOOL_ACTIVATION,
        factories.make_tool_activation,
        factories.full_tool_activation,
        ("status", "disabled"),
        key=("agent_id", "tool_id"),
        unique=("tool_id",),
    ),
    ConfigKind(
        MIGRATION_PLAN,
        _without_agent(factories.make_migration_plan),
        _without_agent(factories.full_migration_plan),
        ("created_by", "new"),
        unique=("scenario_id", "from_version", "to_version"),
    ),
)

"""Any sequence of operations on a configuration store has the same answers on PostgreSQL as in the reference."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

from hypothesis import strategies as st
from hypothesis.stateful import initialize, rule

from convostore.embedded import Embedded
from convostore.errors import StoreError
from convostore.inmemory import InMemoryConfigStore
from convostore.models import MigrationPlanStatus, Scope
from convostore.postgres import PostgresConfigStore
from convostore.testing.factories import at, make_scenario
from convostore.testing.kinds import CONFIG_KINDS, ConfigKind
from tests.postgres.machines import Machine, check, copied

# Few values, so that what is done meets what is there.
ids = st.integers(1, 4).map(lambda number: UUID(int=number))
agents = st.integers(1, 2).map(lambda number: UUID(int=number))
names = st.sampled_from(["a", "b", "_"])
scopes = st.sampled_from(
    [{}, {"scope": "step", "scope_id": UUID(int=1)}, {"scope": "scenario", "scope_id": UUID(int=2)}]
)
common = {"id": ids, "revision": st.integers(0, 3)}
named = {**common, "name": names}
OF_KIND: dict[str, dict[str, Any]] = {
    "agent": {**named, "id": agents, "enabled": st.booleans()},
    "rule": {**named, "priority": st.integers(0, 1), "enabled": st.booleans(), "": scopes},
    "scenario": {**named, "enabled": st.booleans()},
    "template": {**named, "": scopes},
    "variable": named,
    "tool_activation": {**common, "tool_id": names},
    "migration_plan": {
        **common,
        "scenario_id": agents,
        "from_version": st.integers(1, 2),
        "status": st.sampled_from(MigrationPlanStatus),
    },
}
"""What the items of each kind may have: strategies by field; the one without a name gives several fields."""

kinds = st.sampled_from(CONFIG_KINDS)
pages = st.fixed_dictionaries({"limit": st.integers(1, 3), "offset": st.integers(0, 2)})
values = {kind.name: st.fixed_dictionaries(OF_KIND[kind.name]) for kind in CONFIG_KINDS}


class ConfigMachine(Machine):
    """Two agents of each store, which must not differ."""

    @initialize()
    def begin(self) -> None:
        self.tenant = uuid4()
        self.reference = InMemoryConfigStore(clock=lambda: type(self).moment)

    def both(self, call: str, *args: Any, **kwargs: Any) -> Any:
        """Call both stores and compare answers, errors and what the given objects hold afterwards."""
        outcomes = []
        for store in (self.reference, self.backend):
            given = [copied(argument) for argument in args]
            try:
                answer = type(self).run(getattr(store, call)(*given, **kwargs))
            except StoreError as error:
                answer = (type(error), getattr(error, "current_revision", None), error.code)
            outcomes.append((answer, given))
        assert outcomes[0] == outcomes[1], call
        return outcomes[0][0]

    def item(self, data: st.DataObject, kind: ConfigKind) -> Any:
        drawn = data.draw(values[kind.name])
        return kind.make(self.tenant, data.draw(agents), **drawn.pop("", {}), **drawn)

    def owner(self, kind: ConfigKind, agent: UUID) -> tuple[UUID, ...]:
        return (self.tenant,) if kind.name in ("agent", "migration_plan") else (self.tenant, agent)

    def which(self, data: st.DataObject, kind: ConfigKind) -> tuple[Any, ...]:
        item = self.item(data, kind)
        return (self.tenant, *(getattr(item, name) for name in kind.key))

    @rule(seconds=st.integers(1, 3))
    def wait(self, seconds: int) -> None:
        type(self).moment += timedelta(seconds=seconds)

    @rule(data=st.data(), kind=kinds, overwrite=st.booleans())
    def save(self, data: st.DataObject, kind: ConfigKind, overwrite: bool) -> None:
        self.both(f"save_{kind.name}", self.item(data, kind), overwrite=overwrite)

    @rule(data=st.data(), kind=kinds, overwrite=st.booleans())
    def save_all(self, data: st.DataObject, kind: ConfigKind, overwrite: bool) -> None:
        items = [self.item(data, kind) for _ in range(data.draw(st.integers(0, 3)))]
        self.both(f"save_{kind.name}s", items, overwrite=overwrite)

    @rule(data=st.data(), kind=kinds)
    def change(self, data: st.DataObject, kind: ConfigKind) -> None:
        """Save what was read, as a careful caller does."""
        found = self.both(f"get_{kind.name}", *self.which(data, kind))
        if found is not None:
            setattr(found, *kind.change)
            self.both(f"save_{kind.name}", found)

    @rule(data=st.data(), kind=kinds, what=st.sampled_from(["get", "delete", "restore"]))
    def get_delete_or_restore(self, data: st.DataObject, kind: ConfigKind, what: str) -> None:
        self.both(f"{what}_{kind.name}", *self.which(data, kind))

    @rule(agent=agents, what=st.sampled_from(["delete_agent", "restore_agent", "get_agent_config"]))
    def whole_agent(self, agent: UUID, what: str) -> None:
        self.both(what, self.tenant, agent)

    @rule(ago=st.integers(-1, 4))
    def purge(self, ago: int) -> None:
        self.both("purge_deleted", self.tenant, before=type(self).moment - timedelta(seconds=ago))

    @rule(data=st.data(), kind=kinds, agent=agents, page=pages)
    def lists(self, data: st.DataObject, kind: ConfigKind, agent: UUID, page: dict[str, int]) -> None:
        options: dict[str, Any] = dict(page)
        if kind.name in ("agent", "rule", "scenario"):
            options["enabled_only"] = data.draw(st.booleans())
        if kind.name in ("rule", "template"):
            options["scope"] = data.draw(st.none() | st.sampled_from(Scope))
            options["scope_id"] = data.draw(st.none() | agents)
        if kind.name == "migration_plan":
            options["scenario_id"] = data.draw(st.none() | agents)
            options["status"] = data.draw(st.none() | st.sampled_from(MigrationPlanStatus))
        call = f"list_{kind.name}s" if kind.name == "migration_plan" else f"get_{kind.name}s"
        found = self.both(call, *self.owner(kind, agent), **options)
        for item in found[0] if kind.name == "agent" else found:
            self.both(call, *self.owner(kind, agent), **options, after=item)

    @rule(agent=agents, name=names, version=st.integers(1, 3))
    def look_up(self, agent: UUID, name: str, version: int) -> None:
        self.both("get_variable_by_name", self.tenant, agent, name)
        self.both("get_migration_plan_for_versions", self.tenant, agent, version, 2)
        self.both("get_archived_scenario", self.tenant, agent, version)

    @rule(scenario=agents, version=st.integers(1, 3), name=names)
    def archive(self, scenario: UUID, version: int, name: str) -> None:
        moments = {"created_at": at(0), "updated_at": at(0)}
        changes = {"id": scenario, "entry_step_id": scenario, "version": version, "name": name, **moments}
        self.both("archive_scenario_version", self.tenant, make_scenario(self.tenant, scenario, **changes))


def test_any_sequence_of_operations_has_the_same_answers(server: Embedded) -> None:
    check(ConfigMachine, PostgresConfigStore, server, examples=25)

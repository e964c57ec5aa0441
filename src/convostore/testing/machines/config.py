"""A machine that drives a configuration store and the reference alike."""

from __future__ import annotations

from datetime import timedelta
from enum import Enum
from typing import Any
from uuid import UUID, uuid4

from hypothesis import strategies as st
from hypothesis.stateful import initialize, rule

from convostore.domain.codec import bare
from convostore.inmemory import InMemoryConfigStore
from convostore.models.base import Model
from convostore.testing.config.rows import CONFIG_ROWS, ConfigRows
from convostore.testing.factories import at, make_rule, make_scenario
from convostore.testing.machines.base import Machine

# Few values, so that what is done meets what is there.
ids = st.integers(1, 4).map(lambda number: UUID(int=number))
agents = st.integers(1, 2).map(lambda number: UUID(int=number))
names = st.sampled_from(["a", "b", "_"])
texts = st.lists(st.sampled_from(["tea", "TEA", "milk", "-tea", "or", "成语", "语"]), max_size=4).map(" ".join)
vectors = st.sampled_from([[1.0, 0.0], [0.6, 0.8], [-1.0, 0.0], [1.0]])
BY_TYPE: dict[Any, st.SearchStrategy[Any]] = {str: names, int: st.integers(1, 2), bool: st.booleans(), UUID: agents}


def values_of(column: str, model: type[Model]) -> st.SearchStrategy[Any]:
    """Return a few values of a column, by its type."""
    kind = bare(model.model_fields[column].annotation)
    return st.sampled_from(kind) if issubclass(kind, Enum) else BY_TYPE[kind]


def items_of(rows: ConfigRows) -> st.SearchStrategy[dict[str, Any]]:
    """Return values of all that a row is identified, ordered and filtered by."""
    declaration = rows.declaration
    columns = {column.removeprefix("-") for column in declaration.order} | {*declaration.lookup, *rows.filters}
    columns |= {column for unique in declaration.unique for column in (*unique.columns, *unique.among)}
    columns -= {*declaration.key, *declaration.owned_by, *declaration.model.store_managed}
    drawn = {column: values_of(column, declaration.model) for column in sorted(columns)}
    return st.fixed_dictionaries({"id": ids, "revision": st.integers(0, 3), **drawn})


def options_of(rows: ConfigRows) -> st.SearchStrategy[dict[str, Any]]:
    """Return values of the filters of a list, and a page."""
    drawn = {
        name: st.booleans() if name != column else st.none() | values_of(column, rows.declaration.model)
        for column, name in rows.filters.items()
    }
    return st.fixed_dictionaries({"limit": st.integers(1, 3), "offset": st.integers(0, 2), **drawn})


every_rows = st.sampled_from(CONFIG_ROWS)
ITEMS = {rows: items_of(rows) for rows in CONFIG_ROWS}
OPTIONS = {rows: options_of(rows) for rows in CONFIG_ROWS}


class ConfigMachine(Machine):
    """Two agents of each store, which must not differ."""

    @initialize()
    def begin(self) -> None:
        self.tenant = uuid4()
        self.reference = InMemoryConfigStore(clock=lambda: type(self).moment)

    def item(self, data: st.DataObject, rows: ConfigRows) -> Any:
        return rows.make(self.tenant, data.draw(agents), **data.draw(ITEMS[rows]))

    def which(self, data: st.DataObject, rows: ConfigRows) -> tuple[Any, ...]:
        item = self.item(data, rows)
        return (self.tenant, *(getattr(item, name) for name in rows.declaration.lookup))

    @rule(seconds=st.integers(1, 3))
    def wait(self, seconds: int) -> None:
        type(self).moment += timedelta(seconds=seconds)

    @rule(data=st.data(), rows=every_rows, overwrite=st.booleans())
    def save(self, data: st.DataObject, rows: ConfigRows, overwrite: bool) -> None:
        self.both(rows.methods["save"], self.item(data, rows), overwrite=overwrite)

    @rule(data=st.data(), rows=every_rows, overwrite=st.booleans())
    def save_all(self, data: st.DataObject, rows: ConfigRows, overwrite: bool) -> None:
        items = [self.item(data, rows) for _ in range(data.draw(st.integers(0, 3)))]
        self.both(rows.methods["save_all"], items, overwrite=overwrite)

    @rule(data=st.data(), rows=every_rows)
    def change(self, data: st.DataObject, rows: ConfigRows) -> None:
        """Save what was read, as a careful caller does."""
        found = self.both(rows.methods["get"], *self.which(data, rows))
        if found is not None:
            rows.change(found)
            self.both(rows.methods["save"], found)

    @rule(data=st.data(), rows=every_rows, what=st.sampled_from(["get", "delete", "restore"]))
    def get_delete_or_restore(self, data: st.DataObject, rows: ConfigRows, what: str) -> None:
        self.both(rows.methods[what], *self.which(data, rows))

    @rule(agent=agents, what=st.sampled_from(["delete_agent", "restore_agent", "get_agent_config"]))
    def whole_agent(self, agent: UUID, what: str) -> None:
        self.both(what, self.tenant, agent)

    @rule(ago=st.integers(-1, 4), limit=st.sampled_from([1, 2, 1_000]))
    def purge(self, ago: int, limit: int) -> None:
        self.both("purge_deleted", self.tenant, before=type(self).moment - timedelta(seconds=ago), limit=limit)

    @rule(data=st.data(), rows=every_rows, agent=agents)
    def lists(self, data: st.DataObject, rows: ConfigRows, agent: UUID) -> None:
        owner = (self.tenant, agent) if rows.declaration.owner else (self.tenant,)
        options = data.draw(OPTIONS[rows])
        found = self.both(rows.methods["list"], *owner, **options)
        for item in found[0] if isinstance(found, tuple) else found:
            self.both(rows.methods["list"], *owner, **options, after=item)

    @rule(agent=agents, which=ids, condition=texts, vector=st.none() | vectors, enabled=st.booleans())
    def save_condition(
        self, agent: UUID, which: UUID, condition: str, vector: list[float] | None, enabled: bool
    ) -> None:
        rule = make_rule(self.tenant, agent, id=which, condition_text=condition, embedding=vector, enabled=enabled)
        self.both("save_rule", rule, overwrite=True)

    @rule(agent=agents, query=texts, vector=vectors, enabled_only=st.booleans(), limit=st.integers(1, 4))
    def search_rules(self, agent: UUID, query: str, vector: list[float], enabled_only: bool, limit: int) -> None:
        self.both("search_rules", query, vector, self.tenant, agent, enabled_only=enabled_only, limit=limit)

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

"""The methods of a configuration store."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from bench.data import columns
from bench.methods.cases import LIMIT, Arguments, Case, insert, many, ordered, select, upsert, values_of
from bench.methods.slots import Slot
from convostore import Stores
from convostore.domain.declaration import Declaration
from convostore.domain.declarations import CONFIG, MIGRATION_PLAN, SCENARIO_ARCHIVE, VARIABLE
from convostore.models import Rule

_LONG_AGO = datetime(1980, 1, 1, tzinfo=UTC)


def _of_config(declaration: Declaration[Any]) -> Iterator[Case]:
    """Yield the methods that every row of a configuration has."""
    name, lookup, values = declaration.name, declaration.lookup or declaration.key, values_of(declaration)
    named = " AND ".join(f"{column} = ${number}" for number, column in enumerate(("tenant_id", *lookup), 1))

    def key(item: Any) -> Arguments:
        return tuple(getattr(item, column) for column in ("tenant_id", *lookup))

    def first(slot: Slot, _: int) -> Arguments:
        return key(slot.rows[name][0])

    def last(slot: Slot, way: int) -> Arguments:
        return key(slot.rows[name][way - 2])

    def changed(verb: str) -> Callable[[Stores, Arguments], Awaitable[Any]]:
        return lambda stores, arguments: getattr(stores.config, f"{verb}_{name}")(*arguments)

    def owner(slot: Slot, _: int) -> Arguments:
        return (slot.tenant, slot.agent) if declaration.owner else (slot.tenant,)

    of_owner = " AND agent_id = $2" * (declaration.owner is not None)
    only = "".join(f" AND {column}" for column in declaration.only)
    get = select(declaration, f"{named} AND deleted_at IS NULL")
    listed = select(declaration, f"tenant_id = $1{of_owner} AND deleted_at IS NULL{only} {ordered(declaration)}")
    save = upsert(declaration)
    change = f"UPDATE convostore.{name} SET deleted_at = {{}}, revision = revision + 1 WHERE {named}"
    yield Case("config", f"get_{name}", first, get, model=declaration.model)
    yield Case("config", declaration.listed, owner, listed, model=declaration.model, options={"limit": LIMIT})
    yield Case("config", f"save_{name}", lambda slot, way: (slot.rows[name][way],), save, values)
    yield Case(
        "config",
        f"save_{declaration.plural}",
        lambda slot, way: (slot.rows[name][2 + way :: 2],),
        save,
        **many(declaration),
    )
    yield Case("config", f"delete_{name}", last, change.format("now()"), before=changed("restore"))
    yield Case("config", f"restore_{name}", last, change.format("NULL"), before=changed("delete"))


def _more_of_config() -> Iterator[Case]:
    found = f"{columns(Rule)}, 1 - (embedding <=> $1) AS score FROM convostore.rule"
    yield Case("config", "get_agent_config", lambda slot, _: (slot.tenant, slot.agent))
    yield Case(
        "config",
        "vector_search_rules",
        lambda slot, _: (slot.query, slot.tenant, slot.agent),
        f"SELECT {found} WHERE tenant_id = $2 AND agent_id = $3 AND deleted_at IS NULL AND enabled "
        "ORDER BY embedding <=> $1, id LIMIT 10",
        model=Rule,
        options={"min_score": -1.0},
    )
    yield Case("config", "search_rules", lambda slot, _: ("parcel", slot.query, slot.tenant, slot.agent))
    yield Case(
        "config",
        "get_variable_by_name",
        lambda slot, _: (slot.tenant, slot.agent, slot.rows["variable"][0].name),
        select(VARIABLE, "tenant_id = $1 AND agent_id = $2 AND name = $3 AND deleted_at IS NULL"),
        model=VARIABLE.model,
    )
    yield Case(
        "config",
        "get_migration_plan_for_versions",
        lambda slot, _: (slot.tenant, (plan := slot.rows["migration_plan"][0]).scenario_id, *_versions(plan)),
        select(
            MIGRATION_PLAN,
            "tenant_id = $1 AND scenario_id = $2 AND from_version = $3 AND to_version = $4 AND deleted_at IS NULL",
        ),
        model=MIGRATION_PLAN.model,
    )
    archive = SCENARIO_ARCHIVE
    yield Case(
        "config",
        "get_archived_scenario",
        lambda slot, _: (slot.tenant, (one := slot.rows["scenario"][0]).id, one.version),
        select(archive, "tenant_id = $1 AND id = $2 AND version = $3"),
        model=archive.model,
    )
    yield Case(
        "config",
        "archive_scenario_version",
        lambda slot, _: (slot.tenant, slot.rows["scenario"][0].model_copy(update={"id": uuid4()})),
        insert(archive),
        lambda _, scenario: values_of(archive)(scenario),
    )
    yield Case("config", "purge_deleted", lambda slot, _: (slot.tenant,), options={"before": _LONG_AGO})


def _versions(plan: Any) -> tuple[int, int]:
    return plan.from_version, plan.to_version


CASES = [*(case for declaration in CONFIG for case in _of_config(declaration)), *_more_of_config()]

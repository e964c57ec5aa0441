"""A change of profiles where tables are distributed: a statement for each kind of row, in one transaction.

On plain PostgreSQL a change is one statement, `apply_profile_change`, of whose CTEs Citus takes none that inserts.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from convostore.errors import ConflictError, StoreError
from convostore.models import ProfileAsset, ProfileField
from convostore.postgres.database import Database
from convostore.postgres.mapping import quoted
from convostore.postgres.tenancy import BIND_TENANT
from convostore.postgres.transaction import in_transaction


class Written(NamedTuple):
    """What a change writes, as `apply_profile_change` takes it: rows are JSON, as the tables have them."""

    tenant_id: UUID
    expected: str
    profiles: str
    fields: str
    assets: str
    linked: str
    unlinked: str
    moved: str
    source_id: UUID | None
    target_id: UUID | None
    merge: str | None
    unmerged_id: UUID | None


class _Changed(StoreError):
    """A profile is not as expected."""


class _Rows(NamedTuple):
    """The statements that write the rows of a table: those that exist are updated, others inserted.

    Parameters of both: tenant, rows; the update's third one is the ids of profiles that are locked. An INSERT … SELECT
    without a table takes none behind ON CONFLICT: Citus sends it to the shard without parameters.
    """

    table: str
    update: str
    insert: str


def _rows(table: str, columns: str, key: str, *, kept: str = "", whose: str = "profile_id") -> _Rows:
    """Return the statements of a table, whose column `whose` names the profile that is locked."""
    names, fixed = columns.split(), {*key.split(), *kept.split()}
    replaced = (f"{quoted(name)} = n.{quoted(name)}" for name in names if name not in fixed)
    same = (f"t.{name} = n.{name}" for name in key.split() if name != "tenant_id")
    values = ("$1::uuid" if name == "tenant_id" else f"n.{quoted(name)}" for name in names)
    rows = f"FROM json_populate_recordset(NULL::convostore.{table}, $2::json) AS n WHERE {BIND_TENANT}"
    return _Rows(
        table,
        f"UPDATE convostore.{table} AS t SET {', '.join(replaced)} {rows} AND t.tenant_id = $1 AND n.tenant_id = $1 "
        f"AND {' AND '.join(same)} AND t.{whose} = ANY ($3::uuid[]) RETURNING t.tenant_id",
        f"INSERT INTO convostore.{table} AS t ({', '.join(map(quoted, names))}) SELECT {', '.join(values)} {rows} "
        f"ON CONFLICT ({', '.join(key.split())}) DO NOTHING RETURNING t.tenant_id",
    )


def _items(model: type[ProfileField] | type[ProfileAsset], *more: str) -> str:
    return " ".join(("tenant_id", "profile_id", *more, *model.model_fields))


_OWN = f"{BIND_TENANT} AND t.tenant_id = $1"
_GIVEN = f"{_OWN} AND g.tenant_id = $1"
_SAME = "t.profile_id = g.profile_id AND t.channel = g.channel AND t.channel_user_id = g.channel_user_id"

LOCK = (
    "SELECT t.id, t.revision, t.deleted_at FROM json_to_recordset($2::json) AS g (tenant_id uuid, id uuid), "
    f"convostore.profile AS t WHERE {_GIVEN} AND t.id = g.id ORDER BY t.id FOR UPDATE OF t"
)
PROFILES = _rows(
    "profile",
    "tenant_id id customer_id consents verification_level merged_into last_interaction_at created_at updated_at "
    "deleted_at revision write_id",
    "tenant_id id",
    kept="created_at",
    whose="id",
)
UNLINKED = (
    "DELETE FROM convostore.channel_identity AS t "
    "USING json_populate_recordset(NULL::convostore.channel_identity, $2::json) "
    f"AS g WHERE {_GIVEN} AND {_SAME} RETURNING t.tenant_id"
)
MOVED = (
    "UPDATE convostore.channel_identity AS t SET profile_id = g.new_profile_id, position = g.position "
    "FROM json_to_recordset($2::json) AS g (tenant_id uuid, profile_id uuid, new_profile_id uuid, position integer, "
    f"channel text, channel_user_id text) WHERE {_GIVEN} AND {_SAME} RETURNING t.tenant_id"
)
RELEASED = (
    "UPDATE convostore.channel_identity AS t SET living = g.deleted_at IS NULL "
    f"FROM json_populate_recordset(NULL::convostore.profile, $2::json) AS g WHERE {_GIVEN} AND t.profile_id = g.id "
    "AND g.merged_into IS NULL AND t.living <> (g.deleted_at IS NULL) RETURNING t.tenant_id"
)
LINKED = _rows(
    "channel_identity",
    "tenant_id profile_id channel channel_user_id verified verified_at primary linked_at position living",
    "tenant_id profile_id channel channel_user_id",
    kept="living",
)
FREED = (
    "UPDATE convostore.profile_field AS t SET status = 'superseded' "
    "FROM json_populate_recordset(NULL::convostore.profile_field, $2::json) AS g "
    f"WHERE {_GIVEN} AND t.id = g.id AND t.profile_id = ANY ($3::uuid[]) AND t.status = 'active' RETURNING t.tenant_id"
)
"""The index of active fields takes those of a change in any order once all of them are none."""
FIELDS = _rows("profile_field", _items(ProfileField), "tenant_id id")
ASSETS = _rows("profile_asset", _items(ProfileAsset, "position"), "tenant_id id")
MERGED = (
    "INSERT INTO convostore.profile_merge AS t (tenant_id, source_id, target_id, revision, document) "
    f"SELECT $1::uuid, $2::uuid, $3::uuid, $4::bigint, $5::json WHERE {BIND_TENANT} RETURNING t.tenant_id"
)
UNMERGED = f"DELETE FROM convostore.profile_merge AS t WHERE {_OWN} AND t.source_id = $2::uuid RETURNING t.tenant_id"

_ROWS = (PROFILES, LINKED, FIELDS, ASSETS)
STEPS = (
    *(LOCK, UNLINKED, MOVED, RELEASED, FREED, MERGED, UNMERGED),
    *(statement for each in _ROWS for statement in (each.update, each.insert)),
)
"""Every statement of a change."""


async def apply_in_steps(
    database: Database, given: Written, expected: Mapping[UUID, tuple[int, datetime | None]]
) -> bool:
    """Write the rows of a change if every profile is as expected, and return whether they are."""
    with suppress(_Changed):
        async with in_transaction(database) as transaction:
            await _apply(transaction, given, expected)
        return True
    return False


async def _apply(database: Database, given: Written, expected: Mapping[UUID, tuple[int, datetime | None]]) -> None:
    tenant_id, profiles = given.tenant_id, [*expected]
    locked = await database.fetch(LOCK, tenant_id, given.expected)
    found = {row["id"]: (row["revision"], row["deleted_at"]) for row in locked}
    # A row that another call has inserted since is not among those that are locked.
    if any(found.get(profile_id, (0, None)) != known for profile_id, known in expected.items()) or not await _written(
        database, PROFILES, tenant_id, given.profiles, [*found]
    ):
        raise _Changed("profile: is not as expected")
    for statement, rows in ((UNLINKED, given.unlinked), (MOVED, given.moved), (RELEASED, given.profiles)):
        if rows != "[]":
            await database.fetch(statement, tenant_id, rows)
    if given.fields != "[]":
        await database.fetch(FREED, tenant_id, given.fields, profiles)
    for each, rows in ((LINKED, given.linked), (FIELDS, given.fields), (ASSETS, given.assets)):
        if not await _written(database, each, tenant_id, rows, profiles):
            raise ConflictError(f"{each.table}: the id is in use", code=f"{each.table}_pkey")
    if given.merge is not None:
        revision = next(row["revision"] for row in json.loads(given.profiles) if row["id"] == str(given.target_id))
        await database.fetch(MERGED, tenant_id, given.source_id, given.target_id, revision, given.merge)
    if given.unmerged_id is not None:
        await database.fetch(UNMERGED, tenant_id, given.unmerged_id)


async def _written(database: Database, each: _Rows, tenant_id: UUID, rows: str, profiles: list[UUID]) -> bool:
    """Write rows, and return whether all of them were: one that exists is of one of these profiles."""
    missing = len(json.loads(rows))
    if missing and profiles:
        missing -= len(await database.fetch(each.update, tenant_id, rows, profiles))
    if missing:
        missing -= len(await database.fetch(each.insert, tenant_id, rows))
    return not missing

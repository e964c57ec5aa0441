"""A change of profiles where tables are distributed: a statement for each kind of row, in one transaction.

On plain PostgreSQL a change is one statement, `apply_profile_change`, of whose CTEs Citus takes none that inserts.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import datetime
from typing import Any, NamedTuple
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


def _upsert(table: str, columns: str, key: str, *, kept: str, where: str = "true", order: str = "n.profile_id") -> str:
    """Return the statement that upserts rows; parameters: tenant, rows, and what `where` and `order` take."""
    names, fixed = columns.split(), {*key.split(), *kept.split()}
    values = ("$1::uuid" if name == "tenant_id" else f"n.{quoted(name)}" for name in names)
    replaced = (f"{quoted(name)} = excluded.{quoted(name)}" for name in names if name not in fixed)
    return (
        f"INSERT INTO convostore.{table} AS t ({', '.join(map(quoted, names))}) SELECT {', '.join(values)} "
        f"FROM json_populate_recordset(NULL::convostore.{table}, $2::json) AS n WHERE {BIND_TENANT} ORDER BY {order} "
        f"ON CONFLICT ({', '.join(key.split())}) DO UPDATE SET {', '.join(replaced)} WHERE {where} "
        "RETURNING t.tenant_id"
    )


def _items(model: type[ProfileField] | type[ProfileAsset], *more: str) -> str:
    return " ".join(("tenant_id", "profile_id", *more, *model.model_fields))


_OWN = f"{BIND_TENANT} AND t.tenant_id = $1"
_SAME = "t.profile_id = g.profile_id AND t.channel = g.channel AND t.channel_user_id = g.channel_user_id"

LOCK = (
    f"SELECT t.id, t.revision, t.deleted_at FROM convostore.profile AS t WHERE {_OWN} AND t.id = ANY ($2::uuid[]) "
    "ORDER BY t.id FOR UPDATE"
)
PROFILES = _upsert(
    "profile",
    "tenant_id id customer_id consents verification_level merged_into last_interaction_at created_at updated_at "
    "deleted_at revision write_id",
    "tenant_id id",
    kept="created_at",
    # A row that another call has inserted since is not among those that are locked.
    where="t.id = ANY ($3::uuid[])",
    order="n.id",
)
UNLINKED = (
    "DELETE FROM convostore.channel_identity AS t "
    "USING json_populate_recordset(NULL::convostore.channel_identity, $2::json) "
    f"AS g WHERE {_OWN} AND {_SAME} RETURNING t.tenant_id"
)
MOVED = (
    "UPDATE convostore.channel_identity AS t SET profile_id = g.new_profile_id, position = g.position "
    "FROM json_to_recordset($2::json) AS g (profile_id uuid, new_profile_id uuid, position integer, channel text, "
    f"channel_user_id text) WHERE {_OWN} AND {_SAME} RETURNING t.tenant_id"
)
RELEASED = (
    "UPDATE convostore.channel_identity AS t SET living = g.deleted_at IS NULL "
    f"FROM json_populate_recordset(NULL::convostore.profile, $2::json) AS g WHERE {_OWN} AND t.profile_id = g.id "
    "AND g.merged_into IS NULL AND t.living <> (g.deleted_at IS NULL) RETURNING t.tenant_id"
)
LINKED = _upsert(
    "channel_identity",
    "tenant_id profile_id channel channel_user_id verified verified_at primary linked_at position living",
    "tenant_id profile_id channel channel_user_id",
    kept="living",
)
_ITEM = {"key": "tenant_id id", "kept": "", "where": "t.profile_id = ANY ($3::uuid[])"}
FIELDS = _upsert(
    "profile_field", _items(ProfileField), **_ITEM, order="n.status = 'active', n.profile_id IS DISTINCT FROM $4::uuid"
)
ASSETS = _upsert("profile_asset", _items(ProfileAsset, "position"), **_ITEM)
MERGED = (
    "INSERT INTO convostore.profile_merge AS t (tenant_id, source_id, target_id, revision, document) "
    f"SELECT $1::uuid, $2::uuid, $3::uuid, $4::bigint, $5::json WHERE {BIND_TENANT} RETURNING t.tenant_id"
)
UNMERGED = f"DELETE FROM convostore.profile_merge AS t WHERE {_OWN} AND t.source_id = $2::uuid RETURNING t.tenant_id"

STEPS = (LOCK, PROFILES, UNLINKED, MOVED, RELEASED, LINKED, FIELDS, ASSETS, MERGED, UNMERGED)
"""Every statement of a change."""


async def apply_in_steps(
    database: Database, given: Written, expected: Mapping[UUID, tuple[int, datetime | None]]
) -> bool:
    """Write the rows of a change if every profile is as expected, and return whether they are."""
    with suppress(_Changed):
        async with in_transaction(database) as transaction:
            locked = await transaction.fetch(LOCK, given.tenant_id, list(expected))
            found = {row["id"]: (row["revision"], row["deleted_at"]) for row in locked}
            if any(found.get(profile_id, (0, None)) != known for profile_id, known in expected.items()):
                raise _Changed("profile: is not as expected")
            for statement, rows, more in _steps(given, list(expected), list(found)):
                written = await transaction.fetch(statement, given.tenant_id, rows, *more)
                if statement == PROFILES and len(written) < len(json.loads(rows)):
                    raise _Changed("profile: is not as expected")
                if statement in (FIELDS, ASSETS) and len(written) < len(json.loads(rows)):
                    table = "profile_field" if statement == FIELDS else "profile_asset"
                    raise ConflictError(f"{table}: the id is in use", code=f"{table}_pkey")
        return True
    return False


def _steps(given: Written, expected: list[UUID], locked: list[UUID]) -> Iterator[tuple[str, Any, tuple[Any, ...]]]:
    """Yield the statements that write something, with their arguments after the tenant."""
    steps: list[tuple[str, Any, tuple[Any, ...]]] = [
        (PROFILES, given.profiles, (locked,)),
        (UNLINKED, given.unlinked, ()),
        (MOVED, given.moved, ()),
        (RELEASED, given.profiles, ()),
        (LINKED, given.linked, ()),
        (FIELDS, given.fields, (expected, given.unmerged_id)),
        (ASSETS, given.assets, (expected,)),
    ]
    yield from (step for step in steps if step[1] != "[]")
    if given.merge is not None:
        revision = next(row["revision"] for row in json.loads(given.profiles) if row["id"] == str(given.target_id))
        yield MERGED, given.source_id, (given.target_id, revision, given.merge)
    if given.unmerged_id is not None:
        yield UNMERGED, given.unmerged_id, ()

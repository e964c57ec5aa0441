"""The catalogue agrees with what the entities declare and with the models, column by column and key by key."""

from __future__ import annotations

import re
from typing import Any

import pytest

from convostore.domain.codec import is_optional
from convostore.domain.declaration import Declaration, Unique
from convostore.domain.declarations import DECLARATIONS, SESSION
from convostore.models import ChannelIdentity, CustomerProfile, ProfileAsset, ProfileField
from convostore.models.base import Model
from convostore.postgres.annotations import column_type
from convostore.postgres.vector_statements import EPISODES

PROFILE_TABLES: dict[str, tuple[type[Model], dict[str, tuple[str, bool]], set[str]]] = {
    # table: model, columns that do not follow from its fields, fields that are rows of other tables
    "profile": (CustomerProfile, {"write_id": ("uuid", True)}, {"channel_identities", "fields", "assets"}),
    "channel_identity": (
        ChannelIdentity,
        {
            "tenant_id": ("uuid", False),
            "profile_id": ("uuid", False),
            "position": ("integer", False),
            "living": ("boolean", False),
        },
        set(),
    ),
    "profile_field": (
        ProfileField,
        # A JSON value may be None in itself, which stands as NULL.
        {"tenant_id": ("uuid", False), "profile_id": ("uuid", False), "value": ("jsonb", True)},
        set(),
    ),
    "profile_asset": (
        ProfileAsset,
        {"tenant_id": ("uuid", False), "profile_id": ("uuid", False), "position": ("integer", False)},
        set(),
    ),
}

SEARCHED = {"rule", "episode", "episode_embedding"}
GENERATED = {"dimensions": ("smallint", True), "model_hash": ("bigint", True), "direction": ("halfvec", True)}
"""The tables that vectors are searched in, and the columns that PostgreSQL computes there."""

AUDIT_TABLES = {"audit_record", "audit_head", "audit_body", "audit_retention"}
OTHER_TABLES = {
    "alembic_version",
    "copy_generation",
    "episode_embedding",
    "large_space",
    "profile_merge",
    "session_identity",
    *AUDIT_TABLES,
}
"""What does not follow from a declaration."""

INDEXES = """
SELECT c.relname AS name, i.indisunique AS is_unique, pg_get_expr(i.indpred, i.indrelid) AS predicate,
       ARRAY(SELECT a.attname FROM unnest(i.indkey::smallint[]) WITH ORDINALITY AS k (number, place)
             JOIN pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = k.number
             ORDER BY k.place)::text[] AS columns
FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indexrelid
WHERE i.indrelid = $1::regclass
"""


def expected_columns(model: type[Model]) -> dict[str, tuple[str, bool]]:
    """Return the type and nullability of each column that a model's fields ask for."""
    fields = {name: field.rebuild_annotation() for name, field in model.model_fields.items()}
    return {name: (column_type(annotation), is_optional(annotation)) for name, annotation in fields.items()}


async def actual_columns(admin: Any, table: str) -> dict[str, tuple[str, bool]]:
    """Return the type and nullability of each column of a table."""
    rows = await admin.fetch(
        "SELECT attname, format_type(atttypid, atttypmod), NOT attnotnull FROM pg_attribute "
        "WHERE attrelid = $1::regclass AND attnum > 0 AND NOT attisdropped",
        f'convostore."{table}"',
    )
    return {name: (kind.replace("timestamp with time zone", "timestamptz"), null) for name, kind, null in rows}


async def indexes_of(admin: Any, table: str) -> dict[str, Any]:
    """Return a table's indexes by name."""
    return {row["name"]: row for row in await admin.fetch(INDEXES, f'convostore."{table}"')}


def predicate_of(declaration: Declaration[Any], unique: Unique) -> list[str]:
    """Return what the predicate of a unique set's index must speak of."""
    words = ["deleted_at IS NULL"] if declaration.soft_delete else []
    for column, values in unique.among.items():
        words += [column, *(f"'{value}'" for value in values)]
    return words


@pytest.mark.parametrize("declaration", DECLARATIONS, ids=lambda declaration: declaration.name)
async def test_the_columns_of_an_entity_are_its_fields(admin: Any, declaration: Declaration[Any]) -> None:
    expected = expected_columns(declaration.model)
    if declaration.revisioned:
        expected["write_id"] = ("uuid", True)
    if declaration is SESSION:
        expected |= {
            "fence": ("bigint", True),
            "lock_owner": ("uuid", True),
            "locked_until": ("timestamptz", True),
            "step_content_hash": ("text", True),
        }
    if declaration.name == "episode":
        expected["words"] = ("tsvector", False)
        expected["language"] = ("text", False)  # the store's if the episode has none
    if declaration.name in ("entity", "rule"):
        expected["words"] = ("text", True)
    expected |= dict.fromkeys(declaration.computed, ("text", True))
    if declaration.name in SEARCHED:
        expected |= GENERATED
    assert await actual_columns(admin, declaration.name) == expected


@pytest.mark.parametrize("table", PROFILE_TABLES)
async def test_the_columns_of_a_profile_table_are_the_fields_of_its_model(admin: Any, table: str) -> None:
    model, added, elsewhere = PROFILE_TABLES[table]
    expected = {name: column for name, column in expected_columns(model).items() if name not in elsewhere}
    assert await actual_columns(admin, table) == expected | added


async def test_there_is_no_table_that_is_not_declared(admin: Any) -> None:
    rows = await admin.fetch(
        "SELECT relname AS tablename FROM pg_class "
        "WHERE relnamespace = 'convostore'::regnamespace AND relkind IN ('r', 'p') AND NOT relispartition"
    )
    declared = {declaration.name for declaration in DECLARATIONS} | set(PROFILE_TABLES)
    assert {row["tablename"] for row in rows} == declared | OTHER_TABLES


async def test_no_column_has_a_default(admin: Any) -> None:
    rows = await admin.fetch(
        "SELECT attrelid::regclass, attname FROM pg_attribute AS a JOIN pg_class AS c ON c.oid = a.attrelid "
        "WHERE c.relnamespace = 'convostore'::regnamespace AND a.atthasdef AND a.attgenerated = '' "
        "AND c.relname <> 'alembic_version'"
    )
    assert rows == []


async def test_an_embedding_beside_has_what_an_episode_is_filtered_by(admin: Any) -> None:
    episode, beside = [await actual_columns(admin, table) for table in ("episode", "episode_embedding")]
    required = {"embedding": ("vector", False), "embedding_model": ("text", False)}
    assert beside == {name: episode[name] for name in beside} | required
    conditions = " ".join(EPISODES.filters.values())
    assert set(re.findall(r"\bt\.(\w+)", conditions)) <= set(beside)


@pytest.mark.parametrize("declaration", DECLARATIONS, ids=lambda declaration: declaration.name)
async def test_lists_are_ordered_by_code_point_whatever_the_collation_of_the_database(
    admin: Any, declaration: Declaration[Any]
) -> None:
    rows = await admin.fetch(
        "SELECT a.attname FROM pg_attribute AS a JOIN pg_collation AS c ON c.oid = a.attcollation "
        "WHERE a.attrelid = $1::regclass AND a.attname = ANY ($2) AND c.collname <> 'C'",
        f'convostore."{declaration.name}"',
        [column.removeprefix("-") for column in declaration.position()],
    )
    assert [name for (name,) in rows] == []


@pytest.mark.parametrize("declaration", DECLARATIONS, ids=lambda declaration: declaration.name)
async def test_the_primary_key_is_the_tenant_and_the_declared_key(admin: Any, declaration: Declaration[Any]) -> None:
    primary = (await indexes_of(admin, declaration.name))[f"{declaration.name}_pkey"]
    assert primary["columns"] == ["tenant_id", *declaration.key]


@pytest.mark.parametrize("declaration", DECLARATIONS, ids=lambda declaration: declaration.name)
async def test_the_unique_sets_are_the_declared_ones(admin: Any, declaration: Declaration[Any]) -> None:
    found = {name: row for name, row in (await indexes_of(admin, declaration.name)).items() if row["is_unique"]}
    del found[f"{declaration.name}_pkey"]
    for unique in declaration.unique:
        row = found.pop(declaration.constraint(unique))
        assert row["columns"] == ["tenant_id", *unique.columns]
        wanted = predicate_of(declaration, unique)
        assert (row["predicate"] is None) == (wanted == [])
        assert [word for word in wanted if word not in row["predicate"]] == []
    assert set(found) == ({"session_session_id_key"} if declaration.name == "session" else set())


@pytest.mark.parametrize("declaration", DECLARATIONS, ids=lambda declaration: declaration.name)
async def test_the_foreign_keys_are_the_declared_parents(admin: Any, declaration: Declaration[Any]) -> None:
    rows = await admin.fetch(
        "SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE contype = 'f' AND conrelid = $1::regclass",
        f'convostore."{declaration.name}"',
    )
    expected = {
        f"FOREIGN KEY (tenant_id, {column}) REFERENCES convostore.{parent}(tenant_id, id) ON DELETE CASCADE"
        for column, parent in declaration.parents.items()
    }
    assert {row[0] for row in rows} == expected

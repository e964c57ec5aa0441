"""The check of a new connection, in one round trip: it is fit for the stores, made fit, or refused by name."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from math import ceil
from typing import Any, NamedTuple
from uuid import UUID

import asyncpg

from convostore import supported
from convostore.call.call import Call
from convostore.call.deadlines import DEFAULT_TIMEOUT
from convostore.errors import ValidationError
from convostore.postgres.driver import pooler_of, release_of, resets, use_codec
from convostore.postgres.pool import APPLICATION_ROLE, decode_vector, encode_vector

_VALUES: dict[str, Any] = {
    "uuid": UUID("018f5e3c-0000-7000-8000-000000000001"),
    "timestamptz": datetime(2026, 1, 2, 3, 4, 5, 678_901, UTC),
    "bigint": 2**53 + 1,
    "bytea": b"\x00\xff",
    "jsonb": '{"a": 1}',
    "text": "ẞ",
    "boolean": True,
    "double precision": 0.1,
}
"""A value of each type that the stores pass, as the driver takes it of itself; arrays follow their elements."""


def acts_as(user: str) -> str:
    """Return the expression of the roles whose rights a user has: convostore's, and its own if it bypasses policies."""
    return rf"""ARRAY(SELECT o.rolname::text FROM pg_catalog.pg_roles AS o
        WHERE o.rolname ~ '^convostore_(app|maintenance|owner|search)$' AND pg_has_role({user}, o.oid, 'USAGE')
            OR o.rolname = {user} AND (o.rolsuper OR o.rolbypassrls) ORDER BY 1)"""


SESSION_IDS = """(SELECT max(c.relname::text)
        FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS s ON s.oid = c.relnamespace
        WHERE s.nspname = 'convostore' AND c.relname IN ('session', 'session_session_id_key'))"""
"""The expression of what there is: the unique index of session ids, the table without it, or neither."""

DISTRIBUTED = """EXISTS (SELECT FROM pg_catalog.pg_class AS c
        JOIN pg_catalog.pg_namespace AS s ON s.oid = c.relnamespace
        JOIN pg_catalog.pg_trigger AS g ON g.tgrelid = c.oid AND g.tgname = 'binds_inserted'
        WHERE s.nspname = 'convostore' AND c.relname = 'session')"""
"""Whether tables are distributed: the last that `distribution` does is this trigger."""

_PATIENCE = f"""set_config('convostore.patience', $1, false), (
        SELECT count(set_config(g.name, $1, false)) FROM pg_catalog.pg_settings AS g
        WHERE {DISTRIBUTED} AND g.reset_val = '0'
            AND g.name IN ('statement_timeout', 'idle_in_transaction_session_timeout', 'transaction_timeout'))"""
"""The expressions that set a connection's patience, which `convostore.bind` makes the limit of each statement.

Where tables are distributed `bind` runs on the shards, whose connections have none. There the connection itself gets
the limits that its user has not, and the coordinator ends what waits on a shard.
"""

_SET = f"""set_config('client_connection_check_interval', '500ms', false),
    {_PATIENCE},
    set_config('search_path', CASE WHEN pg_type_is_visible(t.oid) THEN current_setting('search_path')
        ELSE concat_ws(', ', nullif(current_setting('search_path'), ''), quote_ident(n.nspname)) END, false)"""
_SET_NOTHING = "$1::text"

# LC_CTYPE C folds the case of ASCII letters alone, so text search would miss others.
_CHECK = f"""
SELECT r.rolsuper OR r.rolbypassrls AS unsafe, n.nspname AS vector_schema, pg_backend_pid() AS pid,
    session_user::text AS login, {acts_as("session_user")} AS acts_as,
    pg_type_is_visible(t.oid) AS vector_visible, clock_timestamp() AS server_time,
    current_setting('server_encoding') AS encoding, lower(U&'\\00C9') = U&'\\00E9' AS folds_case,
    {{set}}, has_schema_privilege(n.oid, 'USAGE') AS vector_usable,
    {SESSION_IDS} AS session_ids, {DISTRIBUTED} AS distributed,
    (SELECT e.extversion FROM pg_catalog.pg_extension AS e WHERE e.extname = 'vector') AS vector_version,
    {", ".join(f"${number}::{kind} AS value_{number}" for number, kind in enumerate(_VALUES, 2))},
    jsonb_typeof(${list(_VALUES).index("jsonb") + 2}::jsonb) AS json_type
FROM pg_catalog.pg_roles AS r
LEFT JOIN pg_catalog.pg_type AS t ON t.typname = 'vector' AND t.typtype = 'b'
LEFT JOIN pg_catalog.pg_namespace AS n ON n.oid = t.typnamespace
WHERE r.rolname = current_user
"""

POOLED = (
    'a pooler stands between; set pooler="transaction" (CONVOSTORE_POOLER), or "session" if it keeps a session for a '
    "connection"
)
_OWN_POOL = "give the stores a pool of their own, from convostore.postgres.create_pool"


def patience_of(call: Call | None) -> float:
    """Return for how many whole seconds a statement of a call may wait for locks, and its transaction last."""
    left = 0.0 if call is None else call.deadline - asyncio.get_running_loop().time()
    return max(ceil(left), DEFAULT_TIMEOUT)


async def set_patience(connection: Any, seconds: float) -> None:
    """Let statements of a connection wait for as long as this."""
    await connection.fetchval(f"SELECT {_PATIENCE}", _milliseconds(seconds))


class Found(NamedTuple):
    """What the check of a connection found.

    Attributes:
        server_time: the server's time.
        sessions_by_tenant: whether the database keeps session ids unique per tenant alone; None if it has no sessions.
        distributed: whether its tables are distributed by tenant.
    """

    server_time: datetime
    sessions_by_tenant: bool | None
    distributed: bool


async def prepare(connection: Any, patience: float = DEFAULT_TIMEOUT) -> Found:
    """Check a new connection, register the codec of `vector`, limit what statements wait for; return what was found.

    A schema of pgvector that is not in the search path is appended to it.

    The server looks for its client every half second while it runs a statement, so what is abandoned ends there soon.

    A pooler in transaction mode would hand what is set here to others, so nothing is: it comes from the user then.

    Raises:
        ValidationError: the server or pgvector is too old, a pooler stands between that was not declared, the role is
            above row-level security, the database has no pgvector or another encoding than UTF-8, or the connection
            converts values otherwise than the driver does.
    """
    supported.check("PostgreSQL", release_of(connection))
    pooler = pooler_of(connection)
    check = _CHECK.format(set=_SET_NOTHING if pooler == "transaction" else _SET)
    try:
        row = await connection.fetchrow(check, _milliseconds(patience), *_VALUES.values())
    except asyncpg.DataError as error:
        raise ValidationError(f"pool: its connections have codecs of their own; {_OWN_POOL}") from error
    for number, (kind, value) in enumerate(_VALUES.items(), 2):
        found = row[f"value_{number}"]
        if found != value or not isinstance(found, type(value)) or (kind == "jsonb" and row["json_type"] != "object"):
            raise ValidationError(f"pool: its connections have a codec of their own for {kind}; {_OWN_POOL}")
    if pooler is None and row["pid"] != connection.get_server_pid():
        raise ValidationError(f"pooler: {POOLED}")
    # Of the login: what a pooler hands out next has its role, whatever somebody has set on this session.
    allowed = [APPLICATION_ROLE]
    if (pooler == "transaction" and row["acts_as"] != allowed) or (pooler and row["login"] in row["acts_as"]):
        raise ValidationError(
            f"postgres_url: behind a pooler its user must be a member of {APPLICATION_ROLE} and of no other role, and "
            f"no superuser; run: CREATE ROLE … LOGIN PASSWORD '…' IN ROLE {APPLICATION_ROLE}, and use that one"
        )
    if row["unsafe"]:
        raise ValidationError(
            "pool: its role is above row-level security; let its connections run as "
            f'{APPLICATION_ROLE}, for example with server_settings={{"role": "{APPLICATION_ROLE}"}}'
        )
    if row["vector_schema"] is None:
        raise ValidationError("pool: the database has no pgvector; run: convostore migrate")
    supported.check("pgvector", row["vector_version"])
    if not row["vector_usable"]:
        schema = row["vector_schema"]
        raise ValidationError(f'pool: its role may not use pgvector; run: GRANT USAGE ON SCHEMA "{schema}" TO PUBLIC')
    if not row["vector_visible"] and pooler == "transaction":
        raise ValidationError(
            f"postgres_url: pgvector is in the schema {row['vector_schema']}, which is not in the search_path; run: "
            f'ALTER ROLE "{row["login"]}" SET search_path = public, "{row["vector_schema"]}"'
        )
    if not row["vector_visible"] and resets(connection):
        raise ValidationError(
            f"pool: pgvector is in the schema {row['vector_schema']}, which is not in the search_path, and the pool "
            f"resets its connections; add it by server_settings or ALTER ROLE, or {_OWN_POOL}"
        )
    supported.check_encoding(row["encoding"])
    if not row["folds_case"]:
        raise ValidationError("pool: LC_CTYPE of the database is C; create one with a UTF-8 locale such as C.UTF-8")
    await use_codec(connection, "vector", row["vector_schema"], encode_vector, decode_vector)
    by_tenant = {"session_session_id_key": False, "session": True, None: None}[row["session_ids"]]
    return Found(row["server_time"], by_tenant, row["distributed"])


def check_session_ids(wanted: bool | None, found: bool | None) -> None:
    """Check that a database keeps session ids unique as a store was told: copies of sessions have keys by that.

    Raises:
        ValidationError: it does not.
    """
    if wanted is None or found in (None, wanted):
        return
    unique, remedy = (
        ("per tenant alone", "set sessions_by_tenant=True (CONVOSTORE_SESSIONS_BY_TENANT)")
        if found
        else ("across tenants", "stop all processes and run: convostore migrate --sessions-by-tenant, or leave it out")
    )
    raise ValidationError(f"sessions_by_tenant: the database keeps session ids unique {unique}; {remedy}")


def _milliseconds(seconds: float) -> str:
    return f"{ceil(seconds * 1_000)}ms"
